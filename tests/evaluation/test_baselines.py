"""What every baseline lists, on worlds whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextreel.evaluation import trials
from nextreel.evaluation.asking import ask
from nextreel.evaluation.baselines import baselines
from nextreel.evaluation.trials import Trial
from nextreel.relevance import Relevance
from nextreel.store import MemoryStore
from nextreel.types import DAY, Catalogue, Events, FloatArray, RowArray

Grade = Callable[[Events], FloatArray]
EventsOf = Callable[..., Events]
FROZEN = ["random", "popular", "popular_7d", "item_item", "ease", "als", "transitions"]
MOVING = [*FROZEN[:3], "popular_now", *FROZEN[3:]]


def answers(trial: Trial, catalogue: Catalogue, k: int, *, timed: bool = True, seed: int = 0) -> dict[str, RowArray]:
    store = MemoryStore(catalogue, Relevance())
    fitted = baselines(trial, catalogue, store, k, timed=timed, seed=seed)
    recommenders = {one.sources[0].retriever.name: one for one, _ in fitted}
    return {name: one.lists for name, one in ask(trial, store, recommenders, k).items()}


@pytest.mark.parametrize("protocol", [trials.frozen, trials.live, trials.leave_last_out])
def test_every_list_holds_all_unseen_videos_that_anybody_watches_and_no_other(
    protocol: Callable[..., Trial], tiny: Events, tiny_catalogue: Catalogue, watches: Grade
) -> None:
    trial = protocol(tiny, watches, 10)
    found = answers(trial, tiny_catalogue, 10)
    assert list(found) == (FROZEN if trial.protocol == "frozen" else MOVING)
    for name, lists in found.items():
        for user, after, row in zip(trial.user, trial.after, lists, strict=True):
            known = trial.stream.take(slice(0, after))
            met = set(known.video[known.user == user].tolist())
            assert row[row >= 0].tolist() == row[: 7 - len(met)].tolist(), name
            assert set(row[row >= 0].tolist()) == {0, 1, 2, 3, 4, 5, 9} - met, name


def test_popularity_of_the_last_days_needs_time_stamps(tiny: Events, tiny_catalogue: Catalogue, watches: Grade) -> None:
    found = answers(trials.frozen(tiny, watches, 10, timed=False), tiny_catalogue, 10, timed=False)
    assert list(found) == [name for name in FROZEN if name != "popular_7d"]


def test_popular_counts_the_training_part_and_leaves_out_what_is_watched(
    tiny: Events, tiny_catalogue: Catalogue, watches: Grade
) -> None:
    # counts in train: video 0 30, 3 20, 1 10, 2 10, 4 10; ties by row; user 0 has 0 1 3 4, user 1 has 0 2 4
    assert answers(trials.frozen(tiny, watches, 10), tiny_catalogue, 3)["popular"].tolist() == [[2, 5, 9], [3, 1, 5]]


def test_popularity_is_that_before_the_split_and_only_that_of_now_moves_on(
    events_of: EventsOf, catalogue_of: Callable[..., Catalogue], watches: Grade
) -> None:
    # ten people watch video 0 long ago and six watch 1 of late; after the split three watch 2, then it is a month later
    lines = [(user, 0) for user in range(10)] + [(user, 1) for user in range(10, 16)] + [(16, 3), (17, 3)]
    days = [1.0] * 10 + [100.0] * 6 + [101.0] * 2
    later = [(18, 2), (19, 2), (20, 2), (21, 0), (22, 4)]
    at = [day * DAY for day in [*days, 102, 103, 104, 105, 135]]
    trial = trials.live(events_of([*lines, *later], at), watches, 5, fractions=(18 / 23, 0.0, 5 / 23))
    found = answers(trial, catalogue_of([[0]] * 5), 2)
    assert trial.after.tolist() == [18, 19, 20, 21, 22]
    assert found["popular"].tolist() == [[0, 1]] * 5
    assert found["popular_7d"].tolist() == [[1, 3]] * 5
    # the days before the newest event that is known: at the last request still those before day 105
    assert found["popular_now"].tolist() == [[1, 3], [1, 3], [1, 2], [1, 2], [1, 2]]


def test_a_random_list_is_another_for_each_request_and_the_same_for_the_same_seed(
    tiny: Events, tiny_catalogue: Catalogue, watches: Grade
) -> None:
    trial = trials.live(tiny, watches, 10)
    one, again, other = (answers(trial, tiny_catalogue, 10, seed=seed)["random"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert one[0].tolist() != one[2].tolist()


def test_even_people_are_given_even_videos(
    events_of: EventsOf, catalogue_of: Callable[..., Catalogue], watches: Grade
) -> None:
    # even people watch even videos and odd people odd ones, eight of ten in an order of their own, and one more
    rng = np.random.default_rng(0)
    order = [2 * rng.permutation(10) + person % 2 for person in range(30)]
    lines = [(person, int(order[person][place])) for place in range(8) for person in range(30)]
    lines += [(person, int(order[person][8])) for person in range(26)]
    trial = trials.frozen(events_of(lines), watches, 20)
    found = answers(trial, catalogue_of([[0]] * 20), 2)
    for name in ("item_item", "ease", "als", "transitions"):
        assert (found[name] % 2 == (trial.user % 2)[:, None]).all(), name


def test_transitions_know_what_comes_next_and_the_others_do_not(
    events_of: EventsOf, catalogue_of: Callable[..., Catalogue], watches: Grade
) -> None:
    # everybody goes through ten videos in a circle from where they like; the test part goes on with it
    lines = [(person, (person + place) % 10) for place in range(6) for person in range(60)]
    trial = trials.live(events_of(lines), watches, 10)
    found = answers(trial, catalogue_of([[0]] * 10), 1)
    right = {name: float((lists[:, 0] == trial.truth.rows).mean()) for name, lists in found.items()}
    assert right["transitions"] == 1.0
    assert max(right[name] for name in ("random", "popular", "popular_7d", "popular_now")) < 0.5
