"""The commands about models: thin; each calls one function."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zipfile import is_zipfile

import typer
from rich.console import Console

from consumer.cli_common import AsJson, Events, console, explained, reading, say, say_how_read, shop_settings
from consumer.errors import ConfigurationError
from consumer.logs import configure_logging
from consumer.settings import DEFAULT_MODEL_DIR, load_settings

if TYPE_CHECKING:
    from model_export.folder import ShopLog
    from schemas.manifest import Manifest

train_app = typer.Typer(help="Make and adapt models.", no_args_is_help=True)
MAX_SEED = 2**32 - 1
BUDGET_HELP = "Customers to alert in a horizon, as a share of those who bought within a year."
GRACE_HELP = "`grace_days` of the policy that the model is for: thresholds keep to the budget under it."


@contextmanager
def shop_log(events: Path, source: str | None, timezone: str | None) -> Iterator["ShopLog"]:
    """The log that a model is adapted to; what was unusual about it is told."""
    from model_export.folder import ShopLog
    from schemas.manifest import ManifestError

    settings = shop_settings(timezone)
    with reading(events, settings) as path:
        log = ShopLog(path, source or path.name.split(".")[0], settings.timezone)
        try:
            yield log
        except ManifestError as error:
            raise ConfigurationError(str(error)) from error
        say_how_read(log.report)


def a_day(until: str) -> date:
    """Of `--until`."""
    try:
        day = date.fromisoformat(until)
    except ValueError as error:
        raise ConfigurationError(f"--until {until} is no day such as 2026-03-01") from error
    if not 1970 < day.year < 9999:
        raise ConfigurationError(f"--until {until} is not after 1970 and before 9999")
    return day


def usable_checkpoint(path: Path | None) -> Path | None:
    """Of `--checkpoint`, which training would come back to after minutes only."""
    if path and not path.parent.is_dir():
        raise ConfigurationError(f"--checkpoint {path}: there is no folder {path.parent}")
    if path and path.exists() and not is_zipfile(path):
        raise ConfigurationError(f"--checkpoint {path} is no checkpoint of pre-training: choose another name")
    return path


def say_adapted(out: Path, manifest: "Manifest") -> None:
    """Tell what a model was adapted to, and whether it could be."""
    tuned, calibration, tiers = manifest.fine_tuning, manifest.calibration, manifest.thresholds
    if tuned and not tuned.steps:
        say(f"the base weights are kept: {tuned.why_base}")
    if not calibration.window_days:
        say("not calibrated: the log is too short, or has too few customers, to hold back its latest days")
    print(f"{out}: {manifest.model_version}, at risk from {tiers.at_risk}, critical from {tiers.critical}")


@explained
def score(
    events: Events,
    as_of: Annotated[str, typer.Option(help="A day (its midnight) or a time; nothing at or after it is read.")],
    horizon_days: Annotated[float, typer.Option(help="Churned: no purchase in so many days.")],
    out: Annotated[Path, typer.Option(help=".csv, .jsonl (also .gz, .xz, .zst) or .parquet.")],
    model: Annotated[Path | None, typer.Option(help="Folder of a fine-tuned model; default: the shipped one.")] = None,
    timezone: Annotated[str | None, typer.Option(help="The shop's; default: the setting `timezone`.")] = None,
) -> None:
    """The churn probability of every customer known at a time. Needs the extra `files`."""
    from consumer.scores import score_file

    settings = shop_settings(timezone)
    configure_logging(settings.model_copy(update={"log_level": "warning"}))
    with reading(events, settings) as path:
        report = score_file(path, out, as_of, horizon_days, model, settings)
    say_how_read(report)
    bad = f", {report.bad_rows:,} bad rows" if report.bad else ""
    print(f"{out}: {report.users:,} customers from {report.used:,} events before {as_of}{bad}")


@train_app.command("pretrain")
@explained
def train_pretrain(
    out: Annotated[Path, typer.Option(help="Folder for the model and its manifest.")] = Path("model"),
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Same seed, same weights.")] = 1,
    steps: Annotated[int | None, typer.Option(min=1, help="Default: as many as the shipped model took.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Where to save, and to go on from.")] = None,
) -> None:
    """A base model from simulated shops; the defaults reproduce the shipped one. Needs the extra `train`."""
    from model_export.pretrain import CheckpointError, PretrainRecipe
    from model_export.train import run_pretraining

    recipe = PretrainRecipe(seed=seed) if steps is None else PretrainRecipe(seed=seed, steps=steps)
    try:
        manifest = run_pretraining(out, recipe, usable_checkpoint(checkpoint))
    except CheckpointError as error:
        raise ConfigurationError(str(error)) from error
    print(f"{out}: {manifest.model_version}")


@train_app.command("finetune")
@explained
def train_finetune(
    events: Events,
    until: Annotated[str, typer.Option(help="Nothing on or after this day is read.")],
    out: Annotated[Path, typer.Option(help="Folder for the model and its manifest.")],
    base: Annotated[Path | None, typer.Option(help="Folder of the weights to begin with; default: shipped.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of the log, for the manifest.")] = None,
    alert_budget: Annotated[float, typer.Option(min=0.001, max=0.5, help=BUDGET_HELP)] = 0.15,
    grace_days: Annotated[float, typer.Option(min=0, max=365, help=GRACE_HELP)] = 7.0,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Same seed, same weights.")] = 1,
    timezone: Annotated[str | None, typer.Option(help="The shop's; default: the setting `timezone`.")] = None,
) -> None:
    """The base model fitted to a shop's own log, calibrated on its latest days. Needs the extra `train`."""
    from model_export.finetune import FineTuneRecipe
    from model_export.thresholds import Budget
    from model_export.train import run_finetuning

    day, budget = a_day(until), Budget(alert_budget, grace_days)
    with shop_log(events, source, timezone) as log:
        manifest = run_finetuning(log, day, base or DEFAULT_MODEL_DIR, out, FineTuneRecipe(seed), budget)
    say_adapted(out, manifest)


@train_app.command("calibrate")
@explained
def train_calibrate(
    events: Events,
    until: Annotated[str, typer.Option(help="Nothing on or after this day is read.")],
    out: Annotated[Path, typer.Option(help="Folder for the model and its manifest.")],
    base: Annotated[Path | None, typer.Option(help="Folder of the model to calibrate; default: shipped.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of the log, for the manifest.")] = None,
    alert_budget: Annotated[float, typer.Option(min=0.001, max=0.5, help=BUDGET_HELP)] = 0.15,
    grace_days: Annotated[float, typer.Option(min=0, max=365, help=GRACE_HELP)] = 7.0,
    timezone: Annotated[str | None, typer.Option(help="The shop's; default: the setting `timezone`.")] = None,
) -> None:
    """The same weights told of another shop: its token, calibration and thresholds. Needs the extra `files`."""
    from model_export.folder import run_calibration
    from model_export.thresholds import Budget

    day, budget = a_day(until), Budget(alert_budget, grace_days)
    with shop_log(events, source, timezone) as log:
        manifest = run_calibration(log, day, base or DEFAULT_MODEL_DIR, out, budget)
    say_adapted(out, manifest)


@train_app.command("reference")
@explained
def train_reference(
    model: Annotated[Path, typer.Option(help="Folder of a base model; its manifest is written again.")],
) -> None:
    """What drift is measured against, anew from simulated shops. Needs the extra `files`."""
    from model_export.folder import run_reference
    from schemas.manifest import ManifestError

    try:
        manifest = run_reference(model)
    except ManifestError as error:
        raise ConfigurationError(str(error)) from error
    assert manifest.reference
    print(f"{model}: {manifest.reference.observations:,} simulated events")


@train_app.command("next-items")
@explained
def train_next_items(
    events: Events,
    out: Annotated[Path, typer.Option(help="JSON file, for the setting `next_items_file`.")],
    timezone: Annotated[str | None, typer.Option(help="The shop's; default: the setting `timezone`.")] = None,
) -> None:
    """What customers who bought an item bought next, for triggers. Needs the extra `files`."""
    from model_export.next_items import write_next_items
    from schemas.read_report import ReadReport

    settings, report = shop_settings(timezone), ReadReport()
    with reading(events, settings) as path:
        table = write_next_items(path, out, settings.timezone, report)
    say_how_read(report)
    print(f"{out}: what is bought next after {len(table):,} items, from {report.purchases:,} purchases")


@train_app.command("ablate")
@explained
def train_ablate(
    data: Annotated[Path, typer.Option(help="Folder with the three real logs: the full suite.")],
    out: Annotated[Path, typer.Option(help="JSON file; runs that it holds already are not made again.")],
    steps: Annotated[int, typer.Option(min=1, help="Of each network.")] = 600,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Same seed, same weights.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Name of a run; may be given again. Default: all.")] = None,
) -> None:
    """What each prior, input and architecture bought, by short runs. Needs the extras `train` and `evaluate`."""
    from consumer.ablation import ablate_suite
    from model_export.ablation_results import Setting
    from model_export.ablation_view import on_terminal

    results = ablate_suite(data, out, Setting(seed=seed, steps=steps), only or ())
    console.print(on_terminal(results), highlight=False)
    print(f"{out}: {len(results)} runs")


@explained
def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    data: Annotated[Path | None, typer.Option(help="Folder with the three real logs: the full suite.")] = None,
    events: Annotated[Path | None, typer.Option(help="A log of one's own, instead; as with `score`.")] = None,
    at: Annotated[list[str] | None, typer.Option(help="With --events: a cut-off day; may be given again.")] = None,
    horizon_days: Annotated[list[int] | None, typer.Option(min=1, help="With --events; default: 30.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of another model than the shipped one.")] = None,
    tune: Annotated[bool, typer.Option("--finetune", help="Fine-tune too, at every cut-off; needs `train`.")] = False,
    budget: Annotated[float, typer.Option(min=0.001, max=0.999, help="Share of customers that can be alerted.")] = 0.1,
    timezone: Annotated[str | None, typer.Option(help="With --events: the shop's.")] = None,
    ablations: Annotated[Path | None, typer.Option(help="Result of `train ablate`, for the report.")] = None,
    as_json: AsJson = False,
) -> None:
    """Models and baselines on the same customers of real logs: tables and a report. Needs the extra `evaluate`."""
    from consumer.evaluation import Chosen, evaluate_logs

    settings = shop_settings(timezone)
    with nullcontext() if events is None else reading(events, settings) as path:
        chosen = Chosen(data, path, tuple(at or ()), tuple(horizon_days or (30,)))
        comparisons, bars, reports = evaluate_logs(chosen, out, model, tune, budget, settings, ablations)
    for report in reports if events else ():
        say_how_read(report)
    if as_json:
        print((out / "report.json").read_text(encoding="utf-8"), end="")
        return
    from model_export.report import on_terminal

    console.print(on_terminal(comparisons, bars), highlight=False)
    print(f"{out / 'report.html'}: {len(comparisons)} comparisons")


@explained
def simulate(
    out: Annotated[Path | None, typer.Option(help=".jsonl or .csv (also .gz, .xz, .zst) or .parquet.")] = None,
    topic: Annotated[str | None, typer.Option(help="Instead: a topic of the configured Kafka.")] = None,
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="Customers in the log.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Same seed, same shop and events.")] = 1,
    days: Annotated[int | None, typer.Option(min=1, max=3_650, help="Of the log; default: the shop's.")] = None,
    start: Annotated[
        str | None, typer.Option(help="First day; default: 2024-01-01, for a topic so that the log ends yesterday.")
    ] = None,
    kind: Annotated[
        Literal["any", "purchases", "browsing"], typer.Option(help="Only purchases logged, or visits too.")
    ] = "any",
    rate: Annotated[float, typer.Option(min=0, help="With --topic: events a second; 0: as fast as possible.")] = 0,
    speed_up: Annotated[float, typer.Option(min=0, help="With --topic: so many times as fast as it happened.")] = 0,
    truth: Annotated[Path | None, typer.Option(help="When each customer left, into a file of its own.")] = None,
    as_json: AsJson = False,
) -> None:
    """A simulated shop as events, to a file or a topic; user and event ids begin with sim-. Needs the extra `files`."""
    from consumer.adapters.paced_feed import Pace
    from consumer.simulation import Target, Wanted, habits_table, simulate_shop

    settings = load_settings()
    configure_logging(settings.model_copy(update={"log_level": "warning"}))
    wanted, target = Wanted(users, seed, days, start, kind), Target(out, topic, Pace(rate, speed_up), truth)
    summary = simulate_shop(wanted, target, settings, Console(stderr=True))
    if as_json:
        print(json.dumps(summary))
        return
    console.print(habits_table(summary), highlight=False)
    print(f"{summary['to']}: {summary['events']:,} simulated events of {summary['customers']:,} customers")


def add_to(app: typer.Typer) -> None:
    """Put these commands beside the others."""
    app.add_typer(train_app, name="train")
    for command in (score, evaluate, simulate):
        app.command()(command)
