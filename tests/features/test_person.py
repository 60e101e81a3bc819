"""Features of a person alone are those that need neither a request nor a video."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from nextreel import features
from nextreel.features import cross, user, video
from nextreel.features.person import of_person
from nextreel.types import Catalogue, Moment, Request, UserState


def test_they_are_of_the_person_and_not_of_the_request() -> None:
    empty = Moment.unscored(Request(1, 0.0), UserState(1), None, None, np.empty(0, np.int32), {})  # type: ignore[arg-type]
    plain = (user.history_length, user.country, user.device, user.part_of_day, video.plays, cross.times_met)
    assert [about.name for about, _ in of_person(plain, empty)] == ["history_length", "country"]


def test_of_a_person_nobody_knows_the_values_are_those_of_a_newcomer(
    moment_of: Callable[..., Moment], catalogue_of: Callable[..., Catalogue]
) -> None:
    values = {about.name: value for about, value in of_person(features.choose(timed=True), moment_of(catalogue_of([])))}
    assert values["history_length"] == 0.0
    assert math.isnan(values["days_since_last_event"])
    assert math.isnan(values["age"])
    assert {"part_of_day", "hour_sin", "day_of_week", "device", "surface", "location"}.isdisjoint(values)


@pytest.mark.parametrize("alone", [[], [0, 1]])
def test_they_have_the_values_that_the_ranker_reads(
    moment_of: Callable[..., Moment],
    catalogue_of: Callable[..., Catalogue],
    person: Callable[..., UserState],
    alone: list[int],
) -> None:
    someone = person([0, 1, 0], at=[10.0, 20.0, 30.0], age=33)
    moment = moment_of(catalogue_of([[0], [1], [2]]), user=someone, request=Request(1, 86_430.0))
    matrix = features.compute(features.choose(timed=True), moment)
    read = dict(zip(matrix.names, matrix.values[0].tolist(), strict=True))
    for about, value in of_person(features.choose(timed=True), moment.take(np.array(alone, int))):
        assert np.float32(value) == pytest.approx(read[about.name], nan_ok=True)
    assert read["age"] == 33
