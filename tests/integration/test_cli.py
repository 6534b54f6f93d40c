"""The command line: what goes wrong is explained in a paragraph, what goes right can be read by people and programs."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from inprocess import serving
from service_process import Finished, ServiceProcess, ebbtide, metric, service
from typer.testing import CliRunner

from consumer.cli import app
from consumer.embedded import KafkaServer, RedisServer
from consumer.policy_file import read_policy
from support import POLICIES, Shop, event, shop_settings, until

JUNE_MS = 1_748_736_000_000  # 2025-06-01, 00:00 UTC


def assert_explained(command: Finished, *told: str, code: int = 2) -> None:
    """It failed with a short message that names these, and no traceback."""
    assert (command.code, command.out) == (code, "")
    assert command.err.startswith("ebbtide: ")
    assert len(command.err.splitlines()) <= 4
    assert "Traceback" not in command.err
    for each in told:
        assert each in command.err


def config(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> Finished:
    """`ebbtide config` in this process, which is faster."""
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("EBBTIDE_")]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        done = CliRunner().invoke(app, ["config", *arguments])
    return Finished(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of a model."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def remove_graph(model: Path) -> None:
    (model / "prefill.onnx").unlink()


def tamper_graph(model: Path) -> None:
    with (model / "prefill.onnx").open("r+b") as graph:
        graph.seek(1_000)
        graph.write(b"tampered")


def garble_manifest(model: Path) -> None:
    (model / "manifest.json").write_text('{"format_version": 1')


def of_other_features(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"feature_version": 99}))


SPOILERS = {
    remove_graph: "prefill.onnx",
    tamper_graph: "SHA-256",
    garble_manifest: "Invalid JSON",
    of_other_features: "features of version 99",
}


@pytest.mark.parametrize(("spoil", "told"), SPOILERS.items(), ids=[each.__name__ for each in SPOILERS])
async def test_a_spoilt_model_is_refused(model: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str) -> None:
    """A model that is missing, changed, garbled or made for something else stops the service before it starts."""
    spoil(model)
    command = await ebbtide("run", folder=tmp_path, EBBTIDE_MODEL_DIR=str(model))
    assert_explained(command, str(model), told)


async def test_a_missing_model_is_named(tmp_path: Path) -> None:
    """So does a folder that is not there."""
    command = await ebbtide("run", folder=tmp_path, EBBTIDE_MODEL_DIR=str(tmp_path / "nowhere"))
    assert_explained(command, str(tmp_path / "nowhere"))


WRONG_SETTINGS = {
    "no number": ("http_port = 'many'", "http_port"),
    "out of range": ("max_batch_records = 0", "max_batch_records"),
    "unknown key": ("kafka_bootstrap_server = 'typo:9092'", "kafka_bootstrap_server"),
    "unknown zone": ("timezone = 'Mars/Olympus'", "'Mars/Olympus' is not an IANA time zone"),
    "half of SASL": ("kafka_security_protocol = 'SASL_SSL'", "kafka_sasl_username"),
    "not TOML": ("http_port: 8000", "line 1"),
    "not text": ("\udcff\udcfe", "utf-8"),
}


@pytest.mark.parametrize(("content", "told"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_a_wrong_settings_file_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, told: str
) -> None:
    """What is wrong in ebbtide.toml is named, and where."""
    (tmp_path / "ebbtide.toml").write_bytes(content.encode(errors="surrogateescape"))
    assert_explained(config(tmp_path, monkeypatch), told, "ebbtide.toml")


async def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    """Several mistakes, in the environment and in the file, take one attempt to find; values are not repeated."""
    (tmp_path / "other.toml").write_text("poll_timeout_ms = -1")
    variables = {"EBBTIDE_CONFIG": "other.toml", "EBBTIDE_HTTP_PORT": "s3cret"}
    command = await ebbtide("run", folder=tmp_path, **variables)
    assert_explained(command, "http_port", "poll_timeout_ms", "other.toml", "EBBTIDE_")
    assert "s3cret" not in command.err


def test_a_missing_settings_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was chosen must be there."""
    assert_explained(config(tmp_path, monkeypatch, EBBTIDE_CONFIG="none.toml"), "none.toml", "EBBTIDE_CONFIG")


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the environment overrides the file's, which overrides the default."""
    (tmp_path / "ebbtide.toml").write_text("http_port = 1\nmax_due_users = 7")
    command = config(tmp_path, monkeypatch, "--json", EBBTIDE_HTTP_PORT="2")
    shown = json.loads(command.out)
    assert (shown["http_port"], shown["max_due_users"], shown["events_topic"]) == (2, 7, "shop.events")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_secrets_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    """Neither the password in the Redis URL nor that of SASL is ever shown; which server it is, is."""
    command = config(
        tmp_path,
        monkeypatch,
        *arguments,
        EBBTIDE_REDIS_URL="redis://reader:s3cret@host:6379/0?sentinel_password=s3cret",
        EBBTIDE_KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        EBBTIDE_KAFKA_SASL_USERNAME="shop",
        EBBTIDE_KAFKA_SASL_PASSWORD="s3cret",
    )
    assert (command.code, command.err) == (0, "")
    assert "s3cret" not in command.out
    assert "shop" in command.out
    assert "redis://***@host" in command.out


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A service that cannot listen says on which setting, and does not start."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = await ebbtide("run", folder=tmp_path, EBBTIDE_HTTP_PORT=port)
    assert_explained(command, "http_port", port)


async def test_a_redis_url_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """A URL that is none of Redis' ends the service, without its password being told."""
    variables = {"EBBTIDE_REDIS_URL": "http://user:s3cret@host", "EBBTIDE_HTTP_PORT": "0", "EBBTIDE_LOG_LEVEL": "error"}
    command = await ebbtide("run", folder=tmp_path, **variables)
    assert_explained(command, "redis_url")
    assert "s3cret" not in command.err


UNREADABLE = {
    "missing.csv": None,
    "short.csv": b"user_id,occurred_at\nanna,2025-06-01\n",
    "log.xlsx": b"PK",
    "cut.csv.gz": b"\x1f\x8b\x08",
    "empty.csv": b"",
}


@pytest.mark.parametrize(("name", "content"), UNREADABLE.items(), ids=UNREADABLE)
async def test_an_unreadable_event_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    """`replay` says which file it cannot read, and why, and leaves older results as they were."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "alerts.jsonl").write_text("older")
    command = await ebbtide("replay", "--events", name, "--out", "out", folder=tmp_path)
    assert_explained(command, name)
    assert (tmp_path / "out" / "alerts.jsonl").read_text() == "older"


async def test_wrong_use_is_explained(tmp_path: Path) -> None:
    """Unknown commands and missing options end with code 2 and a hint."""
    for arguments, told in ((("rnu",), "rnu"), (("replay",), "--events"), (("features",), "features")):
        command = await ebbtide(*arguments, folder=tmp_path)
        assert command.code == 2
        assert told in command.err
        assert "Traceback" not in command.err


def commands() -> Iterator[list[str]]:
    """Every command, as its words."""
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        yield [name]
        yield from ([name, each] for each in getattr(command, "commands", {}))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_help(words: list[str]) -> None:
    """`--help` says what a command and each of its options is for."""
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert "Usage: " in shown.output


def test_schemas_are_up_to_date() -> None:
    """`schemas check` agrees with the committed files."""
    folder = Path(__file__).parents[2] / "schemas" / "json"
    checked = CliRunner().invoke(app, ["schemas", "check", str(folder)])
    assert (checked.exit_code, checked.output) == (0, f"{folder}: up to date\n")


def test_schemas_that_differ_are_told(tmp_path: Path) -> None:
    """`schemas check` fails on a missing or unreadable file, and `schemas export` mends it."""
    assert CliRunner().invoke(app, ["schemas", "check", str(tmp_path)]).exit_code == 1
    assert CliRunner().invoke(app, ["schemas", "export", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(app, ["schemas", "check", str(tmp_path)]).exit_code == 0


async def test_what_is_known_of_a_user_is_shown(kafka: KafkaServer, valkey: RedisServer, tmp_path: Path) -> None:
    """`features` shows a user's windows as a table and as JSON; of an unknown user it says so, with code 1."""
    shop = Shop(shop_settings(kafka, valkey))
    await shop.create_topics()
    user = "Zoë 客户"
    await shop.produce([event(user, "purchase", JUNE_MS, value=12.5), event(user, "view_item", JUNE_MS + 1)])
    async with serving(shop):
        await shop.settled()
    table = await ebbtide("features", user, settings=shop.settings, folder=tmp_path)
    assert (table.code, table.err) == (0, "")
    assert user in table.out
    assert "12.5" in table.out
    found = json.loads((await ebbtide("features", user, "--json", settings=shop.settings, folder=tmp_path)).out)
    assert (found["user_id"], found["as_of"]) == (user, "2025-06-01")
    assert (found["features"]["spend_30d"], found["features"]["views_1d"]) == (12.5, 1)
    unknown = await ebbtide("features", "nobody", settings=shop.settings, folder=tmp_path)
    assert_explained(unknown, "nothing is known of user 'nobody'", code=1)


async def test_a_lookup_without_servers_says_so(kafka: KafkaServer, tmp_path: Path) -> None:
    """`features` and `topics create` end with code 1 when a server does not answer."""
    nowhere = {"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "EBBTIDE_REDIS_URL": "redis://127.0.0.1:1/0"}
    for arguments in (("features", "anna"), ("topics", "create")):
        assert_explained(await ebbtide(*arguments, folder=tmp_path, **nowhere), "127.0.0.1", code=1)


async def test_topics_are_made_once(kafka: KafkaServer, valkey: RedisServer, tmp_path: Path) -> None:
    """`topics create` says what it made; the second time there is nothing to make."""
    settings = shop_settings(kafka, valkey)
    first, second = [await ebbtide("topics", "create", settings=settings, folder=tmp_path) for _ in range(2)]
    assert (first.code, second.code) == (0, 0)
    assert first.out.startswith("made ")
    assert settings.state_topic in first.out
    assert second.out == "all topics exist\n"


async def test_the_endpoints_tell_how_it_is(kafka: KafkaServer, valkey: RedisServer, tmp_path: Path) -> None:
    """/metrics counts what was done, /healthz and /readyz answer with what they found."""
    shop = Shop(shop_settings(kafka, valkey))
    await shop.create_topics()
    await shop.produce([event("anna", "purchase", JUNE_MS), (b"anna", b"{")])
    async with service(shop.settings, tmp_path) as process:
        await process.until_ready()
        await shop.settled()
        for path in ("/healthz", "/readyz"):
            status, body = await process.get(path)
            assert (status, json.loads(body)["ok"], json.loads(body)["problems"]) == (200, True, [])
        assert (await process.get("/"))[0] == 404
        _, exposition = await process.get("/metrics")
        assert metric(exposition, "ebbtide_records_total", result="folded") == 1
        assert metric(exposition, "ebbtide_rejects_total", code="invalid_json") == 1
        assert metric(exposition, "ebbtide_dependency_up") == 2
        assert metric(exposition, "ebbtide_partitions_live") == 2


async def test_a_changed_policy_is_taken_up_while_running(
    kafka: KafkaServer, valkey: RedisServer, tmp_path: Path
) -> None:
    """A wrong one is told with its line and counted, and the service goes on; a right one is named by its hash."""
    policy = Path(shutil.copy(POLICIES / "no_grace.toml", tmp_path / "policy.toml"))
    shop = Shop(shop_settings(kafka, valkey, policy_file=policy))
    await shop.create_topics()

    async def value(process: ServiceProcess, name: str, **labels: str) -> float:
        return metric((await process.get("/metrics"))[1], name, **labels)

    async with service(shop.settings, tmp_path) as process:
        await process.until_ready()
        first = read_policy(policy)
        await until(lambda: process.lines("policy in force"), "the first policy")
        assert await value(process, "ebbtide_policy_info", hash=first.digest) == 1
        change(policy, "threshold = 2")
        await until(lambda: process.lines("policy refused"), "a policy refused")
        [refused] = process.lines("policy refused")
        assert refused["why"].startswith(f"{policy}:{len(first.text.splitlines()) + 1}: ")
        assert await value(process, "ebbtide_policy_reload_failures_total") == 1
        change(policy, "salt = 'spring'")
        await until(lambda: len(process.lines("policy in force")) == 2, "the second policy")
        assert await value(process, "ebbtide_policy_info", hash=read_policy(policy).digest) == 1
        assert await value(process, "ebbtide_policy_info") == 1


def change(policy: Path, last_line: str) -> None:
    """The policy that the tests share, with one more line in its last table, put in place as a whole."""
    policy.with_suffix(".new").write_text((POLICIES / "no_grace.toml").read_text() + last_line + "\n")
    policy.with_suffix(".new").rename(policy)
