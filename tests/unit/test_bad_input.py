"""Event files that are not as they should be: each is explained by every command that reads one, with code 2."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from consumer.cli import app

HEAD = "user_id,event_type,occurred_at,value\n"
GOOD = "".join(f"u{day % 3},purchase,2025-05-{day:02},9.5\n" for day in range(1, 31))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in [name for name in os.environ if name.startswith("EBBTIDE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EBBTIDE_MODEL_DIR", str(tiny_model))  # of the service
    for module in ("cli_models", "scores", "evaluation"):
        monkeypatch.setattr(f"consumer.{module}.DEFAULT_MODEL_DIR", tiny_model)


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def scored(name: str, as_of: str = "2025-06-01", *more: str) -> Result:
    return invoked("score", "--events", name, "--as-of", as_of, "--horizon-days", "30", "--out", "out.csv", *more)


def replayed(name: str, *more: str) -> Result:
    return invoked("replay", "--events", name, "--out", "out", *more)


def adapted(command: str) -> Callable[..., Result]:
    def run(name: str, until: str = "2025-06-01", *more: str) -> Result:
        return invoked("train", command, "--events", name, "--until", until, "--out", "out", *more)

    return run


calibrated, finetuned = adapted("calibrate"), adapted("finetune")
COMMANDS = {"score": scored, "replay": replayed, "calibrate": calibrated, "finetune": finetuned}
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)

UNUSABLE: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("log.csv", None, "No such file"),
    "empty": ("log.csv", b"", "empty CSV"),
    "no rows": ("log.csv", HEAD.encode(), "log.csv has no events"),
    "no lines": ("log.jsonl", b"\n\n", "log.jsonl has no events"),
    "missing columns": ("log.csv", b"user_id,when\na,b\n", "has no column event_type, occurred_at"),
    "wrong suffix": ("log.xlsx", b"PK", "unknown format '.xlsx'; use .csv, .jsonl or .parquet"),
    "junk as CSV": ("log.csv", bytes(range(256)) * 40, "log.csv"),
    "junk as lines": ("log.jsonl", bytes(range(256)) * 3, "none of the 4 rows of log.jsonl can be used"),
    "junk as Parquet": ("log.parquet", bytes(range(256)) * 40, "log.parquet"),
    "junk as gzip": ("log.csv.gz", bytes(range(256)) * 40, "Not a gzipped file"),
    "cut short": ("log.csv.gz", b"\x1f\x8b\x08", "log.csv.gz"),
    "only bad rows": ("log.csv", HEAD.encode() + b"a,bought,2025-05-01,1\n" * 20, "line 11: event_type: "),
    "garbled text": ("log.csv", HEAD.encode() + b"\xff,purchase,2025-05-01,1\n", "invalid utf-8"),
    "too many fields": ("log.csv", HEAD.encode() + b"a,purchase,2025-05-01,1,2\n", "line 2: "),
}


@every_command
@pytest.mark.parametrize(("name", "content", "told"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_of_no_use_is_explained(
    command: Callable[[str], Result], name: str, content: bytes | None, told: str
) -> None:
    """What is wrong is named, results of an earlier run stay, and there is no traceback."""
    if content is not None:
        Path(name).write_bytes(content)
    Path("out.csv").write_text("older")
    done = command(name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("ebbtide: ")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) <= 11
    assert isinstance(done.exception, SystemExit)
    assert Path("out.csv").read_text() == "older"


@every_command
def test_odd_rows_are_told(command: Callable[[str], Result]) -> None:
    """Unknown columns once, rows without a zone, the order, and bad rows with line and reason; the rest is used."""
    lines = (HEAD.strip() + ",colour\n" + GOOD.replace("9.5\n", "9.5,red\n")).splitlines()
    lines[3], lines[20] = lines[20], lines[3]
    lines[5] = "u1,purchase,2025-05-05T10:00+02:00,-3,"
    lines[6] = "u2,purchase,2025-05-06T10:00+02:00,3,"
    Path("log.csv").write_text("\n".join(lines))
    done = command("log.csv")
    assert done.exit_code == 0, done.stderr
    told = done.stderr.splitlines()
    assert told[0] == "columns that no event has, ignored: colour"
    assert told[1] == "times without a zone, in 28 of 30 rows, were read in UTC"
    assert told[2].startswith("rows were not in time order (16 came after a later one): ")
    assert "  line 6: value: input should be greater than or equal to 0" in told


@every_command
def test_one_customer_on_one_day_is_told(command: Callable[[str], Result]) -> None:
    """There is a result, and how little it rests on is said."""
    Path("log.csv").write_text(HEAD + "a,purchase,2025-05-31T12:00Z,1\n")
    done = command("log.csv")
    assert done.exit_code == 0, done.stderr
    assert "all events are of one customer" in done.stderr
    assert "all events are from one day, 2025-05-31" in done.stderr


@pytest.mark.parametrize("command", [scored, calibrated, finetuned])
def test_a_log_without_a_purchase_is_of_no_use(command: Callable[[str], Result]) -> None:
    """Nothing can be said of buying, and that is said."""
    Path("log.csv").write_text(HEAD + GOOD.replace("purchase", "view_item"))
    done = command("log.csv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "has no purchase before 2025-06-01 00:00 (UTC), only 30 other events" in done.stderr


def test_a_replay_without_a_purchase_is_told() -> None:
    """It raises no alert, and says why."""
    Path("log.csv").write_text(HEAD + GOOD.replace("purchase", "view_item"))
    done = replayed("log.csv")
    assert done.exit_code == 0
    assert "none of the 30 events is a purchase" in done.stderr


@pytest.mark.parametrize(
    ("as_of", "more", "told"),
    [
        (
            "2025-05-01",
            (),
            "nothing in log.csv is from before 2025-05-01 00:00 (UTC): its first event is of 2025-05-01",
        ),
        ("yesterday", (), "--as-of yesterday is no day such as 2026-03-01 or time such as"),
        ("1969-12-31", (), "--as-of 1969-12-31 is not after 1970"),
        ("9999-12-31", (), "before 9999"),
        ("2025-06-01", ("--horizon-days", "0"), "--horizon-days 0 is not between"),
        ("2025-06-01", ("--horizon-days", "nan"), "--horizon-days nan is not between"),
        ("2025-06-01", ("--out", "out.xlsx"), "out.xlsx: unknown format '.xlsx'"),
        ("2025-06-01", ("--model", "nowhere"), "nowhere"),
        ("2025-06-01", ("--timezone", "Mars/Olympus"), "'Mars/Olympus' is not an IANA time zone"),
        ("2025-06-01", ("--events", "kafka:shop events"), "kafka:TOPIC"),
    ],
)
def test_a_question_that_cannot_be_answered_is_explained(as_of: str, more: tuple[str, ...], told: str) -> None:
    """Whatever is wrong with the arguments of `score` is told in one line."""
    Path("log.csv").write_text(HEAD + GOOD)
    done = scored("log.csv", as_of, *more)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("ebbtide: ")
    assert told in done.stderr


@pytest.mark.parametrize("command", [calibrated, finetuned])
@pytest.mark.parametrize(
    ("until", "more", "told"),
    [
        (
            "2025-05-01",
            (),
            "nothing in log.csv is from before 2025-05-01 00:00 (UTC): its first event is of 2025-05-01",
        ),
        ("soon", (), "--until soon is no day such as 2026-03-01"),
        ("2025-06-01T12:00", (), "--until 2025-06-01T12:00 is no day such as 2026-03-01"),
        ("1969-12-31", (), "--until 1969-12-31 is not after 1970 and before 9999"),
        ("9999-12-31", (), "--until 9999-12-31 is not after 1970 and before 9999"),
        ("2027-06-01", (), "log.csv has no purchase in the 365 days before 2027-06-01"),
        ("2025-06-01", ("--base", "nowhere"), "cannot use the model in nowhere"),
        ("2025-06-01", ("--timezone", "Mars/Olympus"), "'Mars/Olympus' is not an IANA time zone"),
        ("2025-06-01", ("--events", "kafka:shop events"), "kafka:TOPIC"),
    ],
)
def test_a_model_that_cannot_be_adapted_is_explained(
    command: Callable[..., Result], until: str, more: tuple[str, ...], told: str
) -> None:
    """Whatever is wrong with the arguments of `train` is told in one line, and no folder is made."""
    Path("log.csv").write_text(HEAD + GOOD)
    done = command("log.csv", until, *more)
    assert (done.exit_code, done.stdout) == (2, "")
    assert isinstance(done.exception, SystemExit)
    assert sum(line.startswith("ebbtide: ") for line in done.stderr.splitlines()) == 1
    assert told in done.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("calibrate", "--alert-budget", "0"),
        ("calibrate", "--alert-budget", "1"),
        ("finetune", "--seed", "-1"),
        ("finetune", "--seed", "99999999999"),
        ("pretrain", "--seed", "-1"),
        ("pretrain", "--steps", "0"),
    ],
)
def test_a_number_out_of_range_is_explained(arguments: tuple[str, ...]) -> None:
    """The option and its range are told."""
    required = () if arguments[0] == "pretrain" else ("--events", "log.csv", "--until", "2025-06-01", "--out", "out")
    done = invoked("train", *arguments, *required)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Invalid value for '{arguments[1]}'" in done.stderr


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_training_without_torch_names_the_extra(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, and how to install it."""
    Path("log.csv").write_text(HEAD + GOOD)
    for name in [name for name in sys.modules if name.split(".")[0] in ("torch", "model_export")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = invoked("train", "pretrain") if command == "pretrain" else finetuned("log.csv")
    assert (done.exit_code, done.stdout) == (2, "")
    install = f"{sys.executable} -m pip install -e '.[train]'"
    assert done.stderr == f"ebbtide: this needs torch: in the checkout, {install}\n"


@pytest.mark.parametrize("content", [None, b"no checkpoint"])
def test_a_checkpoint_that_cannot_be_used_is_explained(content: bytes | None) -> None:
    """A folder that is not there, or a file that is something else, is told before training begins."""
    path = Path("nowhere/checkpoint.pt") if content is None else Path("checkpoint.pt")
    if content is not None:
        path.write_bytes(content)
    done = invoked("train", "pretrain", "--steps", "1", "--checkpoint", str(path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ebbtide: --checkpoint {path}")
    assert len(done.stderr.splitlines()) == 1


def test_a_reference_of_no_model_is_explained() -> None:
    """The folder is named, and nothing is printed as a result."""
    done = invoked("train", "reference", "--model", "nowhere")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("ebbtide: cannot use the model in nowhere: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_good_log_is_scored_without_a_word() -> None:
    """Nothing but the summary is printed; every customer is in the file."""
    Path("log.csv").write_text(HEAD + GOOD.replace(",9.5", "T10:00:00Z,9.5"))
    done = scored("log.csv", "2025-05-31T00:00Z", "--out", "scores.parquet")
    assert (done.exit_code, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "scores.parquet: 3 customers from 30 events before 2025-05-31T00:00Z\n"
    rows = pl.read_parquet("scores.parquet").sort("days_since_last_event")
    assert rows["user_id"].to_list() == ["u0", "u2", "u1"]
    assert rows["days_since_last_event"].to_list() == pytest.approx([14 / 24, 38 / 24, 62 / 24])
    assert rows["churn_probability"].is_between(0, 1).all()
    assert rows["expected_purchases"].is_between(0, 30).all()


def test_a_log_that_ends_long_before_the_question_is_told() -> None:
    """It is answered, and what that takes for granted is said."""
    Path("log.csv").write_text(HEAD + GOOD.replace(",9.5", "T00:00:00Z,9.5"))
    done = scored("log.csv", "2025-07-01")
    assert done.exit_code == 0
    assert "the log ends on 2025-05-30 00:00, 32.0 days before 2025-07-01 00:00" in done.stderr


def test_a_replay_for_programs_prints_nothing_else() -> None:
    """What there is to tell goes to standard error, the summary as JSON to standard output."""
    Path("log.csv").write_text(HEAD + GOOD)
    done = replayed("log.csv", "--json")
    assert json.loads(done.stdout)["events"] == 30
    assert "times without a zone, in 30 rows, were read in UTC" in done.stderr
