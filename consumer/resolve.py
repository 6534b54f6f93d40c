"""What a claim has to do, as one table: from what the changelog and the store say to a named outcome. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from consumer.records import Logged, View


class Outcome(Enum):
    """What a claim finds, and so what it does."""

    FRESH = auto()
    FOREIGN = auto()
    RESTORE_LOST = auto()
    RESTORE_OTHER_GENESIS = auto()
    RESTORE_AHEAD = auto()
    CATCH_UP = auto()
    RESTORE_DAMAGED = auto()
    LIVE = auto()


RESTORES = frozenset(each for each in Outcome if each.name.startswith("RESTORE"))


@dataclass(frozen=True)
class Facts:
    """How the last position K in the changelog and the view R in the store relate."""

    has_position: bool
    has_header: bool
    is_intact: bool = False
    same_genesis: bool = False
    ahead_by: int = 0  # by how many changelog offsets the view is further than the position
    same_counts: bool = False

    @classmethod
    def of(cls, logged: Logged | None, view: View) -> "Facts":
        """What is known of the two."""
        header = view.header
        if logged is None or header is None:
            return cls(logged is not None, header is not None)
        position = logged.position
        return cls(
            has_position=True,
            has_header=True,
            is_intact=view.is_intact,
            same_genesis=header.genesis == position.genesis,
            ahead_by=header.offset - logged.offset,
            same_counts=(header.users, header.timers) == (position.users, position.timers),
        )


@dataclass(frozen=True)
class Resolution:
    """One row of the resolve table."""

    outcome: Outcome
    changelog: str
    view: str
    action: str
    holds: Callable[[Facts], bool]


_FILL = "fill a new generation of keys from the whole changelog, then switch to it"
RESOLUTIONS = (
    Resolution(
        Outcome.FRESH, "no position", "no header",
        "commit a genesis and the first position at the configured start, then read both again",
        lambda facts: not facts.has_position and not facts.has_header,
    ),
    Resolution(
        Outcome.FOREIGN, "no position", "a header",
        "commit once more: if fenced, doubt; else hold the partition and ask the operator",
        lambda facts: not facts.has_position,
    ),
    Resolution(
        Outcome.RESTORE_LOST, "a position", "no header, or not intact", _FILL,
        lambda facts: not facts.has_header or not facts.is_intact,
    ),
    Resolution(
        Outcome.RESTORE_OTHER_GENESIS, "a position", "of another genesis", _FILL,
        lambda facts: not facts.same_genesis,
    ),
    Resolution(
        Outcome.RESTORE_AHEAD, "a position", "further than the changelog",
        f"commit once more: if fenced, doubt; else say so loudly and {_FILL}",
        lambda facts: facts.ahead_by > 0,
    ),
    Resolution(
        Outcome.CATCH_UP, "a position", "behind the changelog",
        "apply what the changelog holds after the header's offset",
        lambda facts: facts.ahead_by < 0,
    ),
    Resolution(
        Outcome.RESTORE_DAMAGED, "a position", "at it, with other counts", _FILL,
        lambda facts: not facts.same_counts,
    ),
    Resolution(Outcome.LIVE, "a position", "at it", "go on from there", lambda facts: True),
)  # fmt: skip


def resolve(logged: Logged | None, view: View) -> Outcome:
    """From the last position K in the changelog and the view R in the store to what has to be done: first match."""
    facts = Facts.of(logged, view)
    return next(row.outcome for row in RESOLUTIONS if row.holds(facts))
