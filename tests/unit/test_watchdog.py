"""What is unhealthy, given facts and the time that passes; how it is shown; and that the documents say the same."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from consumer import companions
from consumer.adapters.metrics import Metrics
from consumer.companions import Companions
from consumer.loop_guard import PAUSE_S, Pulse, Verdict
from consumer.settings import Settings
from consumer.watch_checks import CHECKS, COUNTED, Check
from consumer.watch_facts import Facts, Group, PartitionFacts, Standing
from consumer.watchdog import MAX_STEP_S, Finding, Report, Watchdog

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
LIMITS = Settings(
    stall_s=60, loop_lag_max_s=5, loop_block_exit_s=300, assignment_max_s=180, claim_max_s=900,
    open_transaction_max_s=240,
)  # fmt: skip
IDLE = PartitionFacts(Standing(next_offset=7), lag=0, stable_offset=7)
FETCHED = iter(range(1_000_000))


def serving(partitions: dict[int, PartitionFacts], **changes: object) -> Facts:
    """A member of the group that works on these partitions."""
    facts = Facts(rounds=None, group=Group(assigned=partitions.keys(), topic_partitions=4), partitions=partitions)
    return replace(facts, **changes)


def with_fetches(facts: Facts) -> Facts:
    """Kafka has just answered for every partition."""
    fetched = {number: replace(each, fetched_ms=next(FETCHED)) for number, each in facts.partitions.items()}
    return replace(facts, partitions=fetched)


class Time:
    """A watchdog that looks once a second."""

    def __init__(self) -> None:
        self.watchdog, self.now_s = Watchdog(LIMITS), 0.0
        self.report = Report([], {})

    def passes(self, facts: Facts, seconds: float, fetching: bool = True) -> list[Finding]:
        """Facts stay as they are for so long; what the last look found."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(self.now_s + 1, until_s)
            self.report = self.watchdog.look(with_fetches(facts) if fetching else facts, self.now_s)
        return self.report.findings

    def until_found(self, facts: Facts, fetching: bool = True, within_s: int = 2_000) -> tuple[int, Finding]:
        """After how many seconds something was found, and the only thing that was."""
        for second in range(within_s):
            if found := self.passes(facts, 1, fetching):
                [finding] = found
                return second, finding
        raise AssertionError(f"nothing was found within {within_s} s")


@pytest.fixture
def time() -> Time:
    """Starts at 0."""
    return Time()


WAITING = PartitionFacts(Standing(next_offset=7), lag=120, stable_offset=127)
CLAIMED = PartitionFacts(Standing(is_live=False, is_claiming=True))
UNCOMMITTED = replace(IDLE, standing=Standing(next_offset=7, changed_since_ms=5))
HIDDEN = replace(IDLE, hidden=5)
STANDING_STILL = {
    "no progress": (serving({3: WAITING}), 60, "partition 3: 120 records wait, none was processed for 60 s"),
    "main loop stands still": (serving({}, rounds=9), 60, "the main loop has not come round for 60 s"),
    "input unreadable": (
        serving({}, input_failure="no leader"), 60,
        "Kafka answers, but the input cannot be read for 60 s: no leader",
    ),
    "open transaction": (
        serving({3: HIDDEN}), 240,
        "partition 3: somebody's transaction that is open at offset 7 hides 5 offsets for 240 s: stop that producer, "
        "or abort the transaction (`kafka-transactions.sh find-hanging`, then `abort`)",
    ),
    "no assignment": (
        serving({}, group=Group(is_member=False)), 180,
        "it has no share of the partitions, as no rebalance of the group has come to an end for 180 s",
    ),
    "partition unattended": (
        serving({}, group=Group(assigned=[3])), 60, "partition 3 is ours, but nothing works on it for 60 s",
    ),
    "claim does not end": (
        serving({3: CLAIMED}), 900, "partition 3 has been claimed without end for 900 s: see the log for why",
    ),
    "commit does not finish": (serving({3: UNCOMMITTED}), 60, "partition 3: a commit has not ended for 60 s"),
}  # fmt: skip


@pytest.mark.parametrize("name", STANDING_STILL)
def test_what_lasts_too_long_is_found(time: Time, name: str) -> None:
    """Each way to stand still is found once it has lasted for its limit, as a sentence, and nothing else is."""
    facts, limit_s, sentence = STANDING_STILL[name]
    second, finding = time.until_found(facts)
    assert (second, finding.check.name, finding.sentence) == (limit_s, name, sentence)


@pytest.mark.parametrize("name", STANDING_STILL)
def test_time_without_a_server_does_not_count(time: Time, name: str) -> None:
    """While Kafka or Redis is away nothing is found, and what lasted before goes on counting afterwards."""
    facts, limit_s, _ = STANDING_STILL[name]
    assert time.passes(facts, 20) == []
    assert time.passes(replace(facts, away={"redis"}), 2 * limit_s) == []
    second, _ = time.until_found(facts)
    assert second == limit_s - 20


def test_a_partition_that_kafka_does_not_answer_for_is_found(time: Time) -> None:
    """Records do not wait as far as is known, but nothing is known."""
    second, finding = time.until_found(serving({3: IDLE}), fetching=False)
    assert (second, finding.check.name) == (60, "partition not fetched")
    assert "partition 3" in finding.sentence


MOVING = {
    "no progress": (serving({3: WAITING}), serving({3: replace(WAITING, standing=Standing(next_offset=8))})),
    "main loop stands still": (serving({}, rounds=9), serving({}, rounds=10)),
    "open transaction": (serving({3: HIDDEN}), serving({3: replace(HIDDEN, stable_offset=8)})),
    "commit does not finish": (
        serving({3: UNCOMMITTED}),
        serving({3: replace(UNCOMMITTED, standing=Standing(next_offset=7, changed_since_ms=6))}),
    ),
}


@pytest.mark.parametrize("name", MOVING)
def test_what_moves_is_well(time: Time, name: str) -> None:
    """Where something changes before the limit is reached, the time starts anew."""
    before, after = MOVING[name]
    for _ in range(10):
        assert time.passes(before, STANDING_STILL[name][1] - 1) == []
        assert time.passes(after, 1) == []


def test_a_claim_in_between_is_no_progress(time: Time) -> None:
    """A partition that is claimed again and again, and gets no further, stands still all the same."""
    looks = 0
    while not (found := time.passes(serving({3: WAITING}), 10)):
        time.passes(serving({3: CLAIMED}), 10)
        looks += 1
        assert looks < 10
    assert [finding.check.name for finding in found] == ["no progress"]


def test_an_idle_service_is_healthy(time: Time) -> None:
    """Nothing waits, nothing is found, for as long as one likes."""
    for rounds in range(1_000):
        assert time.passes(serving({0: IDLE, 1: IDLE}, rounds=rounds), 10) == []


def test_before_it_serves_there_is_little_to_find(time: Time) -> None:
    """A service that waits for Kafka from the start on is healthy."""
    assert time.passes(Facts(away={"kafka", "redis"}), 10_000) == []


@pytest.mark.parametrize(("members", "is_spare"), [(5, True), (4, False), (2, False), (None, True)])
def test_a_spare_is_healthy(time: Time, members: int | None, is_spare: bool) -> None:
    """No partition is well if there are more members than partitions; unknown numbers are no reason."""
    facts = serving({}, group=Group(members=members, topic_partitions=4))
    assert bool(time.passes(facts, 200)) is not is_spare


def test_a_held_partition_is_found_at_once(time: Time) -> None:
    """It is no server that is away, the reason is told, and that its claim goes on is no further problem."""
    facts = serving({3: CLAIMED}, held={3: "records are gone"})
    assert time.until_found(facts)[0] == 0
    [finding] = time.passes(facts, 2_000)
    assert (finding.check.name, finding.sentence) == ("partition held", "partition 3 is held: records are gone")
    assert time.passes(replace(facts, away={"kafka"}), 1)


def test_a_broken_client_is_found_at_once(time: Time) -> None:
    """Even while Kafka is away: it would not come back by itself."""
    facts = serving({}, group=Group(client_failure="KeyError()"), away={"kafka"})
    second, finding = time.until_found(facts)
    assert (second, finding.check.exits) == (0, True)
    assert finding.sentence == "a background task of the Kafka client has ended: KeyError()"


def test_a_late_event_loop_is_found_while_it_is_late(time: Time) -> None:
    """The last lag counts, whether a server is away or not."""
    assert time.passes(Facts(loop_lag_s=4.9), 100) == []
    [finding] = time.passes(Facts(loop_lag_s=7.0, away={"kafka"}), 1)
    assert finding.sentence == "the event loop was kept from running for 7 s"
    assert time.passes(Facts(loop_lag_s=0.1), 1) == []


def test_time_in_which_nobody_looked_hardly_counts(time: Time) -> None:
    """A process that was frozen finds itself well when it goes on."""
    time.passes(serving({3: WAITING}), 10)
    report = time.watchdog.look(serving({3: WAITING}), time.now_s + 1_000)
    assert report.findings == []
    [lasting] = [seen for check, seen in report.lasting_s.items() if check.name == "no progress"]
    assert lasting == {3: 9 + MAX_STEP_S}


# What is shown.


def test_metrics_show_how_long_each_has_lasted(time: Time) -> None:
    """Before a limit is reached the gauges rise; what is over is gone, or 0."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    def shown(facts: Facts, seconds: float) -> dict[str, float | None]:
        time.passes(facts, seconds)
        for check, lasting_s in time.report.lasting_s.items():
            metrics.lasting(check, lasting_s)
        stalled = registry.get_sample_value("ebbtide_stalled_seconds", {"partition": "3"})
        return {"stalled": stalled, "loop": registry.get_sample_value("ebbtide_main_loop_still_seconds")}

    assert shown(serving({3: WAITING}, rounds=1), 31) == {"stalled": 30.0, "loop": 30.0}
    assert shown(serving({3: IDLE}), 1) == {"stalled": None, "loop": 0.0}


def test_each_check_has_a_metric_of_its_own() -> None:
    """No two share one, and each is exported."""
    registry = CollectorRegistry()
    Metrics(registry)
    exported = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    metrics = [check.metric for check in CHECKS]
    assert len(set(metrics)) == len(metrics)
    assert set(metrics) <= exported
    assert len(COUNTED) == len(CHECKS) - 2


def test_limits_are_settings() -> None:
    """Whoever reads the table can change them."""
    assert {check.limit for check in CHECKS if check.limit} <= Settings.model_fields.keys()


def row(check: Check) -> str:
    """Of the table in the runbook."""
    limit = f"`{check.limit}`" if check.limit else "at once"
    exits = "yes" if check.exits else ""
    return f"| {check.name} | `{check.metric}` | {check.means} | {limit} | {exits} |"


def test_the_runbook_shows_the_table() -> None:
    """docs/runbook.md has the same rows in the same order."""
    page = RUNBOOK.read_text()
    shown = page.split("<!-- watchdog table")[1].split("<!-- end of watchdog table -->")[0].splitlines()[3:]
    assert shown == [row(check) for check in CHECKS]


# The thread that watches the event loop.


class Loop:
    """A pulse, and the time."""

    def __init__(self) -> None:
        self.pulse, self.now_s = Pulse(warn_s=5.0, exit_s=300.0, now_s=0.0), 0.0

    def look(self, beats: int, seconds: float, step_s: float = PAUSE_S) -> list[Verdict]:
        """Verdicts of all looks in so many seconds, without those that say nothing."""
        verdicts = []
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += step_s
            verdicts.append(self.pulse.look(beats, self.now_s))
        return [verdict for verdict in verdicts if verdict is not Verdict.NOTHING]


def test_a_loop_that_beats_is_left_alone() -> None:
    """One beat a second is enough."""
    loop = Loop()
    assert [verdict for beats in range(1, 1_000) for verdict in loop.look(beats, 1)] == []


def test_a_blocked_loop_is_warned_of_once() -> None:
    """The log is not flooded; it says when it is over, and warns again the next time."""
    loop = Loop()
    assert loop.look(1, 200) == [Verdict.WARN]
    assert loop.look(2, 1) == [Verdict.RELIEVED]
    assert loop.look(3, 1) == []
    assert loop.look(3, 10) == [Verdict.WARN]


def test_a_loop_that_stays_blocked_ends_the_process() -> None:
    """At the limit, not before."""
    loop = Loop()
    assert loop.look(1, 300) == [Verdict.WARN]
    assert loop.look(1, PAUSE_S) == [Verdict.EXIT]


def test_a_frozen_process_is_no_blocked_loop() -> None:
    """When the thread itself did not run, nothing is known of the loop."""
    loop = Loop()
    assert loop.look(1, 1) == []
    assert loop.look(1, 1_000, step_s=1_000) == []
    assert loop.look(2, 1) == []


# Tasks beside the main loop.


async def serve(beside: Callable[[Companions], Awaitable[None]]) -> None:
    """A main loop that ends when it is told to."""
    stop = asyncio.Event()
    async with Companions(stop, 20.0) as companions:
        await beside(companions)
        await stop.wait()


async def fail(what: object = "lost") -> None:
    raise KeyError(what)


async def test_a_companion_that_fails_ends_the_service() -> None:
    """Its error sets `stop`, and is raised when the main loop has ended."""

    async def beside(companions: Companions) -> None:
        companions.start(fail())

    with pytest.raises(KeyError, match="lost"):
        await serve(beside)


async def test_an_error_that_somebody_swallows_ends_the_service() -> None:
    """As aiokafka does with those of its listeners."""

    async def beside(companions: Companions) -> None:
        with suppress(KeyError):
            await companions.watched(fail)([3])

    with pytest.raises(KeyError, match="3"):
        await serve(beside)


async def test_an_error_of_the_main_loop_comes_first() -> None:
    """Companions end with the main loop, and do not hide why it has ended."""
    ended: list[bool] = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
            await fail()

    async def beside(companions: Companions) -> None:
        companions.start(for_ever())
        await asyncio.sleep(0)
        raise ValueError("main")

    with pytest.raises(ValueError, match="main"):
        await serve(beside)
    assert ended == [True]


async def test_a_process_that_does_not_end_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to stop, or after an error: whatever waits for ever then, the orchestrator need not kill it."""
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(companions.os, "_exit", left.set_result)
    monkeypatch.setattr(companions, "PATIENCE_S", 0.01)
    companions.end_within(0.0, "SIGTERM was received")
    async with asyncio.timeout(10):
        assert await left == companions.SOFTWARE_ERROR
