"""The declared tables of a data folder: one schema per file, used for validation and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nextreel.types import Kind

CellType = Literal["id", "text", "kind", "number", "time", "flag", "list", "maturity"]

KIND_NAMES = tuple(kind.name.lower() for kind in Kind)


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

    @property
    def expected(self) -> str:
        """What a cell must be, in words."""
        bounds = _bounds(self.low, self.high)
        unit = f" {self.unit}" if self.unit else ""
        match self.type:
            case "id":
                return "an id (integer or text)"
            case "text":
                return "text"
            case "kind":
                return "one of " + ", ".join(KIND_NAMES)
            case "number":
                return f"a number{bounds}{unit}"
            case "time":
                return "a time between 1970 and 2100 (ISO 8601, or seconds or milliseconds since 1970-01-01 UTC)"
            case "flag":
                return "true or false"
            case "list":
                return "a list (in CSV: values joined by |)"
            case "maturity":
                return "an age from 0 to 21 or a known rating such as PG-13"


def _bounds(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low:g}"
    if low is None:
        return f" of at most {high:g}"
    return f" from {low:g} to {high:g}"


@dataclass(frozen=True, slots=True)
class Schema:
    """One declared table."""

    name: str
    columns: tuple[Column, ...]

    def to_markdown(self) -> str:
        """The table that the documentation shows.

        >>> CHANNELS.to_markdown().splitlines()[0]
        '| column | type | must be there | what | meaning |'
        """
        lines = ["| column | type | must be there | what | meaning |", "|---|---|---|---|---|"]
        for column in self.columns:
            must = "yes" if column.required else "no"
            lines.append(f"| `{column.name}` | {column.type} | {must} | {column.expected} | {column.meaning} |")
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
        Column("thumbnail_url", "text", "picture; not used"),
    ),
)

CHANNELS = Schema(
    "channels",
    (
        Column("channel_id", "id", "the channel", required=True, unique=True, aliases=("channelId",)),
        Column("name", "text", "what people read"),
        Column("subscriber_count", "number", "total of the export; not used", low=0),
    ),
)

INTERACTIONS = Schema(
    "interactions",
    (
        Column("user_id", "id", "who", required=True, aliases=("userId",)),
        Column("video_id", "id", "which video", aliases=("item_id", "videoId", "itemId", "movieId")),
        Column("channel_id", "id", "which channel, for subscribe and block", aliases=("channelId",)),
        Column("kind", "kind", "what was done; watch where there is no such column", filled=True,
               aliases=("event", "event_type")),
        Column("timestamp", "time", "when; without the column the row order is the order", filled=True,
               aliases=("at", "time")),
        Column("value", "number", "a rating, or whatever the source measures", aliases=("rating",)),
        Column("watch_time", "number", "how long it was watched", low=0, unit="seconds", aliases=("watch_seconds",)),
        Column("event_id", "id", "names the event; not used"),
        Column("device", "text", "such as phone or tv"),
        Column("location", "text", "where"),
        Column("position", "number", "place in the list that was shown, 0 = first", low=0),
        Column("request_id", "id", "which answer the event follows from"),
    ),
)  # fmt: skip

SCHEMAS = {schema.name: schema for schema in (USERS, VIDEOS, CHANNELS, INTERACTIONS)}
