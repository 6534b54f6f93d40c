"""A joint micro-batch over partitions: positions, outgoing records, changed states."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from consumer.adapters.metrics import Metrics
from consumer.batch import Slice, Worker, decode_slices
from consumer.core.alerts import AlertContext
from consumer.core.decode import Limits
from consumer.core.packing import unpack
from consumer.messages import Messages, Topics, TriggerNote
from consumer.records import NOT_BEGUN_MS, Message, Position, Record, Step
from histories import HOUR_MS, day, engine

NOW_MS = day(1_000)
DELAY_MS = 60_000
TOPICS = Topics()
GENESIS = Position("g", 0, NOT_BEGUN_MS, 0, 0, 1)


class Bench:
    """A worker over `KnownCurve`, and its metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        messages = Messages(TOPICS, AlertContext("m1", 30.0))
        self.worker = Worker(engine(), messages, metrics, DELAY_MS)

    def events(
        self,
        batch: dict[int, list[Record]],
        stored: dict[int, dict[str, bytes]] | None = None,
        before: dict[int, Position] | None = None,
    ) -> dict[int, Step]:
        """The steps of one batch, by partition."""
        slices = decode_slices(batch, dict.fromkeys(batch, 1), NOW_MS, Limits())
        found = {
            partition: [((stored or {}).get(partition, {})).get(user) for user in part.decoded.users]
            for partition, part in slices.items()
        }
        steps = self.worker.on_events(slices, found, stand(batch, before or {}), NOW_MS)
        return {step.partition: step for step in steps}

    def counted(self, result: str) -> float | None:
        """How many records became of this."""
        return self.registry.get_sample_value("ebbtide_records_total", {"result": result})


@pytest.fixture
def bench() -> Bench:
    """Nothing processed yet."""
    return Bench()


def stand(partitions: Iterable[int], before: Mapping[int, Position]) -> dict[int, Position]:
    return {each: before.get(each, GENESIS) for each in partitions}


def record(offset: int, user: str, kind: str, at_ms: int) -> Record:
    content = {"event_id": f"{user}-{offset}", "user_id": user, "event_type": kind, "occurred_at": at_ms}
    return Record(offset, NOW_MS, user.encode(), json.dumps(content).encode())


def states(step: Step) -> dict[str, bytes]:
    return {user.user_id: user.value for user in step.users}


def outgoing(step: Step, topic: str) -> list[dict[str, object]]:
    return [json.loads(message.value or b"") for message in step.messages if message.topic == topic]


def test_partitions_not_claimed_are_left_alone() -> None:
    """Records of a partition that is not ours any more are dropped, not processed."""
    batch = {0: [record(0, "a", "purchase", day(0))], 1: [record(0, "b", "purchase", day(0))]}
    slices = decode_slices(batch, {1: 7}, NOW_MS, Limits())
    assert {partition: part.read for partition, part in slices.items()} == {1: 7}


def test_each_partition_gets_its_own_step(bench: Bench) -> None:
    """Users, offsets and watermarks of one partition do not mix with another's."""
    steps = bench.events(
        {
            3: [record(10, "a", "purchase", day(0)), record(12, "b", "purchase", day(2))],
            1: [record(5, "c", "purchase", day(1))],
        }
    )
    assert {partition: list(states(step)) for partition, step in steps.items()} == {3: ["a", "b"], 1: ["c"]}
    assert steps[3].position == replace(GENESIS, next_offset=13, watermark_ms=day(2) - DELAY_MS, users=2, timers=2)
    assert steps[1].position == replace(GENESIS, next_offset=6, watermark_ms=day(1) - DELAY_MS, users=1, timers=1)


def test_a_step_follows_on_the_stored_position(bench: Bench) -> None:
    """It adds to where the partition stood, and the watermark never goes back."""
    before = Position("g", 9, day(5), 100, 50, 1)
    [step] = bench.events({0: [record(9, "a", "purchase", day(1))]}, before={0: before}).values()
    assert step.position == Position("g", 10, day(5), 101, 51, 1)


def test_only_folded_events_move_the_watermark(bench: Bench) -> None:
    """Rejected records, duplicates and tombstones count as processed but tell no time."""
    bad = [Record(0, NOW_MS, b"a", b"?"), Record(1, NOW_MS, b"a", None)]
    [step] = bench.events({0: bad}).values()
    assert step.position == replace(GENESIS, next_offset=2)


def test_a_bad_record_becomes_a_dead_letter_of_its_partition(bench: Bench) -> None:
    """With its reason, its origin and its bytes; the good records around it are folded."""
    steps = bench.events(
        {
            0: [record(0, "a", "purchase", day(0))],
            1: [record(7, "b", "purchase", day(0)), Record(8, NOW_MS, b"b", b"?"), record(9, "b", "purchase", day(1))],
        }
    )
    assert outgoing(steps[0], TOPICS.dead_letters) == []
    [letter] = outgoing(steps[1], TOPICS.dead_letters)
    assert (letter["code"], letter["source_partition"], letter["source_offset"]) == ("invalid_json", 1, 8)
    assert unpack([states(steps[1])["b"]]).header["events"].tolist() == [2]
    assert [bench.counted(result) for result in ("folded", "rejected")] == [3.0, 1.0]


def test_an_event_that_is_too_late_becomes_a_dead_letter(bench: Bench) -> None:
    """It names the record, and the user's state does not change."""
    records = [record(0, "a", "purchase", day(5)), record(1, "a", "purchase", day(1))]
    [step] = bench.events({2: records}).values()
    [letter] = outgoing(step, TOPICS.dead_letters)
    assert (letter["code"], letter["source_partition"], letter["source_offset"]) == ("too_late", 2, 1)
    assert unpack([states(step)["a"]]).header["events"].tolist() == [1]


def test_an_alert_names_the_event_that_raised_it(bench: Bench) -> None:
    """Among several users, rejected records and partitions, the offset is that of the deciding record."""
    steps = bench.events(
        {
            4: [record(0, "x", "purchase", day(0))],
            2: [
                record(20, "a", "purchase", day(0)),
                Record(21, NOW_MS, None, None),
                record(22, "b", "purchase", day(0)),
                record(23, "a", "view_item", day(0.2)),
                record(24, "b", "refund", day(0.1)),
            ],
        }
    )
    [alert] = outgoing(steps[2], TOPICS.alerts)
    assert (alert["user_id"], alert["cause"]) == ("b", "event")
    assert alert["source"] == {"topic": TOPICS.events, "partition": 2, "offset": 24}
    assert outgoing(steps[4], TOPICS.alerts) == []


def test_stored_states_are_gone_on_with(bench: Bench) -> None:
    """A user whose state was loaded continues where it was left."""
    [first] = bench.events({0: [record(0, "a", "purchase", day(0))]}).values()
    [second] = bench.events({0: [record(1, "a", "view_item", day(1))]}, {0: states(first)}).values()
    header = unpack([states(second)["a"]]).header
    assert (header["events"].tolist(), header["target_events"].tolist()) == ([2], [1])


def test_an_erased_user_is_written_as_nothing(bench: Bench) -> None:
    """Empty state, no timer: the store and the changelog forget the user."""
    [step] = bench.events({0: [record(0, "a", "purchase", day(0)), Record(1, NOW_MS, b"a", None)]}).values()
    assert [(user.user_id, user.value, user.due_ms) for user in step.users] == [("a", b"", None)]


def test_a_timer_is_stored_beside_the_state(bench: Bench) -> None:
    """A buyer has a timer within a week, somebody who only looked has none."""
    [step] = bench.events({0: [record(0, "a", "purchase", day(0)), record(1, "b", "view_item", day(0))]}).values()
    due = {user.user_id: user.due_ms for user in step.users}
    assert due["b"] is None
    assert due["a"] is not None
    assert day(5) < due["a"] < day(7)


def test_silence_alerts_without_moving_the_position(bench: Bench) -> None:
    """Timers fire per partition up to its own time; the position stays, since no record was processed."""
    batch = {each: [record(0, f"user-{each}", "purchase", day(0))] for each in (0, 1)}
    steps = bench.events(batch)
    before = {each: step.position for each, step in steps.items()}
    fired = bench.worker.on_silence(
        {each: list(states(step)) for each, step in steps.items()},
        {each: list(states(step).values()) for each, step in steps.items()},
        before,
        {0: day(7), 1: day(2)},
        NOW_MS,
    )
    assert fired[0].position.next_offset == before[0].next_offset
    assert fired[1].position == before[1]
    assert [step.is_urgent for step in fired] == [True, False]
    assert [len(outgoing(step, TOPICS.alerts)) for step in fired] == [1, 0]
    [alert] = outgoing(fired[0], TOPICS.alerts)
    assert alert["source"] == {"topic": TOPICS.events, "partition": 0, "offset": None}
    assert bench.registry.get_sample_value("ebbtide_timers_fired_total") == 1.0


def test_partitions_do_not_change_each_others_results(bench: Bench) -> None:
    """A partition alone or together with others gives the same step."""
    batch = {
        each: [record(number, f"u{number % 3}", "purchase", day(number) + each * HOUR_MS) for number in range(12)]
        for each in range(3)
    }
    together = bench.events(batch)
    for partition, records in batch.items():
        [alone] = Bench().events({partition: records}).values()
        assert (alone.users, alone.position) == (together[partition].users, together[partition].position)
        assert outgoing(alone, TOPICS.alerts) == outgoing(together[partition], TOPICS.alerts)


def test_a_slice_keeps_its_records() -> None:
    """What was read stays beside what was decoded: dead letters need the original bytes."""
    records = [Record(0, NOW_MS, b"a", b"?")]
    [part] = decode_slices({0: records}, {0: 1}, NOW_MS, Limits()).values()
    assert isinstance(part, Slice)
    assert part.records == records
    assert [each.index for each in part.decoded.rejected] == [0]


def test_users_and_timers_are_counted(bench: Bench) -> None:
    """A position says how many users and timers there are: who comes, goes, or loses a timer changes that."""
    [step] = bench.events({0: [record(0, "a", "purchase", day(0)), record(1, "b", "view_item", day(0))]}).values()
    assert (step.position.users, step.position.timers) == (2, 1)
    more = [Record(2, NOW_MS, b"a", None), Record(3, NOW_MS, b"nobody", None), record(4, "b", "purchase", day(1))]
    [step] = bench.events({0: more}, {0: states(step)}, {0: step.position}).values()
    assert (step.position.users, step.position.timers) == (1, 1)


def test_a_step_with_an_alert_is_urgent(bench: Bench) -> None:
    """Somebody waits for an alert; a dead letter or a new state can wait for the next commit."""
    calm = [record(0, "a", "purchase", day(0)), Record(1, NOW_MS, b"a", b"?")]
    steps = bench.events({0: calm, 1: [*calm, record(2, "a", "refund", day(0.1))]})
    assert [steps[each].is_urgent for each in (0, 1)] == [False, True]


def test_a_trigger_goes_out_beside_its_alert(bench: Bench) -> None:
    """In the same step, and so in the same transaction: one record on the action's topic, keyed by the user."""
    records = [record(0, "a", "purchase", day(0)), record(1, "a", "refund", day(0.1))]
    [step] = bench.events({0: records}).values()
    [alert] = outgoing(step, TOPICS.alerts)
    [message] = [each for each in step.messages if each.topic.startswith(TOPICS.triggers_prefix)]
    trigger = json.loads(message.value or b"")
    assert (message.topic, message.key) == ("marketing.triggers.customer_service_callback", b"a")
    assert message.headers == (("trigger_id", trigger["trigger_id"].encode()),)
    assert (trigger["alert_id"], [trigger["action"]]) == (alert["alert_id"], alert["suggested_actions"])
    assert message.note == TriggerNote("customer_service_callback")


def test_scores_are_told_and_forgotten() -> None:
    """A score is a record of its user, and a tombstone takes it back; no alert waits for either."""
    bench = Bench()
    topics = replace(TOPICS, scores="scores")
    bench.worker = replace(
        bench.worker,
        engine=replace(bench.worker.engine, score_step=0.05),
        messages=replace(bench.worker.messages, topics=topics),
    )
    [step] = bench.events({0: [record(0, "a", "purchase", day(0)), Record(1, NOW_MS, b"a", None)]}).values()
    [score] = [message for message in step.messages if message.value is not None]
    assert (score.topic, score.key, step.is_urgent) == ("scores", b"a", False)
    assert json.loads(score.value or b"")["churn_probability"] == pytest.approx(0.195930, abs=1e-6)
    assert step.messages[-1] == Message("scores", b"a", None)


def test_a_clock_that_goes_back_fires_nothing_twice(bench: Bench) -> None:
    """What fired at a later instant is not due at an earlier one, nor again at the later one."""
    [step] = bench.events({0: [record(0, "a", "purchase", day(0))]}).values()
    seen: list[str] = []
    for until in (day(8), day(3), day(8)):
        due, stored = {0: [*states(step)]}, {0: [*states(step).values()]}
        [step] = bench.worker.on_silence(due, stored, {0: step.position}, {0: until}, NOW_MS)
        seen += [str(alert["tier"]) for alert in outgoing(step, TOPICS.alerts)]
    assert seen == ["at_risk", "critical"]
