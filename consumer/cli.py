"""The command line: thin; each command calls one function."""

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from consumer.cli_common import FAILED, AsJson, Events, console, explained, reading, say_how_read
from consumer.cli_models import add_to
from consumer.cli_policy import policy_app
from consumer.errors import EbbtideError
from consumer.event_loop import run_async
from consumer.logs import configure_logging
from consumer.settings import Settings, load_settings

DEMO_REPORT = Path("demo-report")

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
app.add_typer(policy_app, name="policy")


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
    out: Annotated[Path, typer.Option(help="Folder for report.html, summary.json and alerts.jsonl.")] = DEMO_REPORT,
) -> None:
    """Embedded servers, the service, and a real purchase log through it: watch, then read the summary."""
    from consumer.demo import run_demo

    configure_logging(load_settings().model_copy(update={"log_level": "warning"}))  # the service logs for itself
    raise typer.Exit(run_demo(events, keep, out, console))


@app.command()
@explained
def replay(
    events: Events,
    out: Annotated[Path, typer.Option(help="Folder for alerts, triggers, outcomes, summary.json and report.html.")],
    partitions: Annotated[int, typer.Option(min=1, help="As many as the topic has whose run is repeated.")] = 4,
    policy: Annotated[Path | None, typer.Option(help="A policy.toml; default: the one that the settings name.")] = None,
    as_json: AsJson = False,
) -> None:
    """The service's pipeline over a file, without servers: same alerts, same ids; then a back-test of them."""
    from consumer.replay import replay as replay_events

    settings = load_settings(clock="watermark", **({"policy_file": policy} if policy else {}))
    configure_logging(settings.model_copy(update={"log_level": "warning"}))  # nothing connects, nothing to say
    with reading(events, settings) as path:
        done, report = replay_events(path, out, settings, partitions)
    say_how_read(report)
    if as_json:
        print(json.dumps(done.summary))
    else:
        from consumer.concluding_view import show

        show(done, console)


@app.command()
@explained
def repartition(
    into: Annotated[
        str | None, typer.Option(help="The new state topic; default: the old one's name and the partition count.")
    ] = None,
    requeue_unread: Annotated[
        bool, typer.Option("--requeue-unread", help="Publish records anew that wait in a partition users have left.")
    ] = False,
    drop_early: Annotated[
        bool, typer.Option("--drop-early", help="Of users with two states keep that of their old partition.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """After the input got more partitions: rebuild all states where the users live now, in a new state topic."""
    from consumer.repartition import Choices
    from consumer.repartition import repartition as move_states

    settings = load_settings()
    configure_logging(settings)
    moved = run_async(move_states(settings, into, Choices(requeue_unread, drop_early)))
    if as_json:
        print(json.dumps(moved and asdict(moved)))
    elif moved is None:
        print(f"nothing to do: {settings.state_topic} fits {settings.events_topic}")
    else:
        table = Table("partition", "users", "timers", "next offset", title=f"States in {escape(moved.state_topic)}")
        for column in table.columns:
            column.justify = "right"
        for row in moved.partitions:
            table.add_row(str(row.partition), f"{row.users:,}", f"{row.timers:,}", f"{row.next_offset:,}")
        console.print(table)
        console.print(moved.what_to_do(), highlight=False, markup=False)


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


add_to(app)
