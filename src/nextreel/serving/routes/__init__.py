"""One module per group of endpoints; each gives a router for a system.

Handlers that compute are plain functions: they run in a bounded pool of threads and never hold up the event loop.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import Path, Query
from starlette.convertors import StringConvertor, register_url_convertor

from nextreel.serving.incoming import MAX_ITEMS
from nextreel.serving.outgoing import ProblemOut


class AnyText(StringConvertor):
    """The rest of a path: ids may hold slashes and line ends, which Starlette's `path` does not take."""

    regex = r"[\s\S]*"


register_url_convertor("any", AnyText())

Count: TypeAlias = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="how many videos at most")]
Paged: TypeAlias = Annotated[bool, Query(description="whether the answer has a cursor, by which the list goes on")]
Cursor: TypeAlias = Annotated[
    str | None, Query(min_length=1, max_length=256, description="of the page that came before, for the next one")
]
Country: TypeAlias = Annotated[
    str | None, Query(min_length=1, max_length=256, description="where the request comes from, such as DE")
]
PathId: TypeAlias = Annotated[str, Path(min_length=1, max_length=256, description="an id, a number or text")]


def not_found(description: str) -> dict[int | str, dict[str, Any]]:
    """The answer 404 of a route, for its `responses`."""
    return {404: {"model": ProblemOut, "description": description}}


NO_PAGE = not_found("the cursor is not, or no longer, known: ask for the first page again")
NO_VIDEO = not_found("the video is not in the catalogue")
