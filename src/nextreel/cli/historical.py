"""`nextreel features history`: what features were at times of the past."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextreel.cli import show, tables
from nextreel.cli.options import Data
from nextreel.cli.progress import bars


def history(
    data: Data,
    rows: Annotated[Path, typer.Option("--rows", help="Parquet or CSV file of user_id, video_id and event_timestamp.")],
    out_file: Annotated[Path, typer.Option("--out", help="Parquet or CSV file to write: the rows and their features.")],
    features: Annotated[
        list[str] | None, typer.Option("--feature", help="Such as `video:plays`; again for more; all without it.")
    ] = None,
) -> None:
    """Join features to rows of the past, each as it was just before the row's time.

    Computed by the code that serves, over a replay of the data: the future cannot be in them. Names are those of
    `nextreel features list` behind `user:`, `video:` or `user_video:`.
    """
    from nextreel.data import load
    from nextreel.store.historical import ENTITIES, HistoricalStore

    dataset = load(data)
    ids = {"user_id": dataset.events.user_ids, "video_id": dataset.catalogue.video_ids}
    asked = tables.read(rows, ENTITIES, tuple(name for name, known in ids.items() if known.dtype == object))
    with bars() as progress:
        found = HistoricalStore(dataset).get_historical_features(asked, features, progress=progress).to_arrow()
    tables.write(found, out_file)
    added = found.num_columns - asked.num_columns
    show.out.print(f"Wrote {asked.num_rows:,} rows with {added} features to {out_file}", soft_wrap=True)
