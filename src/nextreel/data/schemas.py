"""The declared tables of a data folder: one schema per file, used for validation and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nextreel.types import RECORDS, Kind

CellType = Literal["id", "text", "kind", "number", "whole", "time", "flag", "list", "maturity"]

KIND_NAMES = tuple(kind.name.lower() for kind in Kind if kind not in RECORDS)


_WORDS: dict[CellType, str] = {
    "id": "an id (integer or text)",
    "text": "text",
    "kind": "one of " + ", ".join(KIND_NAMES),
    "time": "a time between 1970 and 2100 (ISO 8601, or seconds or milliseconds since 1970-01-01 UTC)",
    "flag": "true or false",
    "list": "a list (in CSV: values joined by |)",
    "maturity": "an age from 0 to 21 or a known rating such as PG-13",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column. `required`: the column and each of its cells must be there."""

    name: str
    type: CellType
    meaning: str
    required: bool = False
    filled: bool = False  # the column may be absent, but where it is there every cell must be filled
    unique: bool = False
    low: float | None = None
    high: float | None = None
    unit: str = ""
    aliases: tuple[str, ...] = ()
    coded: bool = False  # far more rows than distinct texts, which are then kept once, as a categorical

    @property
    def expected(self) -> str:
        """What a cell must be, in words."""
        bounds = _bounds(self.low, self.high)
        unit = f" {self.unit}" if self.unit else ""
        match self.type:
            case "number":
                return f"a number{bounds}{unit}"
            case "whole":
                return f"a whole number{bounds}{unit}"
            case _:
                return _WORDS[self.type]


def _bounds(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low:,.10g}"
    if low is None:
        return f" of at most {high:,.10g}"
    return f" from {low:,.10g} to {high:,.10g}"


@dataclass(frozen=True, slots=True)
class Schema:
    """One declared table."""

    name: str
    columns: tuple[Column, ...]
    unread: tuple[str, ...] = ()  # other columns that such files have

    def to_markdown(self) -> str:
        """The table that the documentation shows.

        >>> CHANNELS.to_markdown().splitlines()[0]
        '| column | type | must be there | what | meaning |'
        """
        lines = ["| column | type | must be there | what | meaning |", "|---|---|---|---|---|"]
        for column in self.columns:
            must = "yes" if column.required else "no"
            expected = column.expected.replace("|", "\\|")
            lines.append(f"| `{column.name}` | {column.type} | {must} | {expected} | {column.meaning} |")
        return "\n".join(lines)


USERS = Schema(
    "users",
    (
        Column("user_id", "id", "the person", required=True, unique=True, aliases=("userId",)),
        Column("country", "text", "country code, such as DE"),
        Column("language", "text", "language code, such as de"),
        Column("age", "number", "age", low=0, high=130, unit="years"),
        Column("gender", "text", "as the person said"),
        Column("created_at", "time", "when the account was made"),
    ),
)

VIDEOS = Schema(
    "videos",
    (
        Column(
            "video_id",
            "id",
            "the video",
            required=True,
            unique=True,
            aliases=("item_id", "videoId", "itemId", "movieId"),
        ),
        Column("channel_id", "id", "who publishes it", aliases=("channelId",)),
        Column("title", "text", "what people read"),
        Column("description", "text", "longer text"),
        Column("category", "text", "main category"),
        Column("child_categories", "list", "narrower categories"),
        Column("language", "text", "language code"),
        Column("duration", "number", "length", low=0, unit="seconds", aliases=("duration_seconds",)),
        Column("tags", "list", "free key words"),
        Column("published_at", "time", "when it was uploaded"),
        Column("view_count", "number", "total of the export; not used, counters come from replay", low=0),
        Column("like_count", "number", "total of the export; not used", low=0),
        Column("comment_count", "number", "total of the export; not used", low=0),
        Column("is_available", "flag", "whether it may be shown; true where empty"),
        Column("maturity_rating", "maturity", "least suitable age; 0 where empty", aliases=("maturity",)),
        Column("series", "id", "the series it is an episode of"),
        Column("episode", "whole", "number within the series; episodes are shown in this order", low=0,
               high=1_000_000_000),
        Column("regions", "list", "country codes, where alone it may be shown; everywhere where empty"),
        Column("available_from", "time", "from when it may be shown"),
        Column("available_until", "time", "from when on it may no longer be shown"),
        Column("thumbnail_url", "text", "picture; not used"),
    ),
)  # fmt: skip

CHANNELS = Schema(
    "channels",
    (
        Column("channel_id", "id", "the channel", required=True, unique=True, aliases=("channelId",)),
        Column("name", "text", "what people read"),
        Column("subscriber_count", "number", "total of the export; not used", low=0),
    ),
)

RIGHTS = Schema(
    "rights",
    (
        Column("video_id", "id", "which video", required=True, aliases=("item_id", "videoId", "itemId", "movieId")),
        Column("region", "text", "country code; everywhere where empty"),
        Column("available_from", "time", "from when it may be shown there"),
        Column("available_until", "time", "from when on it may no longer be shown there"),
    ),
)

INTERACTIONS = Schema(
    "interactions",
    (
        Column("user_id", "id", "who", required=True, aliases=("userId",), coded=True),
        Column("video_id", "id", "which video", aliases=("item_id", "videoId", "itemId", "movieId"), coded=True),
        Column("channel_id", "id", "which channel, for subscribe and block", aliases=("channelId",), coded=True),
        Column("kind", "kind", "what was done; watch where there is no such column", filled=True,
               aliases=("event", "event_type")),
        Column("timestamp", "time", "when; without the column the row order is the order", filled=True,
               aliases=("at", "time")),
        Column("value", "number", "a rating, or whatever the source measures", aliases=("rating",)),
        Column("watch_time", "number", "how long it was watched", low=0, unit="seconds", aliases=("watch_seconds",)),
        Column("event_id", "id", "names the event; of rows with the same one only the first is an event"),
        Column("device", "text", "such as phone or tv", coded=True),
        Column("location", "text", "where", coded=True),
        Column("surface", "text", "the page or tab that showed it", coded=True),
        Column("position", "whole", "place in the list that was shown, 0 = first", low=0, high=1_000_000),
        Column("request_id", "id", "which answer the event follows from", coded=True),
    ),
)  # fmt: skip

SCHEMAS = {schema.name: schema for schema in (USERS, VIDEOS, CHANNELS, RIGHTS, INTERACTIONS)}
