"""One module per group of endpoints; each gives a router for a system.

Handlers that compute are plain functions: they run in a bounded pool of threads and never hold up the event loop.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Path, Query

from nextreel.serving.schemas import MAX_ITEMS

Count: TypeAlias = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="how many videos at most")]
Paged: TypeAlias = Annotated[bool, Query(description="whether the answer has a cursor, by which the list goes on")]
Cursor: TypeAlias = Annotated[
    str | None, Query(min_length=1, max_length=256, description="of the page that came before, for the next one")
]
Country: TypeAlias = Annotated[
    str | None, Query(min_length=1, max_length=256, description="where the request comes from, such as DE")
]
PathId: TypeAlias = Annotated[str, Path(min_length=1, max_length=256, description="an id, a number or text")]
