"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from nextreel.types import NextreelError

if TYPE_CHECKING:
    from nextreel.system import System

Moments: TypeAlias = float | Literal["end", "last"]

Home = Annotated[Path, typer.Option("--home", help="Folder that holds the releases and the state of users.")]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Folder with the interactions: `interactions.parquet` or `.csv` (users, videos and channels may lie "
        "beside it), or a MovieLens folder (1M, 100K or latest-small).",
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file of hyper-parameters; what it leaves out keeps its default.")
]
PresetName = Annotated[
    Literal["default", "research"],
    typer.Option("--preset", help="`research`: larger towers, that take most of an hour to fit. --config goes on top."),
]
OnError = Annotated[
    Literal["fail", "quarantine"],
    typer.Option(
        "--on-error",
        help="What to do about a bad row: refuse the data, or set it aside in `DIR/quarantine`, with the reason, "
        "and go on with the others.",
    ),
]
Quarantine = Annotated[Path | None, typer.Option("--quarantine", help="Folder for the rows that are set aside.")]
_UNKNOWN = "Interactions of {} that their table does not hold: `warn` keeps them, `refuse` makes them bad rows."
UnknownUsers = Annotated[
    Literal["warn", "refuse"] | None, typer.Option("--unknown-users", help=_UNKNOWN.format("people"))
]
UnknownVideos = Annotated[
    Literal["warn", "refuse"] | None, typer.Option("--unknown-videos", help=_UNKNOWN.format("videos"))
]
UnknownChannels = Annotated[
    Literal["warn", "refuse"] | None, typer.Option("--unknown-channels", help=_UNKNOWN.format("channels"))
]
At = Annotated[
    str,
    typer.Option(
        "--at",
        help="The time the lists are made for: `end` (just after the last event known), `last` (just after each "
        "person's own last event), `now`, or a time: seconds since 1970 or ISO 8601, UTC where it names no zone.",
    ),
]
Source = Annotated[
    str | None,
    typer.Option("--source", help="Ask this retriever alone, for example `two_tower`; leave out for all four stages."),
]
FeatureLog = Annotated[
    Path | None,
    typer.Option(
        "--feature-log", help="Folder that keeps what the ranker read, for `nextreel features verify`; off without one."
    ),
]

HOME = Path("var")


@contextmanager
def opened(home: Path, release: str | None = None, feature_log: Path | None = None) -> Iterator[System]:
    """The system that the home's promoted release makes, with a server's store and log; closed again at the end."""
    from nextreel.opening import open_system
    from nextreel.settings import get_settings

    settings = get_settings()
    state_url, log_url, vectors_url = settings.shared_url, settings.event_log_url, settings.milvus_url
    system = open_system(
        home, release, state_url=state_url, log_url=log_url, feature_log=feature_log, vectors_url=vectors_url
    )
    try:
        yield system
    finally:
        system.close()


def moment(text: str, clock: Callable[[], float] = time.time) -> Moments:
    """The time that the text of `--at` names: seconds since 1970, or `end` or `last` as they are.

    Raises NextreelError for a text that is none of the four forms.

    >>> moment("2000-12-29T23:43:00")
    978133380.0
    >>> moment("last")
    'last'
    """
    if text == "end":
        return "end"
    if text == "last":
        return "last"
    if text == "now":
        return clock()
    if re.fullmatch(r"-?\d+(\.\d*)?", text):
        return float(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise NextreelError(
            f"Expected `end`, `last`, `now` or a time for --at, got {text!r}. "
            "Hint: write seconds since 1970 or an ISO 8601 time such as 2026-01-31T18:00:00."
        ) from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
