"""What can go wrong, as one table: each takes the explorer and a number that says where."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.explorer import Explorer

Fault = Callable[["Explorer", int], object]


def fail(run: "Explorer", number: int) -> None:
    """A call that somebody waits for gets no answer."""
    calls = [(process, call) for process in run.running() for call in process.waiting()]
    if calls:
        process, call = calls[number % len(calls)]
        run.note(f"{process.number}: {call.what} is not answered ({number // len(calls) % 3})")
        process.fail(call, number // len(calls))


def fail_commit(run: "Explorer", number: int) -> None:
    """The next transaction, or the next call that takes one into Redis, gets no answer."""
    run.doomed = (("step", "catch_up", "fill", "switch"), ("commit",))[number % 2], number // 2


def crash(run: "Explorer", number: int) -> None:
    """A process dies."""
    for process in run.running()[number % 2 :][:1]:
        process.crash(number // 2)
        run.processes[process.number] = None


def stop(run: "Explorer", number: int) -> None:
    """A process is told to stop."""
    for process in run.running()[number % 2 :][:1]:
        process.stop()


def pause(run: "Explorer", number: int) -> None:
    """A process does nothing for a while, and knows nothing of it."""
    run.paused[number % 2] = 5 + number // 2 % 40


def rebalance(run: "Explorer", number: int) -> None:
    """The group gives a partition to the other process."""
    owner = run.world.owner
    owner[number % len(owner)] = 1 - owner[number % len(owner)]
    run.world.generation += 1


def wait(run: "Explorer", number: int) -> None:
    """Servers are slow: a timer of a process fires first."""
    for process in run.running()[number % 2 :][:1]:
        process.pass_time()


def arrive(run: "Explorer", number: int) -> None:
    """A call that was given up has its effect after all."""
    if run.world.in_flight:
        run.world.arrive(number)


def roll_back(run: "Explorer", number: int) -> None:
    """A replica of Redis is here; or Redis goes back to where it was."""
    if number % 3:
        run.world.roll_back()
    else:
        run.world.snapshot = run.world.store_now()


def _in_partition(change: str) -> Fault:
    return lambda run, number: getattr(run.world, change)(number % len(run.world.script))


def _in_user(change: str) -> Fault:
    count = 8
    return lambda run, number: getattr(run.world, change)(number // count % len(run.world.script), number % count)


def move_group(run: "Explorer", number: int) -> None:
    """Somebody commits other offsets for the group."""
    partition = number % len(run.world.script)
    run.world.group[partition] = number // 2 % (len(run.world.script[partition]) + 1)


FAULTS: dict[str, Fault] = {
    "a call fails": fail,
    "a commit fails": fail_commit,
    "crash": crash,
    "rebalance": rebalance,
    "pause": pause,
    "a late call arrives": arrive,
    "Redis goes back": roll_back,
    "Redis is emptied": lambda run, _: run.world.flush(),
    "a header is lost": _in_partition("lose_header"),
    "a user is lost": _in_user("lose_user"),
    "timers are lost": _in_partition("lose_timers"),
    "a user is garbled": _in_user("garble_user"),
    "compaction": _in_partition("compact"),
    "tombstones go": _in_partition("drop_tombstones"),
    "the group's offsets move": move_group,
    "time passes": wait,
    "stop": stop,
}
