"""The environment is read whole and every problem is named at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nextreel.keys import digest
from nextreel.settings import Settings, SettingsError, get_settings, validate_settings

NAMES = (
    "ENVIRONMENT",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "NEXTREEL_HOME",
    "STATE_URL",
    "LOG_URL",
    "USE_REDIS",
    "REDIS_HOST",
    "API_KEYS",
    "ADMIN_ON_LOOPBACK",
    "MAX_BODY_BYTES",
    "MAX_HEAD_BYTES",
    "BASE_PATH",
    "GATEWAY_AUTHENTICATES",
    "RATE_LIMIT",
    "RATE_BURST",
    "SERVING_THREADS",
    "FEATURE_LOG",
    "FEATURE_LOG_SHARE",
    "SLATE_CACHE_SECONDS",
    "CACHE_URL",
    "VECTORS_URL",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


def test_an_empty_environment_is_valid() -> None:
    assert validate_settings() == []
    assert get_settings() == Settings()
    assert get_settings().api_keys == ()
    assert get_settings().nextreel_home == Path("var")


def test_every_variable_is_read(environment: pytest.MonkeyPatch) -> None:
    keys = " first-key-of-twenty , second-key-of-twenty,"
    state = ("redis://:secret@cache:6379/0", "sqlite://log.db", "true", "cache")  # pragma: allowlist secret
    limits = ("5000", "2048", "v1", "true", "2.5", "7", "8")
    cached = ("2.5", "memory://", "milvus://vectors:19530")
    values = ("PROD", "debug", "JSON", "/srv/home", *state, keys, "true", *limits, "/srv/f", "1", *cached)
    for name, value in zip(NAMES, values, strict=True):
        environment.setenv(name, value)
    settings = get_settings()
    assert (settings.environment, settings.log_level, settings.log_format) == ("prod", "DEBUG", "json")
    assert (settings.nextreel_home, settings.serving_threads) == (Path("/srv/home"), 8)
    assert (settings.shared_url, settings.use_redis, settings.redis_host) == (state[0], True, "cache")
    assert settings.log_url is not None
    assert settings.log_url.get_secret_value() == "sqlite://log.db"
    assert (settings.max_head_bytes, settings.base_path, settings.gateway_authenticates) == (2048, "v1", True)
    assert (settings.feature_log, settings.feature_log_share) == (Path("/srv/f"), 1.0)
    assert settings.slate_cache_seconds == 2.5
    assert settings.cache_url is not None
    assert settings.cache_url.get_secret_value() == "memory://"
    assert settings.milvus_url == "milvus://vectors:19530"
    assert (settings.admin_on_loopback, settings.max_body_bytes) == (True, 5000)
    assert (settings.rate_limit, settings.rate_burst) == (2.5, 7)
    assert [key.digest for key in settings.api_keys] == [
        digest("first-key-of-twenty"),
        digest("second-key-of-twenty"),
    ]


def test_the_environment_goes_before_the_file(environment: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LOG_LEVEL=ERROR\nLOG_FORMAT=json\nUNRELATED=1\n")
    environment.setenv("LOG_LEVEL", "DEBUG")
    assert (get_settings().log_level, get_settings().log_format) == ("DEBUG", "json")


def test_every_problem_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LOG_LEVEL", "LOUD")
    environment.setenv("ENVIRONMENT", "moon")
    environment.setenv("SERVING_THREADS", "0")
    problems = validate_settings(raise_on_error=False)
    assert [problem.split(":")[0] for problem in problems] == ["ENVIRONMENT", "LOG_LEVEL", "SERVING_THREADS"]
    assert "got 'moon'" in problems[0]
    with pytest.raises(SettingsError, match=r"3 settings are wrong. Hint(.|\n)*ENVIRONMENT(.|\n)*LOG_LEVEL"):
        validate_settings()
    with pytest.raises(SettingsError):
        get_settings()


def test_no_key_is_ever_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("API_KEYS", "long-enough-to-be-a-key,hunter2")
    (problem,) = validate_settings(raise_on_error=False)
    assert problem == "API_KEYS: value error, key 2 must be at least 16 ASCII characters, it has 7"
    with pytest.raises(SettingsError) as raised:
        validate_settings()
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    environment.setenv("API_KEYS", "long-enough-to-be-a-key")
    assert "long-enough" not in repr(get_settings())


def test_an_empty_feature_log_is_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FEATURE_LOG", " ")
    assert get_settings().feature_log is None


def test_the_store_that_processes_share_is_told_by_url_or_as_a_redis_host(environment: pytest.MonkeyPatch) -> None:
    assert get_settings().shared_url is None
    for name, value, url in (
        ("USE_REDIS", "true", "redis://localhost:6379/0"),
        ("REDIS_HOST", "cache", "redis://cache:6379/0"),
        ("STATE_URL", "dynamodb://states", "dynamodb://states"),
        ("STATE_URL", "", "redis://cache:6379/0"),
    ):
        environment.setenv(name, value)
        get_settings.cache_clear()
        assert get_settings().shared_url == url


def test_the_password_of_a_url_is_in_no_text_of_the_settings(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("STATE_URL", "redis://:hunter2@cache:6379/0")  # pragma: allowlist secret
    environment.setenv("VECTORS_URL", "milvus://me:hunter2@vectors:19530")  # pragma: allowlist secret
    assert "hunter2" not in repr(get_settings()) + str(get_settings().model_dump())
