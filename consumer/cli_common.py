"""What all commands share: errors for people, settings, event files, output."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from consumer.errors import ConfigurationError, EbbtideError, UnavailableError
from consumer.extras import how_to_install
from consumer.settings import Settings, load_settings
from schemas.read_report import ReadReport

P = ParamSpec("P")
R = TypeVar("R")

console = Console()
FAILED, WRONG_USE = 1, 2
EXTRA_OF = {
    "polars": "files", "zstandard": "files", "torch": "train", "onnx": "train", "onnxscript": "train",
    "jinja2": "report", "lightgbm": "evaluate", "matplotlib": "report", "scipy": "evaluate", "sklearn": "evaluate",
}  # fmt: skip
_SETTING_OF = {"kafka": "kafka_bootstrap_servers", "redis": "redis_url"}
Events = Annotated[
    Path,
    typer.Option(
        help="CSV, JSON Lines or Parquet (.gz, .xz, .zst), or kafka:TOPIC\\[@FROM..TO], a range by Kafka's timestamps."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Errors meant for a person end the command with their message and the exit code that fits."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EbbtideError as error:
            print(f"ebbtide: {error}{_where(error)}", file=sys.stderr)
            raise typer.Exit(WRONG_USE if isinstance(error, ConfigurationError) else FAILED) from error
        except OSError as error:
            print(f"ebbtide: {error}", file=sys.stderr)
            raise typer.Exit(FAILED) from error
        except ModuleNotFoundError as error:
            if error.name not in EXTRA_OF:
                raise
            extra = EXTRA_OF[error.name]
            print(f"ebbtide: this needs {error.name}: in the checkout, {how_to_install(extra)}", file=sys.stderr)
            raise typer.Exit(WRONG_USE) from error

    return run


def _where(error: EbbtideError) -> str:
    """What decides which server was asked."""
    setting = _SETTING_OF.get(error.dependency) if isinstance(error, UnavailableError) else None
    return f" (EBBTIDE_{setting.upper()} says which; `ebbtide config` shows it)" if setting else ""


def shop_settings(timezone: str | None, **overrides: Any) -> Settings:
    """The settings, in the time zone that was asked for."""
    return load_settings(**overrides, **({} if timezone is None else {"timezone": timezone}))


@contextmanager
def reading(events: Path, settings: Settings) -> Iterator[Path]:
    """The event file that `--events` names; that it cannot be used is wrong use."""
    from consumer.event_source import events_source
    from schemas.files import EventFileError

    try:
        with events_source(events, settings, say) as path:
            yield path
    except EventFileError as error:
        raise ConfigurationError(str(error)) from error


def say(text: str) -> None:
    """Tell a person something that is no result."""
    print(text, file=sys.stderr)


def say_how_read(report: ReadReport) -> None:
    """Tell what was unusual about a log."""
    from consumer.tables import read_notes

    for note in read_notes(report):
        say(note)
