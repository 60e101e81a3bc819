"""What the environment says (12-factor), checked whole before anything starts.

A file `.env` in the working folder is read too; a variable of the environment goes before it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nextreel import keys
from nextreel.types import NextreelError


class SettingsError(NextreelError):
    """The environment holds values that mean nothing; the message names every one of them."""


class Settings(BaseSettings):
    """The settings; each field is the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    environment: Literal["dev", "staging", "prod"] = "dev"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "text"
    nextreel_home: Path = Path("var")  # registry and state
    state_url: SecretStr | None = None  # key-value store that all processes share; none: a file in the home
    log_url: SecretStr | None = None  # event log; none: log.db in the home
    use_redis: bool = False  # without a state_url: the Redis server of this machine, or of redis_host
    redis_host: str = "localhost"
    api_keys: Annotated[tuple[keys.ApiKey, ...], NoDecode] = ()  # separated by commas; `nextreel keys new` makes them
    admin_on_loopback: bool = False  # without any API key, whether this machine may do what needs the scope admin
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)  # of a request; a longer one is refused
    max_head_bytes: int = Field(default=65_536, ge=1_024)  # of a request's line and headers; a longer one is refused
    base_path: str = ""  # what a custom domain of API Gateway puts before every path; read on AWS Lambda alone
    gateway_authenticates: bool = False  # on AWS Lambda, without API keys: whether the gateway knows who calls
    rate_limit: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # requests a second of one caller; 0: no limit
    rate_burst: int = Field(default=100, ge=1)  # requests at once of a caller who has been quiet
    serving_threads: int = Field(default=4, ge=1, le=256)  # requests computed at once in one process
    slate_cache_seconds: float = Field(default=0.0, ge=0, le=60)  # that equal requests get one slate for; 0: no cache
    cache_url: SecretStr | None = None  # key-value store in which processes remember slates together
    vectors_url: SecretStr | None = None  # Milvus that searches the towers' vectors; none: the release's own index
    feature_log: Path | None = None  # folder that keeps what the ranker read; none: nothing is kept
    feature_log_share: float = Field(default=0.1, gt=0, le=1)  # of the requests

    @field_validator("environment", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("feature_log", "state_url", "log_url", "cache_url", "vectors_url", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return (value.strip() or None) if isinstance(value, str) else value  # FEATURE_LOG= is not the working folder

    @property
    def shared_url(self) -> str | None:
        """The URL of the store that all processes share, which may hold a password; None for a file in the home.

        >>> Settings(use_redis=True, redis_host="cache").shared_url
        'redis://cache:6379/0'
        """
        if self.state_url is not None:
            return self.state_url.get_secret_value()
        return f"redis://{self.redis_host}:6379/0" if self.use_redis else None

    @property
    def event_log_url(self) -> str | None:
        """The URL of the event log, which may hold a password; None for log.db in the home."""
        return None if self.log_url is None else self.log_url.get_secret_value()

    @property
    def milvus_url(self) -> str | None:
        """The URL of the Milvus that searches vectors, which may hold a password; None for the release's own index."""
        return None if self.vectors_url is None else self.vectors_url.get_secret_value()

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        return keys.parse(value) if isinstance(value, str) else value


@cache
def get_settings() -> Settings:
    """The settings of this process, read once; `SettingsError` names every problem."""
    return _read()


def validate_settings(raise_on_error: bool = True) -> list[str]:
    """Every problem of the environment, one line each; `SettingsError` with all of them unless told not to raise."""
    try:
        _read()
    except SettingsError as error:
        if raise_on_error:
            raise
        return str(error).splitlines()[1:]
    return []


def _read() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        problems = [_problem(**one) for one in error.errors(include_url=False, include_context=False)]
    count = "One setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    # raised outside the except block: the cause would carry the values, and with them secrets, into a traceback
    raise SettingsError("\n".join([f"{count} wrong. Hint: correct the environment or the file .env:", *problems]))


def _problem(loc: tuple[int | str, ...], msg: str, input: Any, **_: Any) -> str:  # noqa: A002  pydantic's name
    name = str(loc[0]).upper()
    got = "" if name == "API_KEYS" else f", got {input!r}"
    return f"{name}: {msg[0].lower()}{msg[1:]}{got}"
