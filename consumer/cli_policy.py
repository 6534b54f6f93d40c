"""`ebbtide policy`: look at a policy, and plan one on the shop's own log."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli_common import AsJson, Events, console, explained, reading, say, say_how_read, shop_settings
from consumer.errors import ConfigurationError
from consumer.logs import configure_logging
from consumer.settings import Settings, load_settings

if TYPE_CHECKING:
    from consumer.policy_plan import Plan

policy_app = typer.Typer(help="Who is alerted, and what may be done about it.", no_args_is_help=True)
TEXT_FILE, PLOT_FILE, NUMBERS_FILE = "policy.toml", "plan.png", "plan.json"
File = Annotated[Path | None, typer.Argument(help="A policy.toml; default: the one that the settings name.")]


@policy_app.command()
@explained
def check(file: File = None) -> None:
    """Say what is wrong with a policy, if anything, with file, line and reason; also whether it fits the model."""
    from consumer.adapters.onnx_scorer import verified_manifest
    from consumer.policy_file import load_policy

    settings = load_settings()
    path = file or settings.policy_file
    policy = load_policy(path, verified_manifest(settings.model_dir), settings.timezone)
    print(f"{path}: fine ({policy.digest})")


@policy_app.command()
@explained
def show(file: File = None, as_json: AsJson = False) -> None:
    """What a policy comes to: thresholds worked out, defaults filled in."""
    from consumer.adapters.onnx_scorer import verified_manifest
    from consumer.policy_file import load_policy
    from consumer.policy_view import policy_json, policy_table

    settings = load_settings()
    path = file or settings.policy_file
    policy = load_policy(path, verified_manifest(settings.model_dir), settings.timezone)
    if as_json:
        print(json.dumps(policy_json(policy), default=str))
    else:
        console.print(policy_table(policy, str(path)), highlight=False)


@policy_app.command()
@explained
def plan(
    events: Events,
    margin: Annotated[float | None, typer.Option(min=0, help="Lost with a customer who does not come back.")] = None,
    offer_cost: Annotated[float | None, typer.Option(min=0, help="Of what every alerted customer is offered.")] = None,
    save_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the lost whom it brings back.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help=f"Folder for {TEXT_FILE}, {PLOT_FILE} and {NUMBERS_FILE}.")] = None,
    timezone: Annotated[str | None, typer.Option(help="The shop's time zone; default: that of the settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """What thresholds and budgets would have cost and caught on the shop's own log; the rest as the policy says."""
    from consumer.adapters.metrics import Metrics
    from consumer.policy_plan import plan as plan_policy
    from consumer.policy_trial import Costs
    from consumer.policy_view import plan_json, plan_notes, plan_table

    costs = None
    if margin is not None and offer_cost is not None and save_rate is not None:
        costs = Costs(margin, offer_cost, save_rate)
    elif (margin, offer_cost, save_rate) != (None, None, None):
        raise ConfigurationError("--margin, --offer-cost and --save-rate are of use together only")
    if out is not None:
        import consumer.policy_plot  # noqa: F401 (if matplotlib is missing, that is better said before the work)
    settings = shop_settings(timezone)
    configure_logging(settings.model_copy(update={"log_level": "warning"}))
    with reading(events, settings) as path:
        found, report = plan_policy(path, settings, Metrics(), costs, say)
    say_how_read(report)
    if as_json:
        print(json.dumps(plan_json(found)))
    else:
        console.print(plan_table(found))
        console.print(plan_notes(found), highlight=False)
    if out is not None:
        write_plan(out, found, settings)


def write_plan(out: Path, found: "Plan", settings: Settings) -> None:
    """The plan in files, and a policy that follows from it."""
    from consumer.policy_file import read_policy
    from consumer.policy_plot import write_plot
    from consumer.policy_text import policy_text, with_threshold
    from consumer.policy_view import plan_json

    out.mkdir(parents=True, exist_ok=True)
    write_plot(found, out / PLOT_FILE)
    (out / NUMBERS_FILE).write_text(json.dumps(plan_json(found), indent=2) + "\n")
    before, thresholds = read_policy(settings.policy_file).policy, found.rules.thresholds
    chosen = with_threshold(before, round(found.best.threshold, 4), thresholds[1] if len(thresholds) > 1 else None)
    comments = [f"{settings.policy_file.name} with the threshold that `ebbtide policy plan` found best"]
    (out / TEXT_FILE).write_text(policy_text(chosen, comments), encoding="utf-8")
    if len(chosen.tiers) < len(before.tiers):
        say(f"{out / TEXT_FILE} has one tier: the threshold is above that of the second")
    say(f"written: {out / TEXT_FILE}, {out / PLOT_FILE}, {out / NUMBERS_FILE}")
