"""The data set: one catalogue, events oldest first, the people; and how it is joined from clean tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from nextreel.data.ids import codes, distinct, is_known
from nextreel.data.versions import Manifest, Source, version_of
from nextreel.listed import Rights
from nextreel.types import (
    UNKNOWN,
    Catalogue,
    Events,
    FloatArray,
    IdArray,
    Kind,
    NextreelError,
    Profile,
    TimeArray,
    VideoId,
)

_Column: TypeAlias = Callable[[str, Any], pl.Series]  # a column of the catalogue by its name and type


@dataclass(frozen=True, slots=True)
class Dataset:
    """A catalogue, events oldest first (ties in file order) and the profile of each of `events.user_ids`.

    Where not `timed`, the source has no timestamps and `events.at` holds row numbers 0, 1, 2, …
    """

    catalogue: Catalogue
    events: Events
    profiles: tuple[Profile, ...]
    timed: bool
    manifest: Manifest

    def until(self, n: int) -> Dataset:
        """The data set with only the first n events; catalogue, users and their codes stay.

        Raises `NextreelError` unless 0 ≤ n ≤ the number of events.
        """
        if not 0 <= n <= len(self.events):
            raise NextreelError(f"Expected a number of events from 0 to {len(self.events):,}, got {n:,}.")
        events = self.events.take(slice(0, n))
        manifest = self.manifest.derived(f"first {n}", {"interactions": n}, *_bounds(events.at, self.timed))
        return replace(self, events=events, manifest=manifest)

    def without(self, users: NDArray[np.int32]) -> Dataset:
        """The data set without the events of these user codes; catalogue, users and their codes stay."""
        if len(users) == 0:
            return self
        kept = np.flatnonzero(~np.isin(self.events.user, users))
        events = self.events.take(kept)
        left_out = ",".join(sorted(str(self.events.user_ids[user]) for user in users))
        counts = {"interactions": len(kept), "users_left_out": len(users)}
        manifest = self.manifest.derived(f"without {left_out}", counts, *_bounds(events.at, self.timed))
        return replace(self, events=events, manifest=manifest)


@dataclass(frozen=True, slots=True)
class Tables:
    """Checked tables with the names of the schemas; only interactions must be there."""

    interactions: pl.DataFrame
    users: pl.DataFrame | None = None
    videos: pl.DataFrame | None = None
    channels: pl.DataFrame | None = None
    rights: pl.DataFrame | None = None

    def column(self, table: pl.DataFrame | None, name: str) -> pl.Series:
        """A column of a table; without rows where the table or the column is missing."""
        if table is None or name not in table.columns:
            return pl.Series(name, [], pl.Int64)
        return table[name]


def assemble(tables: Tables, sources: Sequence[Source], warnings: Sequence[str] = ()) -> Dataset:
    """The data set of checked tables: ids get codes, events are sorted by time, unknown videos join the catalogue."""
    rows = tables.interactions
    user_ids = distinct([tables.column(tables.users, "user_id"), rows["user_id"]])
    video_ids = distinct([tables.column(tables.videos, "video_id"), tables.column(rows, "video_id")])
    timed = "timestamp" in rows.columns
    catalogue = _catalogue(tables, video_ids)
    told = rows["kind"].to_numpy() if "kind" in rows.columns else np.full(rows.height, Kind.WATCH)
    kind = told.astype(np.int8)
    about_video = (kind != Kind.SUBSCRIBE) & (kind != Kind.BLOCK)
    video = codes(rows["video_id"], video_ids) if "video_id" in rows.columns else np.int32(UNKNOWN)
    at = rows["timestamp"].to_numpy().astype(np.float64) if timed else np.arange(rows.height, dtype=np.float64)
    events = Events(
        user_ids=as_array(user_ids),
        user=codes(rows["user_id"], user_ids),
        video=np.where(about_video, video, np.int32(UNKNOWN)).astype(np.int32),
        at=at,
        kind=kind,
        value=_or_nan(rows, "value"),
        watch_seconds=_or_nan(rows, "watch_time"),
        channel=_channels(tables.column(rows, "channel_id"), catalogue.channel_ids, about_video),
        position=_whole(rows, "position"),
        request=_numbered(rows, "request_id"),
        **_words(rows, "device"),
        **_words(rows, "location"),
        **_words(rows, "surface"),
    )
    if timed and bool((at[1:] < at[:-1]).any()):
        events = events.take(np.argsort(at, kind="stable"))
    added = len(video_ids) - (0 if tables.videos is None else tables.videos.height)
    counts = {
        "interactions": rows.height,
        "users": len(user_ids),
        "videos": len(video_ids),
        "channels": len(catalogue.channel_ids),
        "videos_without_metadata": added,
        "users_without_profile": len(user_ids) - (0 if tables.users is None else tables.users.height),
    }
    start, end = _bounds(events.at, timed)
    manifest = Manifest(
        version_of(sources), tuple(sources), counts, _types(tables), timed, start, end, {}, tuple(warnings)
    )
    return Dataset(catalogue, events, _profiles(tables.users, len(user_ids)), timed, manifest)


def _bounds(at: TimeArray, timed: bool) -> tuple[float | None, float | None]:
    return (float(at[0]), float(at[-1])) if timed and len(at) else (None, None)


def _types(tables: Tables) -> dict[str, dict[str, str]]:
    there = {name: getattr(tables, name) for name in ("users", "videos", "channels", "rights", "interactions")}
    return {
        name: {
            column: "String" if isinstance(dtype, pl.Categorical) else str(dtype)
            for column, dtype in frame.schema.items()
        }
        for name, frame in there.items()
        if frame is not None
    }


def as_array(ids: pl.Series) -> IdArray:
    """An int64 array of integer ids, an object array of text ids."""
    if ids.dtype == pl.Int64:
        return ids.to_numpy().astype(np.int64)
    array = np.empty(len(ids), object)
    array[:] = ids.to_list()
    return array


def _or_nan(frame: pl.DataFrame, name: str) -> FloatArray:
    if name not in frame.columns:
        return np.full(frame.height, np.nan, np.float32)
    return frame[name].fill_null(np.nan).to_numpy().astype(np.float32)


def _channels(told: pl.Series, known: Sequence[VideoId], about_video: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The code of the channel that each event is about, UNKNOWN where it is about a video; nothing without any."""
    if about_video.all():
        return np.empty(0, np.int32)
    return np.where(about_video, np.int32(UNKNOWN), codes(told, pl.Series("id", known)))


def _whole(frame: pl.DataFrame, name: str) -> NDArray[np.int32]:
    """A column of small whole numbers, UNKNOWN where empty; nothing at all where there is no such column."""
    if name not in frame.columns:
        return np.empty(0, np.int32)
    return frame[name].fill_null(UNKNOWN).cast(pl.Int32).to_numpy().astype(np.int32)


def _numbered(frame: pl.DataFrame, name: str) -> NDArray[np.int32]:
    """The number of each distinct value in the order in which they come, UNKNOWN where empty."""
    if name not in frame.columns:
        return np.empty(0, np.int32)
    return codes(frame[name], distinct([frame[name]]))


def _words(frame: pl.DataFrame, name: str) -> dict[str, Any]:
    """The codes of a text column and the words they stand for, under the names that `Events` gives them."""
    if name not in frame.columns:
        return {}
    known = distinct([frame[name]]).cast(pl.String).sort()
    return {name: codes(frame[name], known), f"{name}s": tuple(known.to_list())}


def _profiles(users: pl.DataFrame | None, n: int) -> tuple[Profile, ...]:
    """Profiles of n users: first those of the table, then empty ones."""
    if users is None:
        return (Profile(),) * n
    names = ("country", "language", "age", "gender", "created_at")
    columns = [users[name].to_list() if name in users.columns else [None] * users.height for name in names]
    told = tuple(Profile(*values) for values in zip(*columns, strict=True))
    return told + (Profile(),) * (n - len(told))


def _catalogue(tables: Tables, video_ids: pl.Series) -> Catalogue:
    """Columns of all videos: those of the table in its order, then those known from interactions only."""
    videos = tables.videos if tables.videos is not None else pl.DataFrame({"video_id": video_ids.clear()})
    more = len(video_ids) - videos.height
    ids = video_ids.cast(pl.String)

    def column(name: str, dtype: type[pl.DataType] | pl.DataType) -> pl.Series:
        told = videos[name].cast(dtype) if name in videos.columns else pl.Series(name, [None] * videos.height, dtype)
        return told.extend(pl.Series(name, [None] * more, dtype)) if more else told

    title = column("title", pl.String)
    title = title.zip_with(title.is_not_null(), ids)
    named = [(tables.channels, "channel_id"), (tables.videos, "channel_id"), (tables.interactions, "channel_id")]
    channel_ids = distinct([tables.column(table, name) for table, name in named]).sort()
    channel = tables.column(tables.videos, "channel_id")
    channel = channel if len(channel) else channel.extend_constant(None, videos.height)
    category, multi_hot, category_names = _categories(
        column("category", pl.String), column("child_categories", pl.List(pl.String))
    )
    language = column("language", pl.String)
    languages = language.drop_nulls().unique().sort()
    series = tables.column(tables.videos, "series")
    series = series if len(series) else series.extend_constant(None, videos.height)
    series_ids = distinct([series]).sort()
    array = as_array(video_ids)
    row_of: dict[VideoId, int] = {video_id: row for row, video_id in enumerate(video_ids.to_list())}
    return Catalogue(
        video_ids=array,
        titles=title.to_list(),
        category=category,
        categories=multi_hot,
        channel=np.concatenate([codes(channel, channel_ids), np.full(more, UNKNOWN, np.int32)]),
        language=codes(language, languages),
        duration=_floats(column("duration", pl.Float64)).astype(np.float32),
        published_at=_floats(column("published_at", pl.Float64)),
        maturity=column("maturity_rating", pl.Int8).fill_null(0).to_numpy().astype(np.int8),
        available=column("is_available", pl.Boolean).fill_null(value=True).to_numpy().astype(np.bool_),
        texts=_texts(title, column),
        category_names=tuple(category_names.to_list()),
        channel_ids=tuple(channel_ids.to_list()),
        language_names=tuple(languages.to_list()),
        row_of=row_of,
        tags=column("tags", pl.List(pl.String)).fill_null(pl.Series([[]], dtype=pl.List(pl.String))).to_list()
        if "tags" in videos.columns
        else (),
        series=np.concatenate([codes(series, series_ids), np.full(more, UNKNOWN, np.int32)]),
        episode=column("episode", pl.Int32).fill_null(UNKNOWN).to_numpy().astype(np.int32),
        series_ids=tuple(series_ids.to_list()),
        rights=_rights(tables, video_ids),
    )


_WINDOW = ("available_from", "available_until")
_RIGHTS = {"region": pl.String, **dict.fromkeys(_WINDOW, pl.Float64)}


def _rights(tables: Tables, video_ids: pl.Series) -> Rights | None:
    """What both tables say of where and when videos may be shown, None where they say nothing.

    A video that the table of rights names as well may be shown where and when either of them allows it.
    """
    listed = []
    if tables.videos is not None and {"regions", *_WINDOW} & set(tables.videos.columns):
        regions = tables.column(tables.videos, "regions")
        told = tables.videos.select(
            "video_id",
            (regions if len(regions) else pl.lit(None, pl.List(pl.String))).alias("region"),
            *(name if name in tables.videos.columns else pl.lit(None, _RIGHTS[name]).alias(name) for name in _WINDOW),
        ).explode("region")
        limited = pl.col("region").is_not_null() | pl.col("available_from").is_not_null()
        listed.append(told.filter(limited | pl.col("available_until").is_not_null()))
    if tables.rights is not None:
        missing = [
            pl.lit(None, dtype).alias(name) for name, dtype in _RIGHTS.items() if name not in tables.rights.columns
        ]
        listed.append(tables.rights.with_columns(missing))
    entries = [(codes(one["video_id"], video_ids), one) for one in listed if one.height]
    if not entries:
        return None
    rows = np.concatenate([row for row, _ in entries])
    known = rows != UNKNOWN
    told = pl.concat([one.select(*_RIGHTS) for _, one in entries]).filter(pl.Series(known))
    since, until = (_floats(told[name]) for name in _WINDOW)
    return Rights.of(rows[known], told["region"].to_list(), since, until, len(video_ids))


def strange_rights(tables: Tables) -> str | None:
    """What to tell a person of rights to videos that no other table names, which are left out; None without any."""
    if tables.rights is None:
        return None
    ids = distinct([tables.column(tables.videos, "video_id"), tables.column(tables.interactions, "video_id")])
    strange = tables.rights.height - int(is_known(tables.rights["video_id"], ids).sum())
    return f"{strange:,} rights are to videos that no other table names, and are left out" if strange else None


def _floats(column: pl.Series) -> TimeArray:
    return column.fill_null(np.nan).to_numpy().astype(np.float64)


def _categories(main: pl.Series, children: pl.Series) -> tuple[NDArray[np.int32], FloatArray, pl.Series]:
    """Codes of the main categories (n,), 1.0 for each category of a video (n, categories), and the sorted names."""
    listed = pl.DataFrame({"row": np.arange(len(main), dtype=np.int64), "name": children}).explode("name").drop_nulls()
    names = pl.concat([main.rename("name"), listed["name"]]).drop_nulls().unique().sort()
    category = codes(main, names)
    multi_hot = np.zeros((len(main), len(names)), np.float32)
    has = np.flatnonzero(category != UNKNOWN)
    multi_hot[has, category[has]] = 1.0
    multi_hot[listed["row"].to_numpy(), codes(listed["name"], names)] = 1.0
    return category, multi_hot, names


def _texts(title: pl.Series, column: _Column) -> list[str]:
    """Title, categories, tags and description of each video, joined by blanks."""
    words = pl.DataFrame(
        {
            "title": title,
            "category": column("category", pl.String),
            "child_categories": column("child_categories", pl.List(pl.String)).list.join(" "),
            "tags": column("tags", pl.List(pl.String)).list.join(" "),
            "description": column("description", pl.String),
        }
    )
    # the main category is not said twice where it also stands among the children
    among = pl.concat_str([pl.lit(" "), "child_categories", pl.lit(" ")]).str.contains(
        pl.concat_str([pl.lit(" "), "category", pl.lit(" ")]), literal=True
    )
    category = pl.when(among.fill_null(value=False)).then(None).otherwise(pl.col("category"))
    parts = ["title", category, "child_categories", "tags", "description"]
    joined = words.select(pl.concat_str(parts, separator=" ", ignore_nulls=True).str.strip_chars().alias("text"))
    return joined["text"].to_list()
