from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from nextreel.cli.progress import bars


def test_a_log_gets_one_line_for_each_finished_step() -> None:
    log = StringIO()
    with bars(Console(file=log)) as progress, progress("Fitting [als]", 3) as advance:
        assert log.getvalue() == ""
        advance(3)
    assert log.getvalue().startswith("  Fitting [als]: 0.")
    assert log.getvalue().count("\n") == 1


@pytest.mark.parametrize("total", [None, 4])
def test_a_terminal_gets_a_bar_that_ends_full(total: int | None) -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with bars(console) as progress, progress("Fitting [als]", total) as advance:
        advance(2)
        advance(2)
    shown = screen.getvalue()
    assert "Fitting [als]" in shown
    assert "4/4" in shown
