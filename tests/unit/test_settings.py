"""Settings: all documented, and wrong ones named."""

import pytest

from consumer.errors import ConfigurationError
from consumer.settings import Settings, load_settings


def test_every_setting_says_what_it_means() -> None:
    """`ebbtide config` has something to print for each."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kafka_bootstrap_servers", "localhost:abc"),
        ("kafka_bootstrap_servers", ""),
        ("kafka_bootstrap_servers", "broker:99999"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "localtime"),
        ("scores_topic", "no topic"),
        ("alerts_topic", "x" * 250),
        ("dead_letters_topic", ".."),
        ("max_lateness_s", float("inf")),
        ("max_future_s", 1e30),
        ("max_batch_records", 0),
        ("state_topic", "shop.events"),
        ("kafka_security_protocol", "SASL_SSL"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: object) -> None:
    """The message says which one, or quotes it, so that a person can find it."""
    with pytest.raises(ConfigurationError) as error:
        load_settings(**{name: value})
    assert name in str(error.value) or str(value) in str(error.value) or "SASL" in str(error.value)


def test_the_environment_is_over_the_file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments over EBBTIDE_… over the file over the defaults."""
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.delenv("EBBTIDE_CONFIG", raising=False)
    with open("ebbtide.toml", "w") as file:  # noqa: PTH123 (relative on purpose)
        file.write('group_id = "file"\nlog_level = "error"\nhttp_port = 1\n')
    monkeypatch.setenv("EBBTIDE_LOG_LEVEL", "debug")
    monkeypatch.setenv("EBBTIDE_HTTP_PORT", "2")
    settings = load_settings(http_port=3)
    assert (settings.group_id, settings.log_level, settings.http_port) == ("file", "debug", 3)
    assert settings.events_topic == "shop.events"


@pytest.mark.parametrize("name", ["EBBTIDE_SERVICE_HOST", "EBBTIDE_PORT_8000_TCP_ADDR", "EBBTIDE_CACHE_DIR"])
def test_what_is_no_setting_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets variables for a Service of our name; they are not for us."""
    monkeypatch.setenv(name, "x")
    load_settings()


def test_a_misspelt_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error, like a misspelt name in the file, and the likely meaning is offered."""
    monkeypatch.setenv("EBBTIDE_KAFKA_BOOTSTRAP_SERVER", "x:1")
    with pytest.raises(ConfigurationError, match="did you mean EBBTIDE_KAFKA_BOOTSTRAP_SERVERS"):
        load_settings()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("rediss://reader:hush@host:6379/0", "rediss://***@host:6379/0"),
        ("redis+sentinel://:hu?sh@a:1,b:2/shop/0?sentinel_password=hush", "redis+sentinel://***@a:1,b:2/shop/0?***"),
        ("redis://host?password=hu@sh", "redis://***@sh"),
        ("reader:hush@host:6379", "***"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """So that one sees which server is asked, wherever the password stands."""
    assert str(load_settings(redis_url=url).redis_url) == shown
    assert "hush" not in repr(load_settings(redis_url=url))
