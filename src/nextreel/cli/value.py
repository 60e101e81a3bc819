"""`nextreel value`: what lists are ordered by, from now on and without training."""

from __future__ import annotations

from typing import Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, Home, opened
from nextreel.types import NextreelError


def value(
    formula: Annotated[
        str | None,
        typer.Argument(help='The formula, such as "relevance + 2 * like"; leave out to see the one that holds now.'),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the formula that each release came with.")] = False,
    home: Home = HOME,
) -> None:
    """Order lists by another value formula: servers of this home follow within a tenth of a second.

    Nothing is trained: the formula joins what the release's ranker predicts anyway. See first what would move:
    `nextreel evaluate --value FORMULA`.
    """
    from nextreel.declared import DeclaredValue
    from nextreel.ranking.value import named

    if formula is not None and reset:
        raise NextreelError("Expected a formula or --reset, got both.")
    declared = DeclaredValue(home)
    if reset:
        declared.write(None)
    with opened(home) as system:
        ranker = system.recommender.ranker
        if ranker is None:
            raise NextreelError(f"Expected a release with a ranker, got {system.release} without.")
        if formula is not None:
            named(formula, ranker.objectives)
            declared.write(formula)
        own = system.value_problem is not None or declared.read() is None
        told = formula or (f"{system.value} (the release's own)" if own else system.value)
        show.out.print(f"Lists are ordered by: {told}", markup=False, soft_wrap=True)
        if formula is None:
            show.unfollowed(system)
        show.out.print(
            f"Release {system.release} predicts: {', '.join(ranker.objectives)}", markup=False, soft_wrap=True
        )
