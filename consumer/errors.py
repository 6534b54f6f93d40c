"""One class per recovery: what the service does about an error, not where it came from."""


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
    """The stored position is not where this owner left it: drop what is in memory and claim the partition again."""
