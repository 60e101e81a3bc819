"""`nextreel features history`: what features were at times of the past."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import Data
from nextreel.cli.progress import bars
from nextreel.types import NextreelError

if TYPE_CHECKING:
    import pyarrow as pa


def history(
    data: Data,
    rows: Annotated[Path, typer.Option("--rows", help="Parquet or CSV file of user_id, video_id and event_timestamp.")],
    out_file: Annotated[Path, typer.Option("--out", help="Parquet file to write: the rows and their features.")],
    features: Annotated[
        list[str] | None, typer.Option("--feature", help="Such as `video:plays`; again for more; all without it.")
    ] = None,
) -> None:
    """Join features to rows of the past, each as it was just before the row's time.

    Computed by the code that serves, over a replay of the data: the future cannot be in them. Names are those of
    `nextreel features list` behind `user:`, `video:` or `user_video:`.
    """
    import pyarrow.parquet as pq

    from nextreel.data import load
    from nextreel.store.historical import HistoricalStore

    asked = _read(rows)
    with bars() as progress:
        found = HistoricalStore(load(data)).get_historical_features(asked, features, progress=progress)
    pq.write_table(found.to_arrow(), out_file)
    added = found.to_arrow().num_columns - asked.num_columns
    show.out.print(f"Wrote {asked.num_rows:,} rows with {added} features to {out_file}", soft_wrap=True)


def _read(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    try:
        return pa_csv.read_csv(file) if file.suffix == ".csv" else pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise NextreelError(f"Expected a Parquet or CSV file of rows, got {file}: {error}.") from error
