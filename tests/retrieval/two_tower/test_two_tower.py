"""Towers fitted once on a small world whose right answers are known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from nextreel.retrieval import index as indexes
from nextreel.retrieval.index import IndexParams
from nextreel.retrieval.two_tower import fitting, retriever
from nextreel.retrieval.two_tower.fitting import _data
from nextreel.retrieval.two_tower.loop import all_vectors
from nextreel.retrieval.two_tower.machine import Machine
from nextreel.retrieval.two_tower.model import Towers
from nextreel.retrieval.two_tower.retriever import TwoTower, TwoTowerError
from nextreel.types import DAY, Kind, Profile, Request, UserState, joined

if TYPE_CHECKING:
    from tests.retrieval.two_tower.conftest import World


@pytest.mark.parametrize("parity", [0, 1])
def test_even_users_are_given_even_videos(world: World, further: TwoTower, parity: int) -> None:
    rows, _ = further.retrieve(world.request, world.person([parity + 8, parity + 10, parity + 12]), 6)
    assert (rows % 2 == parity).all()
    starts = [(parity + 2 * step) % world.videos for step in range(world.videos // 2)]
    asked = [world.person([(start + 2 * place) % world.videos for place in range(3)]) for start in starts]
    rows = np.concatenate([further.retrieve(world.request, one, 6)[0] for one in asked])
    assert len(rows) == 6 * len(starts)
    assert (rows % 2 == parity).mean() >= 0.98


def test_what_comes_next_in_the_cycle_is_proposed_first(world: World, model: TwoTower) -> None:
    hits = 0
    for row in range(0, 20):
        rows, _ = model.retrieve(world.request, world.person([row, row + 2, row + 4], user_id=None), 3)
        hits += int((row + 6) % world.videos in rows[:3])
    assert hits >= 17


def test_validation_finds_the_held_out_videos(model: TwoTower) -> None:
    assert model.metrics["hr@10"] > 0.9
    assert model.metrics["validation_users"] == 20


def test_an_unknown_person_is_answered(world: World, model: TwoTower) -> None:
    rows, scores = model.retrieve(Request(user_id=None, at=world.now), UserState(None), 10)
    assert len(set(rows.tolist())) == 10
    assert np.isfinite(scores).all()


def test_a_profile_alone_moves_the_proposals_of_a_newcomer(world: World, model: TwoTower) -> None:
    rows, _ = model.retrieve(world.request, UserState(1, profile=Profile(country="NO")), 8)
    assert (rows % 2 == 1).mean() > 0.7


def test_history_is_left_out_and_scores_agree_with_retrieval(world: World, model: TwoTower) -> None:
    user = world.person([0, 2, 4])
    rows, scores = model.retrieve(world.request, user, world.videos)
    assert len(rows) == world.videos - 3
    assert not set(rows.tolist()) & {0, 2, 4}
    assert model.score(world.request, user, rows) == pytest.approx(scores, abs=1e-5)


def test_rows_without_a_vector_have_no_score_and_do_no_harm_in_a_history(world: World, model: TwoTower) -> None:
    user = world.person([0, world.videos + 3, 2])
    scores = model.score(world.request, user, np.array([1, world.videos + 3, -1], np.int32))
    assert np.isnan(scores).tolist() == [False, True, True]
    assert len(model.retrieve(world.request, user, 5)[0]) == 5


def test_the_next_event_changes_the_answer_at_once(world: World, model: TwoTower) -> None:
    before = model.encode(world.request, world.person([0, 2]))
    after = model.encode(world.request, world.person([0, 2, 4]))
    assert np.abs(before - after).max() > 1e-3
    assert model.encode(world.request, world.person([0, 2])) is before  # remembered


def test_two_people_with_one_id_and_version_are_kept_apart(world: World, model: TwoTower) -> None:
    one, other = world.person([0, 2]), world.person([1, 3])
    other.history.at[-1] -= 5.0  # another store's person, at the same version
    assert np.abs(model.encode(world.request, one) - model.encode(world.request, other)).max() > 1e-3


def test_only_liked_events_are_read(world: World, model: TwoTower) -> None:
    mixed = model.encode(world.request, world.person([0, 9, 2, 11], [1.0, -1.0, 1.0, 0.0], user_id=None))
    alone = world.person([0, 2], user_id=None)
    alone.history.at[:] = [world.now - 4 * DAY, world.now - 2 * DAY]
    assert model.encode(world.request, alone) == pytest.approx(mixed, abs=1e-5)


def test_a_history_of_any_length_has_a_unit_vector(world: World, model: TwoTower) -> None:
    people = [world.person(list(range(0, 2 * n, 2)), user_id=n) for n in (0, 1, 5, 12, 19)]
    vectors = np.stack([model.encode(world.request, one) for one in people])
    assert vectors.shape == (5, world.params.dim + len(world.params.trends))
    assert np.linalg.norm(vectors[:, : world.params.dim], axis=1) == pytest.approx(1, abs=1e-5)


def test_a_history_alone_gives_the_vector_of_whoever_asks_at_any_time(world: World, model: TwoTower) -> None:
    user = world.person([0, 2, 4])
    history = user.history
    (profile,) = model.people.encode([user.profile])
    asked = model.encode(replace(world.request, anytime=True), user)[: model.params.dim]
    found = model.person(history.rows, history.at, history.weights, profile)
    assert found == pytest.approx(asked, abs=1e-6)


def test_the_index_of_fitted_towers_is_measured_with_people(world: World) -> None:
    index = IndexParams(kind="ivf", lists=8, recall_queries=30, recall_at=5)
    changes = {"epochs": 1, "index": index, "validation_users": 0}
    fitted = fitting.fit(world.events, world.weights, world.catalogue(), world.params.model_copy(update=changes))
    assert fitted.index.measured is not None
    assert fitted.index.measured.queries == 30
    asked = indexes.build(fitted.vectors, index)  # measured with videos' vectors moved aside
    assert fitted.index.kind == "ivf"
    assert fitted.index.params == index
    assert asked.measured is not None
    assert (asked.width, asked.measured.recall) != (fitted.index.width, fitted.index.measured.recall)


def test_a_new_video_is_placed_by_its_content_alone(world: World, model: TwoTower) -> None:
    wider = model.extended(world.catalogue(world.videos + 20))
    rows, _ = wider.retrieve(world.request, world.person([8, 10, 12]), 60)
    new = rows[rows >= world.videos]
    assert (new[:7] % 2 == 0).all()
    assert wider.vectors[: world.videos] == pytest.approx(model.vectors, abs=1e-4)


@pytest.mark.parametrize("parity", [0, 1])
def test_watching_five_videos_of_a_category_raises_its_share_among_the_proposals(
    world: World, further: TwoTower, parity: int
) -> None:
    before, _ = further.retrieve(world.request, world.person([], user_id=None), 10)
    after, _ = further.retrieve(world.request, world.person(list(range(parity + 8, parity + 18, 2)), user_id=None), 10)
    assert (after % 2 == parity).mean() >= (before % 2 == parity).mean() + 0.2


def test_similar_videos_are_others_of_the_same_kind(model: TwoTower) -> None:
    rows, cosines = model.similar(6, 5)
    assert 6 not in rows
    assert (rows % 2 == 0).all()
    assert (np.diff(cosines) <= 0).all()


def test_saved_towers_come_back(world: World, model: TwoTower, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = retriever.load(tmp_path)
    user = world.person([0, 2, 4])
    assert loaded.retrieve(world.request, user, 10)[0].tolist() == model.retrieve(world.request, user, 10)[0].tolist()
    assert isinstance(loaded.vectors.base, np.memmap)
    assert loaded.params == model.params
    assert set(loaded.weights) == set(model.weights)
    assert loaded.encode_videos(world.catalogue()) == pytest.approx(model.vectors, abs=1e-5)


def test_a_missing_part_says_what_to_do(model: TwoTower, tmp_path: Path) -> None:
    model.save(tmp_path)
    (tmp_path / "user_tower.onnx").unlink()
    with pytest.raises(TwoTowerError, match="Hint"):
        retriever.load(tmp_path)


@torch.inference_mode()
def test_the_exported_graphs_answer_as_the_network_that_was_trained(world: World, model: TwoTower) -> None:
    events, weights = world.events, world.weights
    data = _data(events, weights, world.catalogue(), world.params, None, validate=False)
    towers = Towers(
        world.params, (len(model.videos.ids), 1, 2, model.videos.features), model.people.sizes, model.videos.dated
    )
    towers.eval()
    towers.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in model.weights.items()})
    trained = all_vectors(towers, data.inputs, Machine(torch.device("cpu"), half=False)).numpy()
    assert model.encode_videos(world.catalogue()) == pytest.approx(trained, abs=1e-4)
    for rows in ([], [3], list(range(1, 25, 2))):
        user = world.person(rows, user_id=None)
        tokens = model._tokens(world.request, user)
        watched = torch.from_numpy(np.array(model.vectors[tokens.rows]))[None]
        graded, gaps = torch.from_numpy(tokens.weights)[None], torch.from_numpy(tokens.gaps)[None]
        x = towers.embed(watched, graded, gaps, torch.from_numpy(tokens.profile))
        # the path of training: every position of the causal transformer, of which the last is asked for
        vectors, trends = towers.user(x, watched)
        expected = torch.cat([vectors[0, -1], trends[0, -1] * world.params.temperature]).numpy()
        assert model.encode(world.request, user) == pytest.approx(expected, abs=1e-4)


def test_a_seed_makes_the_same_towers_again_and_another_seed_others(world: World) -> None:
    events, weights = world.events, world.weights
    few = world.params.model_copy(update={"epochs": 2})
    one, same = (fitting.fit(events, weights, world.catalogue(), few) for _ in range(2))
    other = fitting.fit(events, weights, world.catalogue(), few.model_copy(update={"seed": 1}))
    assert one.vectors.tolist() == same.vectors.tolist()
    assert one.vectors.tolist() != other.vectors.tolist()


def test_products_in_bfloat16_learn_as_whole_ones_do(world: World) -> None:
    events, weights = world.events, world.weights
    whole, half = (
        fitting.fit(events, weights, world.catalogue(), world.params.model_copy(update={"half": kind}))
        for kind in ("off", "on")
    )
    assert half.metrics["loss"] == pytest.approx(whole.metrics["loss"], rel=0.25)
    assert half.metrics["ndcg@10"] > 0.9
    assert half.vectors.tolist() != whole.vectors.tolist()


def test_a_warm_fit_goes_on_from_the_towers_and_learns_a_larger_catalogue(world: World, further: TwoTower) -> None:
    events, weights = world.events, world.weights
    moved = replace(events, video=np.where(events.video >= 36, events.video + 4, events.video).astype(np.int32))
    warm = fitting.fit(moved, weights, world.catalogue(world.videos + 4), further.params, warm=further)
    assert len(warm.vectors) == world.videos + 4
    assert np.mean(np.sum(warm.vectors[:36] * further.vectors[:36], axis=1)) > 0.8
    rows, _ = warm.retrieve(world.request, world.person([8, 10, 12]), 10)
    assert (rows % 2 == 0).all()


def test_what_was_shown_and_left_falls_below_what_nobody_ever_saw(world: World) -> None:
    events, weights = world.events, world.weights
    shown = replace(
        events,
        video=(world.videos + np.arange(len(events)) % 4).astype(np.int32),
        kind=np.full(len(events), int(Kind.IMPRESSION), np.int8),
    )
    both = joined([events, shown])
    graded = np.concatenate([weights, np.zeros_like(weights)])
    categories = np.zeros((world.videos + 8, 4), np.float32)  # what was shown is news, what nobody ever saw is food
    categories[np.arange(world.videos + 8), np.concatenate([np.arange(world.videos) % 2, np.repeat([2, 3], 4)])] = 1.0
    names = ("sport", "music", "news", "food")
    told = replace(world.catalogue(world.videos + 8), categories=categories, category_names=names)
    rows = np.arange(world.videos, world.videos + 8, dtype=np.int32)

    def gap(explicit: int) -> float:
        """Mean of three seeds: in so small a world one of them says little."""
        changes = {"epochs": 10, "uniform_share": 0.0, "explicit_negatives": explicit}
        scores = np.zeros(len(rows))
        for seed in (42, 43, 44):
            fitted = fitting.fit(both, graded, told, world.params.model_copy(update=changes | {"seed": seed}))
            scores += (
                np.mean([fitted.score(world.request, world.person([r, r + 2]), rows) for r in range(10)], axis=0) / 3
            )
        return float(scores[4:].mean() - scores[:4].mean())

    with_them = gap(8)
    assert with_them > 0.05
    assert with_them > gap(0) + 0.1


def test_events_without_a_positive_are_refused(world: World) -> None:
    events, weights = world.events, world.weights
    with pytest.raises(TwoTowerError, match="weight above 0"):
        fitting.fit(events, -weights, world.catalogue(), world.params)


def test_serving_the_towers_does_not_import_torch() -> None:
    code = "import sys; import nextreel.retrieval.two_tower.retriever; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
