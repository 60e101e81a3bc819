"""Fitted models over a catalogue that grew: they answer as before, and say nothing of what came later."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextreel.retrieval.als import Als, AlsParams
from nextreel.retrieval.fitted import Beneath, Fitted, fitting
from nextreel.retrieval.item_item import ItemItem, ItemItemParams
from nextreel.types import Request, UserState

ASKED = Request(1, 100.0)
N = 6


def models() -> list[Fitted]:
    rng = np.random.default_rng(3)
    factors, weights = rng.normal(size=(N, 3)).astype(np.float32), rng.random((N, N)).astype(np.float32)
    return [
        Als(factors, AlsParams(factors=3, half_life_days=10.0)),
        ItemItem("ease", weights, ItemItemParams(half_life=2.0)),
    ]


@pytest.mark.parametrize("model", models())
def test_a_model_of_the_whole_catalogue_is_used_as_it_is(model: Fitted) -> None:
    assert fitting(model, N) is model
    assert fitting(None, N) is None
    assert isinstance(fitting(model, N + 1), Beneath)


@pytest.mark.parametrize("model", models())
def test_a_person_who_met_later_videos_gets_what_they_got_without_them(
    model: Fitted, person: Callable[..., UserState]
) -> None:
    grown = Beneath(model)
    met, before = person([0, 8, 3, 6], at=[1, 2, 3, 4]), person([0, 3], at=[1, 3])
    for n in 2, 50:
        rows, scores = grown.retrieve(ASKED, met, n)
        expected_rows, expected = model.retrieve(ASKED, before, n)
        assert rows.tolist() == expected_rows.tolist()
        np.testing.assert_array_equal(scores, expected)
    rows = np.array([8, 5, 0, 6], np.int32)
    scores = grown.score(ASKED, met, rows)
    assert np.isnan(scores[[0, 3]]).all()
    np.testing.assert_array_equal(scores[1:3], model.score(ASKED, before, rows[1:3]))
    assert grown.name == model.name


@pytest.mark.parametrize("model", models())
def test_a_person_who_met_later_videos_alone_is_a_stranger(model: Fitted, person: Callable[..., UserState]) -> None:
    assert len(Beneath(model).retrieve(ASKED, person([7, 9]), 5)[0]) == 0
    assert np.isnan(Beneath(model).score(ASKED, person([7, 9]), np.arange(9, dtype=np.int32))).all()


def test_an_event_about_an_old_video_is_heard_at_once(person: Callable[..., UserState]) -> None:
    model = models()[1]
    state, grown = person([7, 0]), Beneath(model)
    before = grown.score(ASKED, state, np.arange(N, dtype=np.int32))
    state.history.append(2, 50.0, 2, 1.0)
    after = grown.score(ASKED, state, np.arange(N, dtype=np.int32))
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, model.score(ASKED, person([0, 2]), np.arange(N, dtype=np.int32)))
