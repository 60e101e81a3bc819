"""What each column of the processed tables is, for whoever builds a model on them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nextreel.features import choose
from nextreel.features.describe import describe
from nextreel.processing import judgements, pairs
from nextreel.processing.params import ProcessingError
from nextreel.processing.shared import Shared

FILE = "feature_specs.json"

# column -> (vocabulary or bucket, what kind of encoder it is)
_ENCODED = {
    "country": "vocabularies/country",
    "language": "vocabularies/language",
    "video_language": "vocabularies/language",
    "gender": "vocabularies/gender",
    "device": "vocabularies/device",
    "location": "vocabularies/location",
    "surface": "vocabularies/surface",
    "video": "vocabularies/video",
    "history": "vocabularies/video",
    "category": "vocabularies/category",
    "child_category": "vocabularies/category",
    "history_categories": "vocabularies/category",
    "channel": "vocabularies/channel",
    "age": "normalizers/age",
    "duration": "normalizers/duration",
    "popularity": "normalizers/popularity",
    "upload_age": "normalizers/upload_age",
    "age_bucket": "buckets/age",
    "duration_bucket": "buckets/duration",
    "popularity_bucket": "buckets/popularity",
}
_MEANING = {  # of the columns for the two towers
    "user_id": "the person",
    "video_id": "the video that a visit liked",
    "at": "when, in seconds since 1970 UTC",
    "weight": "graded relevance",
    "country": "the person's country",
    "language": "the person's language",
    "gender": "the person's gender",
    "age": "the person's age",
    "age_bucket": "the same, below 18, 25, 35, 45, 55, 65 and above",
    "history": "videos liked before, oldest first",
    "history_categories": "main categories of the history: what was watched before",
    "hour_sin": "hour of the day, as an angle",
    "hour_cos": "hour of the day, as an angle",
    "weekday_sin": "day of the week, as an angle",
    "weekday_cos": "day of the week, as an angle",
    "device": "where the event came from",
    "location": "where the person was",
    "video": "the video",
    "category": "its main category",
    "child_category": "the rarest of its other categories",
    "channel": "who publishes it",
    "video_language": "its language, with the codes of the people's",
    "duration": "seconds",
    "duration_bucket": "the same, below 1, 5, 10, 30, 60 minutes and above",
    "popularity": "plays by everybody so far",
    "popularity_bucket": "the same, in steps of one ratio; `one_hot` of the bucket makes the vector",
    "upload_age": "days since publication",
}
_TOLD = {  # columns that are no features
    "user_id": "key", "video_id": "key", "visit": "key", "at": "time", "weight": "weight", "label": "label",
    "source": "source",
}  # fmt: skip


@dataclass(frozen=True)
class FeatureSpec:
    """One column."""

    table: str  # two_tower or ranker
    name: str
    role: str  # feature, key, time, weight, label or source
    type: str  # Arrow's name of it
    encoder: str | None  # the file below the folder, without its ending, whose codes or scores these are
    size: int | None  # how many codes there are, 0 (unknown) included; None for what is no code
    unit: str | None  # of a feature that is not encoded


def specs_of(shared: Shared) -> list[FeatureSpec]:
    """Every column of both tables, in their order."""
    encoders = shared.encoders
    sizes = {f"vocabularies/{name}": len(one) for name, one in encoders.vocabularies.items()}
    sizes |= {f"buckets/{name}": len(one) for name, one in encoders.buckets.items()}
    units = {feature.__name__: describe(feature).unit for feature in choose(shared.timed)}
    specs = []
    for table, columns in (("two_tower", pairs.schema(shared)), ("ranker", judgements.schema(shared))):
        for column in columns:
            if column.name == "split":  # it becomes the name of the file
                continue
            encoder = _ENCODED.get(column.name) if table == "two_tower" else None
            specs.append(
                FeatureSpec(
                    table,
                    column.name,
                    _TOLD.get(column.name, "feature"),
                    str(column.type),
                    encoder,
                    sizes.get(encoder) if encoder else None,
                    units.get(column.name) if table == "ranker" else None,
                )
            )
    return specs


def page() -> str:
    """What the two towers read, as a part of a Markdown page."""
    lines = [
        "",
        "## What the two towers read",
        "",
        "The columns of `two_tower/*.parquet` that [`nextreel process`](processing.md) writes. Titles and tags lie",
        "beside them, as vectors by video in `embeddings/`.",
        "",
        "| column | what it is | type | encoder |",
        "|---|---|---|---|",
    ]
    kinds = {name: str(kind) for name, kind in pairs.SCHEMA if kind is not None}
    for name, meaning in _MEANING.items():
        encoder = f"`{_ENCODED[name]}`" if name in _ENCODED else ""
        lines.append(f"| `{name}` | {meaning} | {kinds.get(name, 'id')} | {encoder} |")
    return "\n".join(lines) + "\n"


def write_specs(specs: list[FeatureSpec], out: Path) -> None:
    """Writes them as JSON into the folder."""
    (out / FILE).write_text(json.dumps([asdict(one) for one in specs], indent=1) + "\n", encoding="utf-8")


def read_specs(out: Path) -> list[FeatureSpec]:
    """What `write_specs` wrote. Raises `ProcessingError` where there is none."""
    try:
        return [FeatureSpec(**one) for one in json.loads((out / FILE).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise ProcessingError(
            f"Expected a processed folder with {FILE} at {out}, got: {error}. Hint: nextreel process --out {out}"
        ) from error
