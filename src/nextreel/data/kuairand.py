"""KuaiRand-Pure: from its logs and feature files to a data folder of this project.

C. Gao, S. Li, Y. Zhang, J. Chen, B. Li, W. Lei, P. Jiang, X. He. 2022. KuaiRand: An Unbiased Sequential Recommendation
Dataset with Randomly Exposed Videos. CIKM. Licence CC BY-SA 4.0: what is made from it keeps attribution and licence.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from nextreel.data.errors import DataError, Problem, Report
from nextreel.data.intake import Intake, Reading
from nextreel.data.schemas import Column, Schema
from nextreel.data.tables import Raw, pieces
from nextreel.types import DAY

_LOGS = ("interactions_*.csv", "log_standard_*.csv")
_VIDEOS = ("video_features_basic_pure.csv",)
_USERS = ("user_features_pure.csv",)
_HISTORY = "user_history_*.jsonl"
_LEFT_OUT = {  # files whose rows have no place in the tables, and why
    _HISTORY: "left out: exposures without times",
    "log_random_*.csv": "left out: exposures at random",
}
_HINT = "pass the folder that holds the files of KuaiRand-Pure as they were published, plain or as .gz."
_FLAGS = ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate")
_BEIJING = 8 * 3_600.0  # seconds by which Beijing's midnight comes before that of UTC
_SNAPSHOT = 1_651_968_000.0 - _BEIJING  # 8 May 2022 in Beijing, when register_days was counted
_BLOCK = 1 << 20  # bytes
_AS_IT_IS = Reading()

LOG = Schema(
    "log",
    (
        Column("user_id", "id", "who", required=True),
        Column("video_id", "id", "which video", required=True),
        Column("time_ms", "time", "when it was shown", required=True),
        *(Column(name, "flag", "what the person did", required=True) for name in _FLAGS),
        Column("play_time_ms", "number", "how long it was played", required=True, low=0, unit="milliseconds"),
        Column("duration_ms", "number", "its length, 0 where unknown", required=True, low=0, unit="milliseconds"),
        Column("tab", "text", "number of the tab that showed it"),
    ),
)
VIDEO_FEATURES = Schema(
    "video features",
    (
        Column("video_id", "id", "the video", required=True, unique=True),
        Column("author_id", "id", "who published it"),
        Column("video_type", "text", "NORMAL or AD"),
        Column("upload_dt", "time", "day of the upload in Beijing"),
        Column("upload_type", "text", "with which tool it was made"),
        Column("video_duration", "number", "its length", low=0, unit="milliseconds"),
        Column("tag", "text", "numbers of its tags, divided by commas"),
    ),
)
USER_FEATURES = Schema(
    "user features",
    (
        Column("user_id", "id", "the person", required=True, unique=True),
        Column("register_days", "number", "age of the account on 8 May 2022", low=0, high=36_500, unit="days"),
    ),
)


@dataclass(frozen=True, slots=True)
class Became:
    """What `count` of the `rows` rows of a file became; one exposure may become several events."""

    file: str
    rows: int
    became: str
    count: int


@dataclass(frozen=True, slots=True)
class Imported:
    """The folder that was written, and how many rows of each file became what."""

    out: Path
    counts: tuple[Became, ...]

    def count(self, became: str) -> int:
        """How many rows of all files became that; 0 where none did."""
        return sum(one.count for one in self.counts if one.became == became)


def write(folder: Path, out: Path, reading: Reading = _AS_IT_IS, *, history: bool = False) -> Imported:
    """What was written: `interactions.parquet`, `users.parquet`, `videos.parquet` and `ATTRIBUTION.md` in `out`.

    Read are all `interactions_*.csv` and `log_standard_*.csv`, `video_features_basic_pure.csv` and
    `user_features_pure.csv`, each plain or gzipped.

    Events: every row of a log is an impression, also one that repeats another row (those are counted). Besides it is
    a click (is_click), a watch (played for longer than 0 ms, clicked or not), a complete (played for at least a known
    length of the video), a like, a comment, a share (is_forward), a subscribe to the author (is_follow) and a dislike
    (is_hate). All of them have the time of the exposure, the only one there is, in UTC. Kuaishou's long_view is no
    event: where the duration is known it says (but for 1 row in 395) whether 18 seconds or all of a shorter video
    were played, which the watch time tells too. The tab is the surface. Left out for want of a column: is_rand,
    is_profile_enter and the time spent on the profile and in the comments.

    Videos: the author is the channel; the first tag the category and all of them the child categories; kind and
    upload tool the tags; published at the start, in Beijing, of the upload day. There are no titles.
    Users: created_at is register_days before 8 May 2022, the last day of the full log and the latest day on which
    no account is younger than its first exposure; right to about a day. The anonymous features have no place.

    Left out, and counted: `log_random_*.csv`, whose videos no recommender chose; and, unless `history` asks for them,
    the histories up to 24 April (`user_history_*.jsonl`): of a person's last 50 exposures there only the newest has a
    time, which all of them get (none was later; where it is within the log, the millisecond before the log), and none
    says whether it was clicked. With `history`, each is an impression, and besides a watch of unknown length and a
    like where the lists of long watches and likes hold it.

    With `Reading(on_error="quarantine")` bad rows are written to `quarantine` in `out`, and the others are used.

    Raises `DataError` that lists all missing files and columns and all cells that cannot be read. Nothing is written
    then.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise DataError.of(str(folder), "a folder with KuaiRand-Pure", "no such folder", _HINT)
    intake = Intake(out, reading)
    report = intake.report
    report.hints.append(_HINT)
    paths = {patterns: _paths(folder, patterns, report) for patterns in (_LOGS, _VIDEOS, _USERS)}
    report.raise_if_refused()
    logs = {path.name: _table(path, LOG, intake) for path in paths[_LOGS]}
    first = [frame.select(pl.col("time_ms").min()).item() for frame in logs.values() if frame.height]
    begins = min((at for at in first if at is not None), default=None)
    before = [_before_the_log(path, begins) for path in (_paths(folder, (_HISTORY,), report) if history else ())]
    report.raise_if_refused()
    video_features = _table(paths[_VIDEOS][0], VIDEO_FEATURES, intake)
    user_features = _table(paths[_USERS][0], USER_FEATURES, intake)
    intake.settle()
    channels = video_features.select(pl.col("video_id").cast(pl.String).alias("key"), channel_id="author_id")
    # relaxed, as ids may be text in one file and whole numbers in the other
    log = pl.concat(
        [frame.with_columns(pl.lit(name).alias("file")) for name, frame in logs.items()], how="vertical_relaxed"
    )
    events = _events(log.with_columns(pl.col("video_id").cast(pl.String).alias("key")).join(
        channels, on="key", how="left", maintain_order="left"))  # fmt: skip
    if events.is_empty():
        raise DataError.of(", ".join(logs), "at least one exposure", "no rows", _HINT)
    counts = [
        *_told_log(log, events),
        *(one for _, told in before for one in told),
        *_told(paths[_VIDEOS][0].name, video_features, "video", {"video_duration": "duration", "tag": "tag"}),
        *_told(paths[_USERS][0].name, user_features, "user", {"register_days": "creation time"}),
        *(
            Became(path.name, n, why, n)
            for path, why, n in _left_out(folder)
            if path.name not in {told[0].file for _, told in before}
        ),
        *(Became(file, report.rows[file], "quarantined", n) for file, n in report.quarantined.items()),
    ]
    counts = [replace(one, rows=report.rows.get(one.file, one.rows)) for one in counts]
    out.mkdir(parents=True, exist_ok=True)
    events = pl.concat([*(rows for rows, _ in before), events.drop("file")], how="diagonal_relaxed")
    events.sort("timestamp", maintain_order=True).write_parquet(out / "interactions.parquet")
    _videos(video_features).write_parquet(out / "videos.parquet")
    _users(user_features).write_parquet(out / "users.parquet")
    (out / "ATTRIBUTION.md").write_text(_ATTRIBUTION, "utf-8")
    return Imported(out, tuple(counts))


_ATTRIBUTION = """Made from KuaiRand-Pure by `nextreel data import kuairand-pure`: rows became events,
columns were renamed.

C. Gao, S. Li, Y. Zhang, J. Chen, B. Li, W. Lei, P. Jiang, X. He. 2022. KuaiRand: An Unbiased Sequential Recommendation
Dataset with Randomly Exposed Videos. CIKM 2022. https://kuairand.com

Licence: CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/), which holds for these files too.
"""


def _found(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for end in ("", ".gz") for path in folder.glob(pattern + end) if path.is_file())


def _paths(folder: Path, patterns: tuple[str, ...], report: Report) -> list[Path]:
    """The files of the patterns, plain or gzipped; none or a file in both ways is a problem."""
    found = [path for pattern in patterns for path in _found(folder, pattern)]
    names = [path.name.removesuffix(".gz") for path in found]
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        report.add(Problem(" or ".join(patterns), None, None, "this file, plain or as .gz", f"a folder with {there}"))
    for name in sorted({name for name in names if names.count(name) > 1}):
        report.add(Problem(name, None, None, "one file", f"it both plain and as {name}.gz"))
    return found


def _table(path: Path, schema: Schema, intake: Intake) -> pl.DataFrame:
    """The typed columns of a file; what is wrong with it goes to the report."""
    rows = intake.table(schema, [_wanted(path, schema, intake)])
    return pl.DataFrame() if rows is None else rows


def _wanted(path: Path, schema: Schema, intake: Intake) -> Iterator[Raw]:
    """The pieces of a file with no other columns than those of the schema, all of which must be there."""
    names = [column.name for column in schema.columns]
    for number, raw in enumerate(pieces(path, path.name, intake.report, intake.sources)):
        there = raw.frame.columns
        for column in schema.columns:
            if number == 0 and column.name not in there and not column.required:  # a required one is looked for anyway
                got = ", ".join(map(repr, there))[:300]
                intake.report.add(Problem(path.name, None, column.name, "this column", got))
        yield replace(raw, frame=raw.frame.select(name for name in names if name in there))


def _events(log: pl.DataFrame) -> pl.DataFrame:
    """One row for each event, oldest first; those of one exposure together, in the order of `_kinds`."""
    log = log.with_row_index("row").with_columns(watch_time=pl.col("play_time_ms") / 1e3)
    parts = [
        log.filter(where).select(
            "row",
            "file",
            "user_id",
            "video_id",
            pl.col("channel_id") if kind == "subscribe" else pl.lit(None, log["channel_id"].dtype).alias("channel_id"),
            pl.lit(kind).alias("kind"),
            _stamp(pl.col("time_ms")).alias("timestamp"),
            (pl.col("watch_time") if kind in {"watch", "complete"} else pl.lit(None, pl.Float64)).alias("watch_time"),
            pl.concat_str(pl.lit("tab "), pl.col("tab")).alias("surface"),
            pl.lit(place, pl.Int8).alias("place"),
        )
        for place, (kind, where) in enumerate(_kinds().items())
    ]
    return pl.concat(parts).sort("timestamp", "row", "place").drop("row", "place")


def _before_the_log(path: Path, begins: float | None) -> tuple[pl.DataFrame, list[Became]]:
    """The events of a file of histories, each at its person's last time there, and what its lines became.

    None is later than the millisecond before the log `begins`: dates overlap by an hour, and among the impressions of
    the log these would seem to have had no answer. A long watch or a like is that of the newest exposures to its video;
    one of an exposure before those that are listed is left out. Raises `DataError` for a file that is not JSON lines of
    the published fields.
    """
    listed = {"watch_seq": "impression", "long_watch_seq": "watch", "like_seq": "like"}
    schema = {"user_id": pl.Int64, "last_time_ms": pl.Int64} | dict.fromkeys(listed, pl.List(pl.Int64))
    try:
        body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = pl.read_ndjson(body, schema=schema)
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise DataError.of(path.name, f"JSON lines with {', '.join(schema)}", str(error)[:200], _HINT) from error
    if begins is not None:
        lines = lines.with_columns(pl.min_horizontal("last_time_ms", pl.lit(round(begins * 1e3) - 1)))
    parts = {kind: _newest_first(lines, name) for name, kind in listed.items()}
    shown = parts["impression"].with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64))
    told, events = [], []
    for number, (kind, one) in enumerate(parts.items()):
        found = shown.join(one, on=["user_id", "video_id", "back"])
        events.append(
            found.select("user_id", "video_id", pl.lit(kind).alias("kind"), "timestamp", "place", order=number)
        )
        told.append(Became(path.name, lines.height, kind, found.height))
        if found.height < one.height:
            told.append(
                Became(path.name, lines.height, f"left out: {kind} before the listed", one.height - found.height)
            )
    return pl.concat(events).sort("timestamp", "place", "order").drop("place", "order"), told


def _newest_first(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """One row for each video of a person's list, and the how-manieth of that video it is from the newest on."""
    rows = lines.select(
        "user_id", video_id=name, timestamp=_stamp(pl.col("last_time_ms") / 1e3)
    ).explode("video_id").drop_nulls("video_id")  # fmt: skip
    newest = pl.int_range(pl.len(), dtype=pl.Int64).reverse().over("user_id", "video_id")
    columns = ["user_id", "video_id", "timestamp"] if name == "watch_seq" else ["user_id", "video_id"]
    return rows.with_columns(back=newest).select(*columns, "back")


def _kinds() -> dict[str, pl.Expr]:
    """Which exposures become an event of each kind."""
    played = pl.col("play_time_ms")
    return {
        "impression": pl.lit(value=True),
        "click": pl.col("is_click"),
        "watch": played > 0,
        "complete": (pl.col("duration_ms") > 0) & (played >= pl.col("duration_ms")),
        "like": pl.col("is_like"),
        "comment": pl.col("is_comment"),
        "share": pl.col("is_forward"),
        "subscribe": pl.col("is_follow") & pl.col("channel_id").is_not_null(),
        "dislike": pl.col("is_hate"),
    }


def _videos(features: pl.DataFrame) -> pl.DataFrame:
    tags = pl.col("tag").str.split(",").list.eval(pl.element().str.strip_chars())
    made = pl.concat_list(pl.col("video_type", "upload_type").str.to_lowercase())
    return features.select(
        "video_id",
        channel_id="author_id",
        category=tags.list.first(),
        child_categories=tags,
        duration=pl.col("video_duration") / 1e3,
        tags=made.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "unknown"))),
        published_at=_stamp(pl.col("upload_dt") - _BEIJING),
    )


def _users(features: pl.DataFrame) -> pl.DataFrame:
    return features.select("user_id", created_at=_stamp(_SNAPSHOT - pl.col("register_days") * DAY))


def _stamp(seconds: pl.Expr) -> pl.Expr:
    """Times in UTC to the millisecond."""
    return (seconds * 1e3).round().cast(pl.Int64).cast(pl.Datetime("ms", "UTC"))


def _told_log(log: pl.DataFrame, events: pl.DataFrame) -> list[Became]:
    """What the rows of each log became; rows that repeat another log's are counted with the later file."""
    again = log.select("file", repeats=~pl.struct(pl.exclude("file")).is_first_distinct())
    told = []
    for file in log["file"].unique(maintain_order=True):
        mine, made = log.filter(pl.col("file") == file), events.filter(pl.col("file") == file)
        n = dict(made["kind"].value_counts().iter_rows())
        told += [Became(file, mine.height, kind, n.get(kind, 0)) for kind in _kinds()]
        unknown = int(mine["is_follow"].sum()) - n.get("subscribe", 0)
        repeats = int(again.filter(pl.col("file") == file)["repeats"].sum())
        told.append(Became(file, mine.height, "left out: follow of an unknown author", unknown))
        told.append(Became(file, mine.height, "kept: repeats an earlier row", repeats))
    return told


def _told(file: str, table: pl.DataFrame, noun: str, parts: dict[str, str]) -> list[Became]:
    """That every row became a `noun`, and how many of them lack which part."""
    lacking = [Became(file, table.height, f"{noun} without {part}", table[name].null_count())
               for name, part in parts.items()]  # fmt: skip
    return [Became(file, table.height, noun, table.height), *lacking]


def _left_out(folder: Path) -> list[tuple[Path, str, int]]:
    """Each file that is there and not read, why, and how many rows it has."""
    return [
        (path, why, max(0, _lines(path) - pattern.endswith(".csv")))
        for pattern, why in _LEFT_OUT.items()
        for path in _found(folder, pattern)
    ]


def _lines(path: Path) -> int:
    """The number of lines, with or without a line end after the last one."""
    n, last = 0, b"\n"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
            while block := opened.read(_BLOCK):
                n, last = n + block.count(b"\n"), block[-1:]
    except (OSError, EOFError, zlib.error) as error:
        raise DataError.of(path.name, "a file that can be read to its end", str(error)[:200], _HINT) from error
    return n + (last != b"\n")
