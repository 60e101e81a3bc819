"""A small dirty world with everything that rows depend on, and the parts that rows are made from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from nextreel.types import DAY, UNKNOWN, Events, FloatArray, Kind, Profile

if TYPE_CHECKING:
    from nextreel.data import Dataset
    from nextreel.processing import ProcessingParams
    from nextreel.processing.people import Own
    from nextreel.processing.shared import Shared
    from nextreel.types import Catalogue

START = 1_700_000_000.0 // DAY * DAY
KINDS = (*([Kind.IMPRESSION] * 6), Kind.CLICK, Kind.WATCH, Kind.WATCH, Kind.LIKE, Kind.DISLIKE, Kind.HIDE)
DEVICES, LOCATIONS = ("phone", "tv"), ("home",)


@dataclass(frozen=True)
class Made:
    """All that the rows of a data set are made from, in one part."""

    dataset: Dataset
    graded: FloatArray
    split: NDArray[np.int8]
    shared: Shared
    own: Own


@pytest.fixture(scope="session")
def dirty(catalogue_of: Callable[..., Catalogue]) -> Callable[..., Dataset]:
    """Makes a data set: visits of several requests, ties, missing values, channels, late and unavailable videos."""
    from nextreel.data.dataset import Dataset  # noqa: PLC0415
    from nextreel.data.versions import Manifest  # noqa: PLC0415

    def dirty(
        seed: int = 0,
        *,
        users: int = 9,
        videos: int = 40,
        visits: int = 60,
        days: float = 8.0,
        timed: bool = True,
        text: bool = False,
    ) -> Dataset:
        rng = np.random.default_rng(seed)
        codes = [rng.choice(3, rng.integers(0, 3), replace=False).tolist() for _ in range(videos)]
        plain: dict[str, Any] = {
            "channel": rng.integers(-1, 2, videos).astype(np.int32),
            "language": rng.integers(-1, 2, videos).astype(np.int32),
            "duration": np.where(rng.random(videos) < 0.1, np.nan, rng.integers(20, 900, videos)).astype(np.float32),
            "published_at": np.where(
                rng.random(videos) < 0.2, np.nan, START + DAY * np.rint(rng.uniform(-20, 0.8 * days, videos))
            ),
            "available": rng.random(videos) < 0.9,
            "tags": [["a", "b", "c"][: rng.integers(0, 4)] for _ in range(videos)],
        }
        ids = np.arange(100, 100 + videos)
        plain["video_ids"] = np.array([f"v{one}" for one in ids], object) if text else ids
        catalogue = catalogue_of(codes, **plain)
        rows: list[tuple[Any, ...]] = []
        for visit in range(visits):
            who, when, said = rng.integers(users), START + rng.integers(0, int(days * DAY)), rng.integers(-1, 2, 2)
            for place in range(rng.integers(1, 9)):
                rows.append((when, who, visit * 9 + place // 3 if visit % 3 else UNKNOWN, *said))
                when += rng.integers(0, 200)
        rows.sort(key=lambda one: one[0])
        at, user, request, device, location = (np.array(one) for one in zip(*rows, strict=True))
        n = len(rows)
        kind = np.array(rng.choice([*KINDS, Kind.SUBSCRIBE], n), np.int8)
        about = kind == Kind.SUBSCRIBE
        seconds = np.where((kind == Kind.WATCH) & (rng.random(n) < 0.7), rng.integers(0, 600, n), np.nan)
        events = Events(
            np.array([f"person {one}" for one in range(users)], object) if text else np.arange(users) * 7,
            user.astype(np.int32),
            np.where(about, UNKNOWN, np.minimum(rng.geometric(0.08, n) - 1, videos - 1)).astype(np.int32),
            at.astype(np.float64) if timed else np.arange(n, dtype=np.float64),
            kind,
            np.where(rng.random(n) < 0.1, rng.integers(1, 6, n), np.nan).astype(np.float32),
            seconds.astype(np.float32),
            channel=np.where(about, rng.integers(0, 2, n), UNKNOWN).astype(np.int32),
            device=device.astype(np.int32),
            location=np.minimum(location, 0).astype(np.int32),
            position=rng.integers(-1, 9, n).astype(np.int32),
            request=request.astype(np.int32),
            devices=DEVICES,
            locations=LOCATIONS,
        )
        words = {"country": ("AT", "FR", None), "language": ("de", "en", None), "gender": ("f", "m", None)}
        profiles = tuple(
            Profile(
                **{name: known[rng.integers(3)] for name, known in words.items()},  # type: ignore[arg-type]
                age=None if rng.random() < 0.3 else float(rng.integers(10, 80)),
            )
            for _ in range(users)
        )
        return Dataset(catalogue, events, profiles, timed, Manifest(f"{seed}-{users}-{videos}-{visits}-{timed}-{text}"))

    return dirty


@pytest.fixture(scope="session")
def params_of() -> Callable[..., ProcessingParams]:
    """Makes parameters that suit a small world: rare words have codes, titles are hashed."""
    from nextreel.processing import ProcessingParams  # noqa: PLC0415

    def params_of(**given: Any) -> ProcessingParams:
        encoders = {"min_count": 2, "title": "hashed", "title_dim": 16, "tags": {"dim": 4, "epochs": 1}}
        return ProcessingParams.model_validate({"encoders": encoders, "parts": 3} | given)

    return params_of


@pytest.fixture(scope="session")
def made(params_of: Callable[..., ProcessingParams]) -> Callable[..., Made]:
    """Makes everything that rows are made from; the split is that of the pipeline if none is given."""
    from nextreel.data.splits import part_of  # noqa: PLC0415
    from nextreel.processing.people import own_of, tables  # noqa: PLC0415
    from nextreel.processing.shared import share  # noqa: PLC0415
    from nextreel.store.memory import relevance_of  # noqa: PLC0415

    def made(dataset: Dataset, split: NDArray[np.int8] | None = None, **given: Any) -> Made:
        params = params_of(**given)
        graded = relevance_of(dataset.events, dataset.catalogue, params.relevance)
        if split is None:
            split = part_of(
                dataset.events, (params.train, params.val, 1 - params.train - params.val), timed=dataset.timed
            )
        shared = share(dataset, graded, split, params)
        table = pa.concat_tables(tables(dataset.events, graded, split, len(dataset.catalogue), params))
        return Made(dataset, graded, split, shared, own_of(shared, table))

    return made


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are written in this process: a new one takes seconds to import everything."""

    def pool(workers: int, context: object, start: Callable[..., None], given: tuple[Any, ...]) -> Executor:
        del workers, context
        return ThreadPoolExecutor(1, "part", start, given)

    monkeypatch.setattr(import_module("nextreel.processing.local"), "ProcessPoolExecutor", pool)


@pytest.fixture(scope="session")
def rows_in() -> Callable[[Path], dict[str, pa.Table]]:
    """Reads all rows below a processed folder, by table and split, sorted by what tells them apart."""

    def rows_in(out: Path) -> dict[str, pa.Table]:
        found = {}
        for folder in sorted(out.glob("*/*.parquet")):
            table = pq.read_table(folder)
            keys = [name for name in ("user_id", "at", "visit", "source", "video_id") if name in table.column_names]
            found[f"{folder.parent.name}/{folder.stem}"] = table.sort_by([(name, "ascending") for name in keys])
        return found

    return rows_in


@pytest.fixture(scope="session")
def same() -> Callable[[pa.Table, pa.Table], None]:
    """Passes for tables that are equal bit by bit, some NaN where some NaN is; names the first column that is not."""

    def content(column: pa.ChunkedArray) -> Any:
        if not pa.types.is_floating(column.type):
            return column.to_pylist()
        values = column.to_numpy()
        return np.where(np.isnan(values), values.dtype.type(np.nan), values).tobytes()

    def same(got: pa.Table, expected: pa.Table) -> None:
        assert got.schema == expected.schema
        assert got.num_rows == expected.num_rows
        for name in expected.column_names:
            assert content(got[name]) == content(expected[name]), name

    return same
