"""policy.toml: what it says, and what is said about one that is wrong."""

import re
import tomllib
from dataclasses import replace
from datetime import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.conduct import ActionCaps, Conduct, ControlGroup, QuietHours, SpendPrior
from consumer.core.policy import PolicyRules
from consumer.policy_file import PolicyError, in_force, load_policy, read_policy
from consumer.settings import DEFAULT_MODEL_DIR, DEFAULT_POLICY_FILE
from policy_texts import EVERYTHING, TIERS
from schemas.manifest import Manifest, Thresholds, load_manifest
from schemas.policy import PolicyFile


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """The shipped model's, with thresholds of our own."""
    shipped = load_manifest(DEFAULT_MODEL_DIR)
    return shipped.model_copy(update={"thresholds": Thresholds(at_risk=0.6, critical=0.8)})


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaints(folder: Path, text: str) -> list[str]:
    """What is said about a wrong policy, a line each, without the path."""
    path = written(folder, text)
    with pytest.raises(PolicyError) as error:
        read_policy(path)
    told = str(error.value).split("\n")
    assert all(line.startswith(f"{path}:") for line in told)
    return [line.removeprefix(f"{path}:") for line in told]


def test_everything_that_a_policy_says_is_handed_on(tmp_path: Path, manifest: Manifest) -> None:
    """Every key arrives in the rules or in the conduct, thresholds of the model's and the re-arm level worked out."""
    policy = load_policy(written(tmp_path, EVERYTHING), manifest, "UTC")
    assert policy.rules == PolicyRules(
        (0.5, 0.8), rearm=0.45, horizon_days=30.0, grace_days=3.0, cooldown_days=2.5, min_target_events=2
    )
    assert policy.conduct == Conduct(
        control=ControlGroup(0.2, "spring"),
        alerts_per_day=40.0,
        quiet_hours=QuietHours(time(21, 30), time(8), "Asia/Shanghai"),
        requires_consent=False,
        value=SpendPrior(90.0, 35.0, 5.0),
        caps=ActionCaps(7.0, (("win_back_message", 30.0),)),
        language="zh",
    )


def test_the_shipped_policy_takes_thresholds_from_the_model(manifest: Manifest) -> None:
    """Without a word from the shop the model's tiers hold, and a tenth of the customers is held out."""
    policy = load_policy(DEFAULT_POLICY_FILE, manifest, "UTC")
    assert policy.rules == PolicyRules((0.6, 0.8), rearm=pytest.approx(0.55))
    assert policy.conduct == Conduct(control=ControlGroup(0.1))


def test_a_single_tier_is_a_policy(tmp_path: Path, manifest: Manifest) -> None:
    """Who wants no second tier leaves it out; the re-arm level never falls below zero."""
    policy = load_policy(written(tmp_path, '[[tiers]]\nname = "at_risk"\nthreshold = 0.02'), manifest, "UTC")
    assert (policy.rules.thresholds, policy.rules.rearm) == ((0.02,), 0.0)


def test_quiet_hours_are_the_shops_unless_they_say_otherwise(tmp_path: Path, manifest: Manifest) -> None:
    """Without a zone they are in the shop's."""
    text = TIERS + '[quiet_hours]\nfrom = "22:00"\nto = "07:00"'
    quiet = load_policy(written(tmp_path, text), manifest, "Europe/Berlin").conduct.quiet_hours
    assert quiet == QuietHours(time(22), time(7), "Europe/Berlin")


def test_caps_are_by_action(tmp_path: Path, manifest: Manifest) -> None:
    """An action that is not named has the common cap."""
    caps = load_policy(written(tmp_path, EVERYTHING), manifest, "UTC").conduct.caps
    assert (caps.days("win_back_message"), caps.days("recommendation")) == (30.0, 7.0)


def test_the_digest_names_the_text(tmp_path: Path) -> None:
    """Another text has another digest, the same one the same."""
    first, again = (read_policy(written(tmp_path, TIERS)) for _ in range(2))
    assert first.digest == again.digest != replace(first, text=TIERS + "\n").digest


WRONG = {
    "tiers that overlap": (TIERS.replace('"model"', "0.4"), ["6: the tiers overlap: critical begins at 0.4, "]),
    "tiers at one threshold": (TIERS.replace('"model"', "0.5"), ["6: the tiers overlap"]),
    "tiers out of order": (
        '[[tiers]]\nname = "critical"\nthreshold = 0.5\n[[tiers]]\nname = "at_risk"\nthreshold = 0.6',
        ["2: tiers ascend: at_risk, then critical; at_risk is expected", "5: tiers ascend"],
    ),
    "a tier twice": (TIERS.replace("critical", "at_risk"), ["5: tiers ascend"]),
    "no tier": ("grace_days = 1", ["1: tiers is missing"]),
    "an unknown tier": (TIERS.replace("critical", "lost"), ["5: name: input should be 'at_risk' or 'critical'"]),
    "a threshold of one": (TIERS.replace("0.5", "1.0"), ["3: threshold: 1.0 is neither a probability"]),
    "a threshold of zero": (TIERS.replace("0.5", "0"), ["3: threshold: 0 is neither"]),
    "a threshold in percent": (TIERS.replace("0.5", "50"), ["3: threshold: 50 is neither"]),
    "a threshold that is a word": (TIERS.replace("0.5", '"modle"'), ["3: threshold: 'modle' is neither"]),
    "a threshold that is no number": (TIERS.replace("0.5", "nan"), ["3: threshold: nan is neither"]),
    "a rearm above its threshold": (TIERS.replace("0.5", "0.5\nrearm = 0.6"), ["4: no risk is 0.6 below"]),
    "a rearm of the second tier": (TIERS + "rearm = 0.1", ["7: an episode ends as a whole"]),
    "an unknown key": ("grace_day = 1\n" + TIERS, ["1: 'grace_day' is no key of a policy; did you mean grace_days?"]),
    "an unknown key of a tier": (TIERS + "treshold = 1", ["7: 'treshold' is no key of tiers; did you mean threshold?"]),
    "a renamed key": (
        TIERS + '[quiet_hours]\nfrom = "1:00"\nuntil = "08:00"',
        ["7: to is missing", "8: from: '1:00' is no time of day", "9: 'until' is no key of quiet_hours"],
    ),
    "an unknown action": (
        TIERS + "[actions.caps_days]\nwinback_message = 3",
        ["8: 'winback_message' is no action; did you mean win_back_message?"],
    ),
    "a zone that does not exist": (
        TIERS + '[quiet_hours]\nfrom = "21:00"\nto = "08:00"\ntimezone = "Mars/Olympus"',
        ["10: timezone: 'Mars/Olympus' is no IANA time zone"],
    ),
    "a time that is none": (
        TIERS + '[quiet_hours]\nfrom = "25:00"\nto = 7',
        ["8: from: '25:00' is no time of day", "9: to: 7 is no time of day"],
    ),
    "a time with a zone": (
        TIERS + '[quiet_hours]\nfrom = "21:00Z"\nto = "08:00"',
        ["8: from: '21:00Z' has a zone of its own"],
    ),
    "a negative budget": (
        TIERS + "[budget]\nalerts_per_day = -1",
        ["8: alerts_per_day: input should be greater than or equal to 0"],
    ),
    "a negative cool-down": ("cooldown_days = -1\n" + TIERS, ["1: cooldown_days: input should be greater"]),
    "a share above one": (TIERS + "[control_group]\nshare = 1.5", ["8: share: input should be less than or equal"]),
    "a long salt": (TIERS + f'[control_group]\nsalt = "{"é" * 33}"', ["8: salt: has more than 64 bytes"]),
    "a truth that is a word": (TIERS + '[consent]\nrequire = "yes"', ["8: require: input should be a valid boolean"]),
    "a table that is a number": (
        "budget = 3\nactions.caps_days = 4\n" + TIERS,
        ["1: budget must be", "2: caps_days must"],
    ),
    "quiet hours without end": (
        TIERS + '[quiet_hours]\nfrom = "08:00"\nto = "08:00"',
        ["7: quiet_hours: from and to are the same"],
    ),
    "tiers that are a number": ("tiers = 3", ["1: tiers must be tables, each under [[tiers]]"]),
    "too many tiers": (TIERS * 2, ["1: tiers must be one or two"]),
    "no tiers": ("tiers = []", ["1: tiers must be one or two"]),
    "one tier, and that is wrong": (
        "[[tiers]]\nname = 'at_risk'\nthreshold = 1.5",
        ["3: threshold: 1.5 is neither"],
    ),
    "a number beyond all sense": ("min_target_events = 99999999999999999999\n" + TIERS, ["1: min_target_events: "]),
    "no TOML": (TIERS + "\n[quiet_hours\n", ["8: expected ']'"]),
    "an unfinished text": (TIERS + "\nlanguage = '''", ["8: "]),
    "a key twice": (TIERS + "name = 'critical'", ["7: cannot overwrite"]),
}


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, told: list[str]) -> None:
    """The line is that of the key, or of the table where one is missing; the reason says what would be right."""
    found = complaints(tmp_path, text)
    assert len(found) == len(told)
    assert all(line.startswith(start) for line, start in zip(found, told, strict=True)), found


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    """Mistakes of every kind in one text take one attempt to find, in the order of the lines."""
    text = (
        "cooldwn_days = 1\n"
        + TIERS.replace('"model"', "0.3")
        + '[quiet_hours]\nfrom = "x"\n[budget]\nalerts_per_day = -2'
    )
    assert [line.split(":")[0] for line in complaints(tmp_path, text)] == ["1", "7", "8", "9", "11"]


def test_tiers_that_do_not_fit_the_model_are_refused(tmp_path: Path, manifest: Manifest) -> None:
    """A threshold of the shop's above the next one of the model's is named, with the model's."""
    read = read_policy(written(tmp_path, TIERS.replace("0.5", "0.9")))
    with pytest.raises(PolicyError, match=r"policy.toml:6: the tiers overlap: .* \(the model's are 0.6 and 0.8\)"):
        in_force(read, manifest, "UTC")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, or no text: the path and why."""
    (tmp_path / "latin.toml").write_bytes(b'language = "\xff"')
    for path, why in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "directory"),
        (tmp_path / "latin.toml", "UTF-8"),
    ):
        with pytest.raises(PolicyError, match=why) as error:
            read_policy(path)
        assert str(error.value).startswith(str(path))


def test_line_ends_and_marks_of_other_systems_do_not_matter(tmp_path: Path) -> None:
    """A text as some editors write it means the same, and its lines are counted the same."""
    path = tmp_path / "policy.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TIERS.replace("\n", "\r\n").encode())
    assert read_policy(path).policy == read_policy(written(tmp_path, TIERS)).policy
    path.write_bytes(b"\xef\xbb\xbf" + TIERS.replace("0.5", "5").replace("\n", "\r\n").encode())
    with pytest.raises(PolicyError, match=r"policy\.toml:3: threshold"):
        read_policy(path)


KEYS = [line.split(" = ")[0] for line in EVERYTHING.splitlines() if " = " in line]
VALUES = [
    "0",
    "-1",
    "1.5",
    "1e400",
    "nan",
    "true",
    '""',
    '"x"',
    "[]",
    "[1]",
    "{}",
    "{ a = 1 }",
    "1979-05-27",
    "07:32:00",
]


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), min_size=1, max_size=4))
def test_no_value_makes_reading_fail(changes: list[tuple[str, str]]) -> None:
    """Whatever stands for the values: a policy comes of it, or lines with file, line and reason."""
    text = EVERYTHING
    for key, value in changes:
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
    with TemporaryDirectory() as folder:
        path = written(Path(folder), text)
        try:
            policy = read_policy(path).policy
        except PolicyError as error:
            lines = str(error).split("\n")
            assert all(re.fullmatch(rf"{re.escape(str(path))}:\d+: .+", line) for line in lines)
        else:
            assert PolicyFile.model_validate(tomllib.loads(text)) == policy
