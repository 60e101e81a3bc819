"""What a person is told about why a video is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from nextreel.assembly import Quotas
from nextreel.reasons import reasons
from nextreel.types import Catalogue, Moment, UserState

Told = Callable[[Sequence[int], Sequence[int], str], list[str]]


@pytest.fixture
def told(
    catalogue_of: Callable[..., Catalogue], moment_of: Callable[..., Moment], person: Callable[..., UserState]
) -> Told:
    """The reasons for shown rows, all from one source, to a person who watched rows; row r is of category r % 3."""
    catalogue = catalogue_of([[row % 3] for row in range(24)])

    def told(shown: Sequence[int], watched: Sequence[int], source: str) -> list[str]:
        moment = moment_of(catalogue, shown, user=person(watched))
        return reasons(moment, np.arange(len(shown), dtype=np.int32), [source] * len(shown))

    return told


def test_nobody_is_told_of_a_history_they_do_not_have(told: Told) -> None:
    assert told([3], [], "two_tower") == ["a good place to start"]
    assert told([3], [9], "two_tower")[0].startswith("fits what you watched")


def test_reasons_take_turns_among_recent_videos_that_are_equally_alike(told: Told) -> None:
    named = [reason.rsplit(" ", 1)[1] for reason in told([0, 3, 6], [9, 12, 15], "als")]  # all of one category
    assert named == ["15", "12", "9"]  # the newest first


def test_a_video_watched_again_and_again_takes_one_turn(told: Told) -> None:
    named = [reason.rsplit(" ", 1)[1] for reason in told([0, 3], [9, 12, 12, 12], "ease")]
    assert named == ["12", "9"]


def test_no_video_is_named_where_none_is_alike_or_everybody_watches_it(told: Told) -> None:
    assert told([1], [9], "als") == ["people with your taste watched it"]
    assert told([3], [9], "popular_7d") == ["much watched this week"]
    assert told([3], [9], "eligible") == ["eligible for you"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("similar", "similar to a video you watched last, such as Video 9"),
        ("multi_query", "fits one of your interests, such as Video 9"),
        ("transitions", "what people watch after the videos you watched last, such as Video 9"),
        ("fresh", "just published"),
        ("subscribed", "new on a channel you follow"),
        ("continue_watching", "go on where you stopped"),
        ("next_episode", "the next episode of a series you watch"),
    ],
)
def test_each_source_has_a_sentence_of_its_own(source: str, expected: str, told: Told) -> None:
    assert told([3], [9], source) == [expected]


def test_no_source_is_without_a_sentence(told: Told) -> None:
    for source in Quotas.model_fields:
        assert told([3], [9], source) != told([3], [9], "eligible")
