"""One class per recovery: what the service does about an error, not where it came from."""

from collections.abc import Iterable
from typing import Literal

# fenced: another process owns it. moved: the view is not where it was left. unknown: nobody knows what became of a
# commit. given_up: it could not be finished in time. damaged: a stored state cannot be read.
DoubtReason = Literal["fenced", "moved", "unknown", "given_up", "damaged"]


class EbbtideError(Exception):
    """Base of all errors that the service raises on purpose; the message is for the operator."""


class ConfigurationError(EbbtideError):
    """Only a person can mend it (a setting, a model file, a topic): exit with code 2."""


class UnavailableError(EbbtideError):
    """A server is away or slow: wait, and do the same again."""

    def __init__(self, dependency: str, message: str) -> None:
        super().__init__(message)
        self.dependency = dependency


class LostPartitionError(EbbtideError):
    """In doubt about partitions: another owner, a view that is elsewhere, or a commit of unknown outcome.

    Drop what is in memory, claim them again, and never repeat what was under way.
    """

    def __init__(self, message: str, partitions: Iterable[int] = (), reason: DoubtReason = "moved") -> None:
        super().__init__(message)
        self.partitions, self.reason = frozenset(partitions), reason


class DamagedViewError(LostPartitionError):
    """The store holds what cannot be read: give the view up, so that the next claim restores it."""

    def __init__(self, message: str, partitions: Iterable[int]) -> None:
        super().__init__(message, partitions, "damaged")


class PartitionHeldError(EbbtideError):
    """Only a person can let this partition go on; the others are not concerned: hold it, say so, look again."""

    def __init__(self, message: str, partition: int) -> None:
        super().__init__(message)
        self.partition = partition


class RestartNeededError(EbbtideError):
    """Only a new process gets on: end this one."""
