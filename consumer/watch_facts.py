"""What the watchdog looks at: what is known of the service at one moment."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Standing:
    """Where a partition that this process works on is."""

    is_live: bool = True
    is_claiming: bool = False
    next_offset: int | None = None  # known while it is live
    changed_since_ms: int | None = None  # when the oldest change was made that is not permanent yet


@dataclass(frozen=True)
class PartitionFacts:
    """A partition, as its owner sees it and as the Kafka client does."""

    standing: Standing = Standing()
    lag: int | None = None  # records that wait; None: not known
    hidden: int = 0  # offsets that may not be read, as a transaction before them is open …
    stable_offset: int | None = None  # … which begins here
    fetched_ms: int | None = None  # when Kafka last said anything about it


@dataclass(frozen=True)
class Group:
    """The consumer group, as this member sees it."""

    is_member: bool = True  # it has joined, and has been given its share, be it nothing
    assigned: Collection[int] = ()
    members: int | None = None  # None: nobody has asked, as this process has partitions
    topic_partitions: int = 0
    client_failure: str | None = None  # what has ended a background task of the Kafka client


@dataclass(frozen=True)
class Facts:
    """What is known at one moment; the group from when this process has asked to join it."""

    away: Collection[str] = ()  # servers that do not answer
    held: Mapping[int, str] = field(default_factory=dict)  # by partition, what a person has to decide
    input_failure: str | None = None
    loop_lag_s: float = 0.0  # how late the event loop was
    rounds: int | None = None  # of the main loop; None before its first
    group: Group | None = None
    partitions: Mapping[int, PartitionFacts] = field(default_factory=dict)
