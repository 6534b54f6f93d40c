"""One row for each way in which the service can stand still; docs/runbook.md shows the same table. No I/O, no clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consumer.watch_facts import Facts

Subject = int | None  # a partition, or the process


@dataclass(frozen=True)
class Sight:
    """Something that is wrong if it lasts."""

    sentence: str
    sign: object = None  # if this changes, it is no longer the same: the time starts anew
    seconds: float | None = None  # how long it has lasted, if that is known; else it is counted
    advice: str = ""

    def after(self, seconds: float, is_counted: bool) -> str:
        """The sentence for people."""
        return self.sentence + (f" for {seconds:.0f} s" if is_counted else "") + (self.advice and f": {self.advice}")


Sights = Mapping[Subject, Sight | None]  # None: it cannot be seen just now, and is as it was


@dataclass(frozen=True, eq=False)  # a key: each is itself
class Check:
    """One way to stand still."""

    name: str
    metric: str
    means: str
    sees: Callable[[Facts], Sights]
    limit: str | None = None  # the setting that says how long is too long; None: at once
    by_partition: bool = False
    exits: bool = False  # only a new process helps
    waits_for_servers: bool = True  # time in which Kafka or Redis is away does not count: a restart brings none back


# What each check sees.


def _unprocessed(facts: Facts) -> Sights:
    return {
        partition: None
        if each.lag is None or not each.standing.is_live
        else Sight(f"partition {partition}: {each.lag} records wait, none was processed", each.standing.next_offset)
        for partition, each in facts.partitions.items()
        if each.lag != 0
    }


def _main_loop(facts: Facts) -> Sights:
    return {} if facts.rounds is None else {None: Sight("the main loop has not come round", facts.rounds)}


def _late_loop(facts: Facts) -> Sights:
    return {None: Sight("the event loop was kept from running", seconds=facts.loop_lag_s)}


def _unreadable(facts: Facts) -> Sights:
    why = facts.input_failure
    return {} if why is None else {None: Sight("Kafka answers, but the input cannot be read", advice=why)}


def _unfetched(facts: Facts) -> Sights:
    return {
        partition: Sight(
            f"partition {partition}: Kafka has answered no fetch",
            each.fetched_ms,
            advice="has it a leader (`kafka-topics.sh --describe`)?",
        )
        for partition, each in facts.partitions.items()
        if each.standing.is_live and not each.lag  # if records wait, the next fetch waits for them
    }


def _hidden(facts: Facts) -> Sights:
    return {
        partition: Sight(
            f"partition {partition}: somebody's transaction that is open at offset {each.stable_offset} hides "
            f"{each.hidden} offsets",
            each.stable_offset,
            advice="stop that producer, or abort the transaction (`kafka-transactions.sh find-hanging`, then `abort`)",
        )
        for partition, each in facts.partitions.items()
        if each.hidden and each.lag == 0  # all that may be read has been
    }


def _unassigned(facts: Facts) -> Sights:
    group = facts.group
    if group is None:
        return {}
    if not group.is_member:
        return {None: Sight("it has no share of the partitions, as no rebalance of the group has come to an end")}
    if group.assigned or group.members is None or group.members > group.topic_partitions:
        return {}  # a spare, ready to take over, is well
    return {
        None: Sight(
            f"it has no partition, though the group has {group.members} members for {group.topic_partitions} partitions"
        )
    }


def _unattended(facts: Facts) -> Sights:
    group = facts.group
    if group is None or not group.is_member:
        return {}
    return {
        partition: Sight(f"partition {partition} is ours, but nothing works on it")
        for partition in group.assigned
        if partition not in facts.partitions
    }


def _client_failure(facts: Facts) -> Sights:
    why = facts.group and facts.group.client_failure
    return {None: Sight(f"a background task of the Kafka client has ended: {why}")} if why else {}


def _claims(facts: Facts) -> Sights:
    return {
        partition: Sight(f"partition {partition} has been claimed without end", advice="see the log for why")
        for partition, each in facts.partitions.items()
        if each.standing.is_claiming and partition not in facts.held
    }


def _held(facts: Facts) -> Sights:
    return {partition: Sight(f"partition {partition} is held: {why}") for partition, why in facts.held.items()}


def _uncommitted(facts: Facts) -> Sights:
    return {
        partition: Sight(f"partition {partition}: a commit has not ended", each.standing.changed_since_ms)
        for partition, each in facts.partitions.items()
        if each.standing.changed_since_ms is not None
    }


def _nothing(_: Facts) -> Sights:
    return {}


LOOP_LATE = Check(
    "event loop late", "ebbtide_loop_lag_seconds",
    "something keeps the event loop busy: this endpoint, heartbeats and time-outs are late",
    _late_loop, "loop_lag_max_s", waits_for_servers=False,
)  # fmt: skip
LOOP_BLOCKED = Check(  # by a thread: `LoopGuard`
    "event loop blocked", "ebbtide_loop_blocks_total",
    "nothing runs and no endpoint answers; after `loop_lag_max_s` the log shows where the main thread is",
    _nothing, "loop_block_exit_s", exits=True, waits_for_servers=False,
)  # fmt: skip
CHECKS = (
    Check(
        "no progress", "ebbtide_stalled_seconds", "records of a partition wait, and none is processed",
        _unprocessed, "stall_s", by_partition=True,
    ),
    Check(
        "main loop stands still", "ebbtide_main_loop_still_seconds", "it waits for something that does not come",
        _main_loop, "stall_s",
    ),
    LOOP_LATE,
    LOOP_BLOCKED,
    Check(
        "input unreadable", "ebbtide_input_failing_seconds", "reading fails, although Kafka answers otherwise",
        _unreadable, "stall_s",
    ),
    Check(
        "partition not fetched", "ebbtide_fetch_age_seconds",
        "Kafka answers, but not for this partition: it has no leader, or the client has forgotten it",
        _unfetched, "stall_s", by_partition=True,
    ),
    Check(
        "open transaction", "ebbtide_open_transaction_seconds",
        "the last stable offset does not move: what was written after it may not be read",
        _hidden, "open_transaction_max_s", by_partition=True,
    ),
    Check(
        "no assignment", "ebbtide_unassigned_seconds",
        "it has not joined the group, or has no partition though there are enough for all members",
        _unassigned, "assignment_max_s",
    ),
    Check(
        "partition unattended", "ebbtide_unattended_seconds", "the group gave us a partition that nothing works on",
        _unattended, "stall_s", by_partition=True, exits=True,
    ),
    Check(
        "Kafka client broken", "ebbtide_client_broken", "a background task of the Kafka client has ended",
        _client_failure, exits=True, waits_for_servers=False,
    ),
    Check(
        "claim does not end", "ebbtide_claim_seconds", "a partition is being claimed, restored or fought for",
        _claims, "claim_max_s", by_partition=True,
    ),
    Check(
        "partition held", "ebbtide_partition_held", "a person has to decide: the sentence says what",
        _held, by_partition=True, waits_for_servers=False,
    ),
    Check(
        "commit does not finish", "ebbtide_oldest_uncommitted_seconds", "changes of a partition do not get permanent",
        _uncommitted, "stall_s", by_partition=True,
    ),
)  # fmt: skip
COUNTED = tuple(check for check in CHECKS if check not in (LOOP_LATE, LOOP_BLOCKED))  # have a gauge of seconds
