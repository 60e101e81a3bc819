"""Why a video is, or is not, in somebody's list: told of every video of a trained release."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nextreel.opening import open_system
from nextreel.system import System
from nextreel.types import FloatArray, Moment, NextreelError, Request
from nextreel.why import Why, why

SOMEONE = "person-7"


@pytest.fixture(scope="module")
def system(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = open_system(Path(shutil.copytree(trained, tmp_path_factory.mktemp("why") / "home")), clock="end")
    yield system
    system.close()


def all_of(system: System, request: Request) -> list[Why]:
    return [why(system.recommender, request, row) for row in range(len(system.catalogue))]


@pytest.mark.parametrize("user_id", [SOMEONE, "nobody knows", None])
@pytest.mark.parametrize("asked", [{"k": 5}, {"k": 10, "max_maturity": 0, "exclude": ("v1", "v2")}])
def test_every_video_has_a_reason_that_agrees_with_the_list(
    system: System, user_id: str | None, asked: dict[str, object]
) -> None:
    request = Request(user_id, system.data_end, **asked)  # type: ignore[arg-type]
    slate = system.recommender.recommend(request)
    found = all_of(system, request)
    assert {row for row, one in enumerate(found) if one.place is not None} == set(slate.rows.tolist())
    for place, row in enumerate(slate.rows.tolist()):
        assert (found[row].outcome, found[row].place, found[row].removed_by) == ("shown", place, ())
        assert found[row].value == pytest.approx(float(slate.value[place]), rel=1e-5)
        assert list(found[row].moves.values())[-1] == place
        assert slate.reasons[place] in found[row].told
    watched = set(system.store.user(user_id).history.rows.tolist())
    for row, one in enumerate(found):
        assert ("not_watched" in one.removed_by) == (row in watched)
        assert (one.outcome == "removed") == bool(one.removed_by)
        if "exclude" in asked:
            assert ("not_excluded" in one.removed_by) == (system.catalogue.video_ids[row] in ("v1", "v2"))
        if one.removed_by:
            assert one.told == f"Removed by {', '.join(one.removed_by)}."
        assert one.proposed or one.outcome in ("removed", "not proposed")
    assert Counter(one.outcome for one in found)["shown"] == len(slate.rows)


def test_places_by_value_are_those_of_the_order_by_value_alone(system: System) -> None:
    system_by_value = replace(system.recommender, orderers=())
    request = Request(SOMEONE, system.data_end, 8)
    for place, row in enumerate(system_by_value.recommend(request).rows.tolist()):
        assert why(system_by_value, request, row).by_value == place


def test_contributions_sum_to_what_the_ranker_says(system: System) -> None:
    request = Request(SOMEONE, system.data_end, 1)
    found = next(one for one in all_of(system, request) if one.outcome == "outranked")
    assert found.value is not None
    assert sum(found.contributions["relevance"].values()) == pytest.approx(found.value, abs=1e-4)
    assert "higher value, for 1 places" in found.told


def test_what_was_proposed_and_not_judged_is_told(system: System) -> None:
    few = replace(system.recommender, ranked=1)
    told = [why(few, Request(SOMEONE, system.data_end, 1), row) for row in range(len(system.catalogue))]
    apart = [one for one in told if one.outcome == "not judged"]
    assert apart
    assert all(one.proposed and one.judged == 4 for one in apart)
    assert "4 of" in apart[0].told


def test_what_no_source_proposes_is_told_with_the_nearest_source(system: System) -> None:
    source = replace(next(one for one in system.recommender.sources if one.retriever.name == "trending"), quota=3)
    lone = replace(system.recommender, sources=[source], ranker=None, orderers=(), per_place=0.0)
    request = Request(SOMEONE, system.data_end, 3)
    found = [why(lone, request, row) for row in range(len(system.catalogue))]
    apart = [one for one in found if one.outcome == "not proposed"]
    assert apart
    for one in apart:
        assert one.ranks["trending"] is not None
        assert one.ranks["trending"] >= 3
        assert f"trending is nearest, with {one.ranks['trending']} candidates above it" in one.told


def test_a_ranker_that_fails_leaves_the_value_out(system: System) -> None:
    class Broken:
        objectives = ("relevance",)

        def score(self, matrix: object) -> FloatArray:
            raise RuntimeError("on purpose")

    broken = replace(system.recommender, ranker=Broken())
    request = Request(SOMEONE, system.data_end, 3)
    row = int(broken.recommend(request).rows[0])
    found = why(broken, request, row)
    assert (found.outcome, found.value, found.by_value) == ("shown", None, None)


def test_every_filter_that_removes_is_named(system: System) -> None:
    def no_films_at_all(moment: Moment) -> np.ndarray:
        return np.zeros(len(moment), np.bool_)

    strict = replace(system.recommender, filters=(*system.recommender.filters, no_films_at_all))
    row = int(system.store.user(SOMEONE).history.rows[0])
    found = why(strict, Request(SOMEONE, system.data_end, 3), row)
    assert found.removed_by == ("not_watched", "no_films_at_all")


def test_an_unknown_video_is_an_error(system: System) -> None:
    with pytest.raises(NextreelError, match="No video 'nothing'"):
        system.why(Request(SOMEONE, system.data_end), "nothing")
