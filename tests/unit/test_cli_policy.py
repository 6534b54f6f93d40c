"""`ebbtide policy` and `replay --policy`: results for people and programs, mistakes with file, line and reason."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from consumer.cli import app
from consumer.settings import DEFAULT_POLICY_FILE
from policy_texts import EVERYTHING, TIERS
from shop_logs import shop_rows, write_rows

ONE_TIER = '[[tiers]]\nname = "at_risk"\nthreshold = {}\n'


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path) -> None:
    """A folder and settings of one's own."""
    for name in [name for name in os.environ if name.startswith("EBBTIDE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBBTIDE_MODEL_DIR", str(tiny_model))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Events of a small shop."""
    return write_rows(tmp_path / "events.csv", shop_rows(customers=20, days=150))


def ebbtide(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def written(text: str, name: str = "policy.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_a_policy_without_fault_is_said_to_be_fine() -> None:
    """By name, or the one that the settings name."""
    for arguments in ([], [written(EVERYTHING)]):
        done = ebbtide("policy", "check", *arguments)
        assert done.exit_code == 0
        assert done.stdout.startswith(f"{arguments[0] if arguments else DEFAULT_POLICY_FILE}: fine (")


@pytest.mark.parametrize("command", [("policy", "check"), ("policy", "show"), ("replay", "--policy")])
def test_every_mistake_is_told_at_once(log: Path, command: tuple[str, ...]) -> None:
    """With file, line and reason, on standard error, as wrong use; nothing else is done."""
    path = written(TIERS.replace("0.5", "1.5") + "[budget]\nalerts_per_day = -1\n")
    more = ["--events", log, "--out", "replayed"] if command[0] == "replay" else []
    done = ebbtide(*command, path, *more)
    assert (done.exit_code, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("ebbtide: policy.toml:3: threshold: 1.5 is neither a probability")
    assert second.startswith("policy.toml:8: alerts_per_day: input should be greater")


def test_what_a_policy_comes_to_is_shown() -> None:
    """Thresholds of the model's worked out, in a table and for machines."""
    path = written(EVERYTHING)
    table, numbers = ebbtide("policy", "show", path), json.loads(ebbtide("policy", "show", path, "--json").stdout)
    assert "21:30 to 08:00, Asia/Shanghai" in table.stdout
    assert numbers["rules"]["thresholds"] == [0.5, 0.8]
    assert numbers["conduct"]["quiet_hours"]["start"] == "21:30:00"
    assert numbers["conduct"]["control"] == {"share": 0.2, "salt": "spring"}


def test_a_plan_is_a_table_or_numbers_and_files(log: Path) -> None:
    """The numbers on standard output are those in the folder; the table marks the same best threshold."""
    costs = ("--margin", 50_000, "--offer-cost", 2_000, "--save-rate", 0.2)
    asked = ebbtide("policy", "plan", "--events", log, *costs, "--out", "planned", "--json")
    numbers = json.loads(asked.stdout)
    assert numbers == json.loads(Path("planned/plan.json").read_text())
    best = max(numbers["thresholds"] + numbers["budgets"], key=lambda each: each["net"])
    assert numbers["best"]["net"] == best["net"]
    assert ebbtide("policy", "check", "planned/policy.toml").exit_code == 0
    table = ebbtide("policy", "plan", "--events", log, *costs).stdout
    assert f"Best: from {numbers['best']['threshold']:.4g} on, with the highest net gain." in table
    assert "…" not in table  # nothing is cut off at 80 columns


def test_half_of_the_costs_is_wrong_use(log: Path) -> None:
    """Without all three there is no net."""
    done = ebbtide("policy", "plan", "--events", log, "--margin", 50)
    assert done.exit_code == 2
    assert "together only" in done.stderr


def test_a_replay_goes_by_the_policy_it_is_given(log: Path) -> None:
    """With a higher threshold there are fewer alerts, all above it; the control group is the policy's."""
    counts = []
    for threshold in (0.4, 0.7):
        path = written(ONE_TIER.format(threshold) + "[control_group]\nshare = 1\n", f"{threshold}.toml")
        assert ebbtide("replay", "--events", log, "--out", "replayed", "--policy", path).exit_code == 0
        alerts = [json.loads(line) for line in Path("replayed/alerts.jsonl").read_text().splitlines()]
        assert all(alert["churn_probability"] >= threshold - 1e-5 for alert in alerts)
        assert all(alert["control_group"] for alert in alerts)
        counts.append(len(alerts))
    assert counts[0] > counts[1] > 0
