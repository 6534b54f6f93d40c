"""`ebbtide demo`: embedded servers, the real service in a process of its own, a real log through it, a live view."""

import asyncio
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from os import environ
from pathlib import Path
from signal import SIGTERM, default_int_handler, signal
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from consumer.adapters.feed import Alerts, Feed, Progress
from consumer.adapters.metrics import Metrics
from consumer.adapters.onnx_scorer import verified_manifest
from consumer.adapters.topics import create_topics
from consumer.assembly import build_worker
from consumer.concluding import ALERTS_FILE, Replay, conclude, log_name
from consumer.concluding_view import show
from consumer.demo_view import View
from consumer.embedded import kafka_server, redis_server
from consumer.embedded_process import EmbeddedServerError, ServerProcess
from consumer.errors import ConfigurationError, EbbtideError
from consumer.replay import curves_of
from consumer.settings import DEFAULT_MODEL_DIR, Settings, load_settings
from consumer.tally import Tally
from model_export.folder import ShopLog, run_calibration
from model_export.thresholds import DEFAULT_BUDGET
from schemas.files import EventFileError, count_events

CDNOW_KNOWN_UNTIL = date(1997, 10, 1)  # half of the log, 39 of 78 weeks
CDNOW = Path(__file__).parent.parent / "data" / "cdnow" / "events.csv.xz"
_START_DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.25
INTERRUPTED = 130
_NAMES = (
    "events_topic", "alerts_topic", "dead_letters_topic", "outcomes_topic", "triggers_prefix", "state_topic",
    "group_id",
)  # fmt: skip


def run_demo(events: Path | None, keep: bool, out: Path, console: Console) -> int:
    """Run it; returns the exit code."""
    path = events or CDNOW
    if not path.is_file():
        raise ConfigurationError(
            f"there is no event file {path}: name one with --events, or use `make demo` in a checkout"
        )
    _check(path)
    try:
        with ExitStack() as stack:
            stack.callback(signal, SIGTERM, signal(SIGTERM, default_int_handler))  # it ends everything as Ctrl-C does
            model_dir = _calibrated(path, stack, console)
            settings = _servers(stack, console).model_copy(update={"model_dir": model_dir})
            service, url = stack.enter_context(_service(settings, console))
            out.mkdir(parents=True, exist_ok=True)
            tally = asyncio.run(_replay(path, settings, service, url, out, console))
            _report(path, settings, tally, out, console)
            console.print(_what_next(settings, keep), highlight=False, soft_wrap=True)
            while keep:
                service.check()
                time.sleep(1)
    except EmbeddedServerError as error:
        raise EbbtideError(str(error)) from error
    except KeyboardInterrupt:
        console.print("\nStopped; servers and service are gone.")
        return INTERRUPTED
    return 0


def _report(path: Path, settings: Settings, tally: Tally, out: Path, console: Console) -> None:
    """What the alerts were worth; the page says it best."""
    console.print("Back-testing these alerts …")
    manifest, engine = verified_manifest(settings.model_dir), build_worker(settings, Metrics()).engine
    told = Replay(log_name(path), manifest, engine.policy, engine.conduct.value.horizon_days)
    show(conclude(out, told, tally, curves_of(path, tally, settings)), console)


def _check(events: Path) -> None:
    """Raises `ConfigurationError` for a log, a setting or a model that cannot be used, before anything is started."""
    try:
        if not count_events(events):
            raise ConfigurationError(f"{events} has no events")
    except EventFileError as error:
        raise ConfigurationError(str(error)) from error
    build_worker(load_settings(), Metrics())


def _what_next(settings: Settings, keep: bool) -> str:
    if not _are_ours():
        ends = "Everything keeps running until Ctrl-C." if keep else "The service ends here."
        return f"{ends} On your servers, topics, group and keys named {settings.group_id.split('.')[0]}… stay."
    if not keep:
        return "Servers and service end here; `make demo ARGS=--keep` leaves them running."
    kafka = f"EBBTIDE_KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers}"
    redis = f"EBBTIDE_REDIS_URL={settings.redis_url.get_secret_value()}"
    example = f"{kafka} {redis} .venv/bin/ebbtide features 00051"
    return f"Everything keeps running until Ctrl-C. From another terminal, for example:\n  {example}"


def _are_ours() -> bool:
    return not any(name in environ for name in ("EBBTIDE_KAFKA_BOOTSTRAP_SERVERS", "EBBTIDE_REDIS_URL"))


def _servers(stack: ExitStack, console: Console) -> Settings:
    """Start Kafka and Valkey and make the topics; on servers that are not ours, under names of our own."""
    started = time.monotonic()
    kafka = stack.enter_context(kafka_server())
    valkey = stack.enter_context(redis_server())
    prefix = "" if _are_ours() else f"demo-{secrets.token_hex(3)}."
    own: dict[str, Any] = (
        {} if "EBBTIDE_KAFKA_BOOTSTRAP_SERVERS" in environ else {"kafka_security_protocol": "PLAINTEXT"}
    )
    settings = load_settings(
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        redis_url=valkey.url,
        clock="watermark",
        http_port=0,
        log_format="text",
        log_level="info",
        **own,
        **{name: prefix + Settings.model_fields[name].default for name in _NAMES},
    )
    asyncio.run(create_topics(settings))
    redis = (
        f"Valkey at {valkey.url}" if "EBBTIDE_REDIS_URL" not in environ else "your Redis"
    )  # its URL may hold a secret
    took_s = time.monotonic() - started
    console.print(f"Kafka at {kafka.bootstrap_servers}, {redis} ({took_s:.1f} s)", soft_wrap=True)
    return settings


def _calibrated(events: Path, stack: ExitStack, console: Console) -> Path:
    """The shipped model, told of the shop by the first half of its log, as a user would do it: for our log alone."""
    settings = load_settings()
    if events != CDNOW or settings.model_dir != DEFAULT_MODEL_DIR:
        return settings.model_dir
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="ebbtide-model-")))
    log = ShopLog(events, "cdnow", settings.timezone)
    run_calibration(log, CDNOW_KNOWN_UNTIL, DEFAULT_MODEL_DIR, folder, DEFAULT_BUDGET)
    console.print(f"Model: never trained on this shop; calibrated on its log until {CDNOW_KNOWN_UNTIL}")
    return folder


@contextmanager
def _service(settings: Settings, console: Console) -> Iterator[tuple[ServerProcess, str]]:
    """`ebbtide run` as a process; yields it and its base URL."""
    process = ServerProcess("service")
    try:
        process.launch([sys.executable, "-m", "consumer", "run"], environment=_environment(settings))
        process.wait_ready("listening", _START_DEADLINE_S)
        found = re.search(r"http://[\w.:\[\]]+", process.log.read_text())
        assert found is not None, "the line that says `listening` names the URL"
        console.print(f"Service at {found.group()} (/metrics, /healthz, /readyz)")
        yield process, found.group()
    finally:
        process.stop()


def _environment(settings: Settings) -> dict[str, str]:
    """Ours, with these settings in place of whatever else would say what they are."""
    ours = {name: value for name, value in environ.items() if not name.startswith("EBBTIDE_")}
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set} | {
        "model_dir": settings.model_dir.absolute(),
        "redis_url": settings.redis_url.get_secret_value(),
    }
    if settings.kafka_sasl_password:
        chosen["kafka_sasl_password"] = settings.kafka_sasl_password.get_secret_value()
    return ours | {f"EBBTIDE_{name.upper()}": str(value) for name, value in chosen.items() if value is not None}


async def _replay(
    path: Path, settings: Settings, service: ServerProcess, url: str, out: Path, console: Console
) -> Tally:
    """Feed the log, and follow the alerts, which are kept in `out`."""
    feed, progress, all_out = Feed(path, settings), Progress(url), asyncio.Event()
    with View(console, feed.total) as view, (out / ALERTS_FILE).open("wb") as kept:
        alerts = Alerts(settings, feed.tally, kept)
        async with asyncio.TaskGroup() as group:
            group.create_task(feed.run())
            group.create_task(alerts.run(all_out))
            while not (feed.is_done and progress.is_caught_up(feed.sent)):
                await asyncio.sleep(_LOOK_EVERY_S)
                service.check()
                await progress.update()
                view.show(feed, progress, alerts)
            all_out.set()
        view.show(feed, progress, alerts)
    feed.tally.dead_letters = progress.dead_letters
    console.print(
        f"\n{progress.events_per_s:,.0f} events/s through the service, from its first event to its last alert.\n"
        f"Topics to read at {settings.kafka_bootstrap_servers}: {settings.alerts_topic}, "
        f"{settings.triggers_prefix}.<action>, {settings.outcomes_topic}, {settings.dead_letters_topic}\n"
        f"Metrics: {url}/metrics\n",
        highlight=False,
        soft_wrap=True,
    )
    return feed.tally
