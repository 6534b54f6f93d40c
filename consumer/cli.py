"""The command line: thin; each command calls one function."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from consumer.errors import ConfigurationError, EbbtideError
from consumer.logs import configure_logging
from consumer.settings import Settings, load_settings

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="ebbtide",
    help="Tells an online shop which customer is about to be lost, why, and what to do about it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
schemas_app = typer.Typer(help="The contracts as JSON Schema files.", no_args_is_help=True)
topics_app = typer.Typer(help="The Kafka topics that the service needs.", no_args_is_help=True)
app.add_typer(schemas_app, name="schemas")
app.add_typer(topics_app, name="topics")
console = Console()
FAILED, WRONG_USE = 1, 2
EXTRA_OF = {"polars": "files", "zstandard": "files", "torch": "train", "onnx": "train", "onnxscript": "train"}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Errors meant for a person end the command with their message and the exit code that fits."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EbbtideError as error:
            print(f"ebbtide: {error}", file=sys.stderr)
            raise typer.Exit(WRONG_USE if isinstance(error, ConfigurationError) else FAILED) from error
        except OSError as error:
            print(f"ebbtide: {error}", file=sys.stderr)
            raise typer.Exit(FAILED) from error
        except ModuleNotFoundError as error:
            if error.name not in EXTRA_OF:
                raise
            extra = EXTRA_OF[error.name]
            print(f"ebbtide: this needs {error.name}: in the checkout, pip install '.[{extra}]'", file=sys.stderr)
            raise typer.Exit(WRONG_USE) from error

    return run


def run_async(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


@app.command()
@explained
def run() -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from consumer.service import run_service

    settings = load_settings()
    configure_logging(settings)
    run_async(run_service(settings))


@app.command()
@explained
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards.")] = False,
    events: Annotated[Path | None, typer.Option(help="Another event file than the CDNOW log.")] = None,
) -> None:
    """Embedded servers, the service, and a real purchase log through it: watch, then read the summary."""
    from consumer.demo import run_demo

    raise typer.Exit(run_demo(events, keep, console))


@app.command()
@explained
def replay(
    events: Annotated[Path, typer.Option(help="CSV, JSON Lines or Parquet, optionally .gz, .xz or .zst.")],
    out: Annotated[Path, typer.Option(help="Folder for alerts.jsonl, dead_letters.jsonl and summary.json.")],
    partitions: Annotated[int, typer.Option(min=1, help="As many as the topic has whose run is repeated.")] = 4,
    as_json: AsJson = False,
) -> None:
    """The service's pipeline over a file, without servers: same alerts, same ids."""
    from consumer.replay import replay as replay_events

    settings = load_settings(clock="watermark")
    configure_logging(settings.model_copy(update={"log_level": "warning"}))  # nothing connects, nothing to say
    summary = replay_events(events, out, settings, partitions)
    if as_json:
        print(json.dumps(summary))
    else:
        from consumer.tables import how_judged, summary_table

        console.print(summary_table(summary))
        console.print(how_judged(summary), highlight=False)


@app.command()
@explained
def features(
    user: Annotated[str, typer.Argument(help="User id.")],
    as_of: Annotated[
        datetime | None, typer.Option(help="Windows end here (totals are of today); default: the latest day known.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The named rolling features of one user, as the service sees them."""
    from consumer.lookup import user_features

    settings = load_settings()
    configure_logging(settings)
    found = run_async(user_features(settings, user, as_of))
    if as_json:
        print(json.dumps(found))
        return
    from consumer.tables import features_facts, features_table

    console.print(features_table(found))
    console.print(features_facts(found), highlight=False)


@app.command()
@explained
def train(
    events: Annotated[Path, typer.Option(help="The purchase log to learn from.")] = Path("data/cdnow/events.csv.xz"),
    until: Annotated[str, typer.Option(help="Nothing on or after this day is read.")] = "1997-10-01",
    out: Annotated[Path, typer.Option(help="Folder for the model and its manifest.")] = Path("model"),
    source: Annotated[str, typer.Option(help="Name of the log, for the manifest.")] = "cdnow",
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 1,
) -> None:
    """Train a model and export it; the defaults reproduce the shipped one. Needs the extra `train`."""
    from model_export.fit import Recipe
    from model_export.train import train as train_model
    from schemas.files import EventFileError

    try:
        last_day = date.fromisoformat(until)
    except ValueError as error:
        raise ConfigurationError(f"--until {until} is no day such as 1997-10-01") from error
    try:
        manifest = train_model(events, last_day, out, source, load_settings().timezone, Recipe(seed=seed))
    except EventFileError as error:
        raise ConfigurationError(str(error)) from error
    print(f"{out}: {manifest.model_version}")


@app.command()
@explained
def config(as_json: AsJson = False) -> None:
    """Print the effective settings, secrets masked."""
    settings = load_settings()
    if as_json:
        print(settings.model_dump_json(indent=2))
        return
    table = Table(title="Effective settings (EBBTIDE_… over ebbtide.toml over defaults)")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("meaning")
    for name, field in Settings.model_fields.items():
        table.add_row(name, escape(str(getattr(settings, name))), escape(field.description or ""))
    console.print(table)


@schemas_app.command("export")
@explained
def schemas_export(folder: Annotated[Path, typer.Argument()] = Path("schemas/json")) -> None:
    """Write the JSON Schema files."""
    from schemas.export import IncompatibleSchemaError, export

    try:
        for path in export(folder):
            print(path)
    except IncompatibleSchemaError as error:
        raise EbbtideError(f"this would break readers or producers:\n{error}") from error


@schemas_app.command("check")
@explained
def schemas_check(folder: Annotated[Path, typer.Argument()] = Path("schemas/json")) -> None:
    """Compare the files with the models; fails on a difference, and names what would break readers."""
    from schemas.export import check

    problems = check(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(FAILED)
    print(f"{folder}: up to date")


@topics_app.command("create")
@explained
def topics_create() -> None:
    """Make the topics that are missing."""
    from consumer.adapters.topics import create_topics

    settings = load_settings()
    configure_logging(settings)
    made = run_async(create_topics(settings))
    print(f"made {', '.join(made)}" if made else "all topics exist")
