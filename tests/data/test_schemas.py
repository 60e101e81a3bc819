"""The declared tables and the page that shows them."""

from __future__ import annotations

import re
from pathlib import Path

from nextreel.data.schemas import SCHEMAS

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def tables() -> str:
    return "\n\n".join(f"### {name}\n\n{schema.to_markdown()}" for name, schema in SCHEMAS.items())


def test_the_page_shows_the_tables_as_they_are_declared() -> None:
    shown = re.search(r"<!-- schemas: begin -->\n(.*)\n<!-- schemas: end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert shown
    assert shown[1] == tables(), "the page shows other tables: put what tables() gives between the marks"
