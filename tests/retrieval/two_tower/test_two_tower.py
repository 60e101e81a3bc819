"""Towers fitted once on a small world whose right answers are known."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from nextreel.history import History
from nextreel.retrieval import index as indexes
from nextreel.retrieval.index import IndexParams
from nextreel.retrieval.two_tower import fitting, retriever
from nextreel.retrieval.two_tower.fitting import _data
from nextreel.retrieval.two_tower.loop import all_vectors
from nextreel.retrieval.two_tower.machine import Machine
from nextreel.retrieval.two_tower.model import Towers
from nextreel.retrieval.two_tower.params import TwoTowerParams
from nextreel.retrieval.two_tower.retriever import TwoTower, TwoTowerError
from nextreel.retrieval.two_tower.trends import Snapshots, columns
from nextreel.store import Counters
from nextreel.types import UNKNOWN, Catalogue, Events, FloatArray, Kind, Profile, Request, UserState, joined

VIDEOS = 40
USERS = 120
DAY = 86_400.0
NOW = 100 * DAY
PARAMS = TwoTowerParams(
    dim=16,
    blocks=2,
    length=12,
    hidden=(32, 32),
    text_dim=8,
    epochs=24,
    warm_epochs=1,
    warm_learning_rate=2e-4,
    batch=256,
    negatives=128,
    dropout=0.0,
    temperature=0.1,
    min_count=1,
    id_dropout=0.2,
    validation_users=20,
    validate_every=10,
    horizon=1,  # each event foretells the very next
    return_weight=1.0,
    half="off",
    threads=1,
)


def catalogue(n: int = VIDEOS) -> Catalogue:
    """Even videos are about sport and odd ones about music; beyond the text, nothing tells videos apart."""
    sport = np.arange(n) % 2 == 0
    texts = [f"sport match {i}" if even else f"music song {i}" for i, even in enumerate(sport)]
    return Catalogue(
        video_ids=np.arange(n),
        titles=texts,
        category=np.where(sport, 0, 1).astype(np.int32),
        categories=np.stack([sport, ~sport], 1).astype(np.float32),
        channel=np.full(n, UNKNOWN, np.int32),
        language=np.zeros(n, np.int32),
        duration=np.full(n, np.nan, np.float32),
        published_at=np.full(n, np.nan),
        maturity=np.zeros(n, np.int8),
        available=np.ones(n, bool),
        texts=texts,
        category_names=("sport", "music"),
        channel_ids=(),
        language_names=("en",),
        row_of={i: i for i in range(n)},
    )


def parity_world() -> tuple[Events, FloatArray]:
    """Even people watch even videos and odd people odd ones, in steps: after row r comes row r + 2."""
    length = 12
    user = np.repeat(np.arange(USERS), length)
    begin = np.random.default_rng(0).integers(0, VIDEOS // 2, USERS) * 2 + np.arange(USERS) % 2
    video = (begin[:, None] + 2 * np.arange(length)) % VIDEOS
    at = NOW - DAY * (length - np.tile(np.arange(length, dtype=np.float64), USERS))
    order = np.argsort(at, kind="stable")
    n = len(user)
    missing = np.full(n, np.nan, np.float32)
    events = Events(
        np.arange(USERS),
        user.astype(np.int32),
        video.ravel().astype(np.int32),
        at,
        np.full(n, int(Kind.WATCH), np.int8),
        missing,
        missing,
    )
    return events.take(order), np.ones(n, np.float32)


def person(rows: list[int], weights: list[float] | None = None, user_id: int | None = 7, now: float = NOW) -> UserState:
    history = History()
    for i, row in enumerate(rows):
        history.append(row, now - DAY * (len(rows) - i), int(Kind.WATCH), 1.0 if weights is None else weights[i])
    return UserState(user_id, history=history, version=len(rows), known=bool(rows))


REQUEST = Request(user_id=7, at=NOW)


@pytest.fixture(scope="module")
def model() -> TwoTower:
    events, weights = parity_world()
    profiles = [Profile(country="NO" if u % 2 else "SE", gender="f", age=30.0, language="en") for u in range(USERS)]
    return fitting.fit(events, weights, catalogue(), PARAMS, profiles=profiles)


@pytest.fixture(scope="module")
def further() -> TwoTower:
    """Towers that aim at any of the next six videos, not at the very next: each person comes back after a day."""
    events, weights = parity_world()
    return fitting.fit(events, weights, catalogue(), PARAMS.model_copy(update={"horizon": 6}))


@pytest.mark.parametrize("parity", [0, 1])
def test_even_users_are_given_even_videos(further: TwoTower, parity: int) -> None:
    rows, _ = further.retrieve(REQUEST, person([parity + 8, parity + 10, parity + 12]), 6)
    assert (rows % 2 == parity).all()
    starts = [(parity + 2 * step) % VIDEOS for step in range(VIDEOS // 2)]
    asked = [person([(start + 2 * place) % VIDEOS for place in range(3)]) for start in starts]
    rows = np.concatenate([further.retrieve(REQUEST, one, 6)[0] for one in asked])
    assert len(rows) == 6 * len(starts)
    assert (rows % 2 == parity).mean() >= 0.98


def test_what_comes_next_in_the_cycle_is_proposed_first(model: TwoTower) -> None:
    hits = 0
    for row in range(0, 20):
        rows, _ = model.retrieve(REQUEST, person([row, row + 2, row + 4], user_id=None), 3)
        hits += int((row + 6) % VIDEOS in rows[:3])
    assert hits >= 17


def test_validation_finds_the_held_out_videos(model: TwoTower) -> None:
    assert model.metrics["hr@10"] > 0.9
    assert model.metrics["validation_users"] == 20


def test_an_unknown_person_is_answered(model: TwoTower) -> None:
    rows, scores = model.retrieve(Request(user_id=None, at=NOW), UserState(None), 10)
    assert len(set(rows.tolist())) == 10
    assert np.isfinite(scores).all()


def test_a_profile_alone_moves_the_proposals_of_a_newcomer(model: TwoTower) -> None:
    rows, _ = model.retrieve(REQUEST, UserState(1, profile=Profile(country="NO")), 8)
    assert (rows % 2 == 1).mean() > 0.7


def test_history_is_left_out_and_scores_agree_with_retrieval(model: TwoTower) -> None:
    user = person([0, 2, 4])
    rows, scores = model.retrieve(REQUEST, user, VIDEOS)
    assert len(rows) == VIDEOS - 3
    assert not set(rows.tolist()) & {0, 2, 4}
    assert model.score(REQUEST, user, rows) == pytest.approx(scores, abs=1e-5)


def test_rows_without_a_vector_have_no_score_and_do_no_harm_in_a_history(model: TwoTower) -> None:
    user = person([0, VIDEOS + 3, 2])
    scores = model.score(REQUEST, user, np.array([1, VIDEOS + 3, -1], np.int32))
    assert np.isnan(scores).tolist() == [False, True, True]
    assert len(model.retrieve(REQUEST, user, 5)[0]) == 5


def test_the_next_event_changes_the_answer_at_once(model: TwoTower) -> None:
    before = model.encode(REQUEST, person([0, 2]))
    after = model.encode(REQUEST, person([0, 2, 4]))
    assert np.abs(before - after).max() > 1e-3
    assert model.encode(REQUEST, person([0, 2])) is before  # remembered


def test_two_people_with_one_id_and_version_are_kept_apart(model: TwoTower) -> None:
    one, other = person([0, 2]), person([1, 3])
    other.history.at[-1] -= 5.0  # another store's person, at the same version
    assert np.abs(model.encode(REQUEST, one) - model.encode(REQUEST, other)).max() > 1e-3


def test_only_liked_events_are_read(model: TwoTower) -> None:
    mixed = model.encode(REQUEST, person([0, 9, 2, 11], [1.0, -1.0, 1.0, 0.0], user_id=None))
    alone = person([0, 2], user_id=None)
    alone.history.at[:] = [NOW - 4 * DAY, NOW - 2 * DAY]
    assert model.encode(REQUEST, alone) == pytest.approx(mixed, abs=1e-5)


def test_a_history_of_any_length_has_a_unit_vector(model: TwoTower) -> None:
    people = [person(list(range(0, 2 * n, 2)), user_id=n) for n in (0, 1, 5, 12, 19)]
    vectors = np.stack([model.encode(REQUEST, one) for one in people])
    assert vectors.shape == (5, PARAMS.dim + len(PARAMS.trends))
    assert np.linalg.norm(vectors[:, : PARAMS.dim], axis=1) == pytest.approx(1, abs=1e-5)


def test_a_new_video_is_placed_by_its_content_alone(model: TwoTower) -> None:
    wider = model.extended(catalogue(VIDEOS + 20))
    rows, _ = wider.retrieve(REQUEST, person([8, 10, 12]), 60)
    new = rows[rows >= VIDEOS]
    assert (new[:7] % 2 == 0).all()
    assert wider.vectors[:VIDEOS] == pytest.approx(model.vectors, abs=1e-4)


@pytest.mark.parametrize("parity", [0, 1])
def test_watching_five_videos_of_a_category_raises_its_share_among_the_proposals(
    further: TwoTower, parity: int
) -> None:
    before, _ = further.retrieve(REQUEST, person([], user_id=None), 10)
    after, _ = further.retrieve(REQUEST, person(list(range(parity + 8, parity + 18, 2)), user_id=None), 10)
    assert (after % 2 == parity).mean() >= (before % 2 == parity).mean() + 0.2


def test_similar_videos_are_others_of_the_same_kind(model: TwoTower) -> None:
    rows, cosines = model.similar(6, 5)
    assert 6 not in rows
    assert (rows % 2 == 0).all()
    assert (np.diff(cosines) <= 0).all()


def test_saved_towers_come_back(model: TwoTower, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = retriever.load(tmp_path)
    user = person([0, 2, 4])
    assert loaded.retrieve(REQUEST, user, 10)[0].tolist() == model.retrieve(REQUEST, user, 10)[0].tolist()
    assert isinstance(loaded.vectors.base, np.memmap)
    assert loaded.params == model.params
    assert set(loaded.weights) == set(model.weights)
    assert loaded.encode_videos(catalogue()) == pytest.approx(model.vectors, abs=1e-5)


def test_a_missing_part_says_what_to_do(model: TwoTower, tmp_path: Path) -> None:
    model.save(tmp_path)
    (tmp_path / "user_tower.onnx").unlink()
    with pytest.raises(TwoTowerError, match="Hint"):
        retriever.load(tmp_path)


@torch.inference_mode()
def test_the_exported_graphs_answer_as_the_network_that_was_trained(model: TwoTower) -> None:
    events, weights = parity_world()
    data = _data(events, weights, catalogue(), PARAMS, None, validate=False)
    towers = Towers(
        PARAMS, (len(model.videos.ids), 1, 2, model.videos.features), model.people.sizes, model.videos.dated
    )
    towers.eval()
    towers.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in model.weights.items()})
    trained = all_vectors(towers, data.inputs, Machine(torch.device("cpu"), half=False)).numpy()
    assert model.encode_videos(catalogue()) == pytest.approx(trained, abs=1e-4)
    for rows in ([], [3], list(range(1, 25, 2))):
        user = person(rows, user_id=None)
        tokens = model._tokens(REQUEST, user)
        watched = torch.from_numpy(np.array(model.vectors[tokens.rows]))[None]
        graded, gaps = torch.from_numpy(tokens.weights)[None], torch.from_numpy(tokens.gaps)[None]
        x = towers.embed(watched, graded, gaps, torch.from_numpy(tokens.profile))
        # the path of training: every position of the causal transformer, of which the last is asked for
        vectors, trends = towers.user(x, watched)
        expected = torch.cat([vectors[0, -1], trends[0, -1] * PARAMS.temperature]).numpy()
        assert model.encode(REQUEST, user) == pytest.approx(expected, abs=1e-4)


def test_a_seed_makes_the_same_towers_again_and_another_seed_others() -> None:
    events, weights = parity_world()
    few = PARAMS.model_copy(update={"epochs": 2})
    one, same = (fitting.fit(events, weights, catalogue(), few) for _ in range(2))
    other = fitting.fit(events, weights, catalogue(), few.model_copy(update={"seed": 1}))
    assert one.vectors.tolist() == same.vectors.tolist()
    assert one.vectors.tolist() != other.vectors.tolist()


def test_products_in_bfloat16_learn_as_whole_ones_do() -> None:
    events, weights = parity_world()
    whole, half = (
        fitting.fit(events, weights, catalogue(), PARAMS.model_copy(update={"half": kind})) for kind in ("off", "on")
    )
    assert half.metrics["loss"] == pytest.approx(whole.metrics["loss"], rel=0.25)
    assert half.metrics["ndcg@10"] > 0.9
    assert half.vectors.tolist() != whole.vectors.tolist()


def test_a_warm_fit_goes_on_from_the_towers_and_learns_a_larger_catalogue(further: TwoTower) -> None:
    events, weights = parity_world()
    moved = replace(events, video=np.where(events.video >= 36, events.video + 4, events.video).astype(np.int32))
    warm = fitting.fit(moved, weights, catalogue(VIDEOS + 4), further.params, warm=further)
    assert len(warm.vectors) == VIDEOS + 4
    assert np.mean(np.sum(warm.vectors[:36] * further.vectors[:36], axis=1)) > 0.8
    rows, _ = warm.retrieve(REQUEST, person([8, 10, 12]), 10)
    assert (rows % 2 == 0).all()


def test_what_was_shown_and_left_falls_below_what_nobody_ever_saw() -> None:
    events, weights = parity_world()
    shown = replace(
        events,
        video=(VIDEOS + np.arange(len(events)) % 4).astype(np.int32),
        kind=np.full(len(events), int(Kind.IMPRESSION), np.int8),
    )
    both = joined([events, shown])
    graded = np.concatenate([weights, np.zeros_like(weights)])
    categories = np.zeros((VIDEOS + 8, 4), np.float32)  # what was shown is news, what nobody ever saw is food
    categories[np.arange(VIDEOS + 8), np.concatenate([np.arange(VIDEOS) % 2, np.repeat([2, 3], 4)])] = 1.0
    names = ("sport", "music", "news", "food")
    told = replace(catalogue(VIDEOS + 8), categories=categories, category_names=names)
    rows = np.arange(VIDEOS, VIDEOS + 8, dtype=np.int32)

    def gap(explicit: int) -> float:
        """Mean of three seeds: in so small a world one of them says little."""
        changes = {"epochs": 10, "uniform_share": 0.0, "explicit_negatives": explicit}
        scores = np.zeros(len(rows))
        for seed in (42, 43, 44):
            fitted = fitting.fit(both, graded, told, PARAMS.model_copy(update=changes | {"seed": seed}))
            scores += np.mean([fitted.score(REQUEST, person([r, r + 2]), rows) for r in range(10)], axis=0) / 3
        return float(scores[4:].mean() - scores[:4].mean())

    with_them = gap(8)
    assert with_them > 0.05
    assert with_them > gap(0) + 0.1


def test_events_without_a_positive_are_refused() -> None:
    events, weights = parity_world()
    with pytest.raises(TwoTowerError, match="weight above 0"):
        fitting.fit(events, -weights, catalogue(), PARAMS)


def test_serving_the_towers_does_not_import_torch() -> None:
    code = "import sys; import nextreel.retrieval.two_tower.retriever; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def played(now: float = NOW) -> Counters:
    """Counters after the parity world, and after a hundred plays of video 5 within the last hour."""
    events, weights = parity_world()
    counters = Counters(VIDEOS)
    counters.add(events, weights)
    many = np.arange(100)
    just = replace(events.take(many), video=np.full(100, 5, np.int32), at=np.full(100, now - 60.0))
    counters.add(just, weights[many])
    return counters


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_scores_of_rows_are_those_of_proposals_whatever_the_index_and_however_popular(
    model: TwoTower, kind: Literal["flat", "hnsw"]
) -> None:
    index = indexes.build(model.vectors, IndexParams(kind=kind))
    served = replace(model, index=index).over(played())
    assert served.index.kind == kind
    plain = model.over(played())
    for user in (person([], user_id=None), person([0, 2, 4]), person([1, 3])):
        rows, scores = served.retrieve(REQUEST, user, 12)
        assert served.score(REQUEST, user, rows) == pytest.approx(scores, abs=1e-5)
        assert (np.diff(scores) <= 0).all()
        assert rows.tolist() == plain.retrieve(REQUEST, user, 12)[0].tolist()  # nothing better was missed
        assert not set(rows.tolist()) & set(user.history.rows.tolist())


def test_a_list_for_any_time_does_not_depend_on_when_it_is_made_and_others_do(model: TwoTower) -> None:
    served, user, every = model.over(played()), person([0, 2, 4]), np.arange(VIDEOS, dtype=np.int32)
    soon, later = (served.score(Request(7, NOW + wait, anytime=True), user, every) for wait in (1.0, 30 * DAY))
    assert soon == pytest.approx(later)
    soon, later = (served.score(Request(7, NOW + wait), user, every) for wait in (1.0, 30 * DAY))
    assert soon != pytest.approx(later)


def test_what_everybody_plays_now_moves_the_scores_by_the_persons_own_weights(model: TwoTower) -> None:
    counters = played()
    before, after = model.over(Counters(VIDEOS)), model.over(counters)
    user, every = person([0, 2, 4]), np.arange(VIDEOS, dtype=np.int32)
    weights = model.encode(REQUEST, user)[PARAMS.dim :]
    columns_now = columns([counters.share(name) for name in PARAMS.trends])
    moved = after.score(REQUEST, user, every) - before.score(REQUEST, user, every)
    assert moved == pytest.approx(columns_now @ weights, abs=1e-5)


def test_a_play_moves_the_next_request_without_another_pass_of_the_tower(model: TwoTower) -> None:
    counters = played(NOW - DAY / 2)
    served = model.over(counters)
    user, every = person([0, 2, 4]), np.arange(VIDEOS, dtype=np.int32)
    old = served.score(Request(7, NOW), user, every)
    events, weights = parity_world()
    counters.add(replace(events.take(np.arange(50)), video=np.full(50, 9, np.int32)), weights[:50])
    new = served.score(Request(7, NOW), user, every)
    assert new[9] != old[9]
    assert len(served._cache) == 1


def test_towers_without_counters_know_what_was_popular_when_they_were_fitted(model: TwoTower, tmp_path: Path) -> None:
    events, weights = parity_world()
    counters = Counters(VIDEOS)
    counters.add(events, weights)
    user, every = person([0, 2, 4]), np.arange(VIDEOS, dtype=np.int32)
    expected = model.over(counters).score(REQUEST, user, every)
    model.save(tmp_path)
    for one in (model, retriever.load(tmp_path)):
        assert one.score(REQUEST, user, every) == pytest.approx(expected, abs=2e-3)  # kept in half precision


def test_an_answer_about_a_time_gone_by_knows_nothing_of_what_became_popular_later(
    model: TwoTower, tmp_path: Path
) -> None:
    events, weights = parity_world()
    before = events.at < np.median(events.at)
    then = float(events.at[before].max()) + 1.0
    counters, user, every = Counters(VIDEOS), person([0, 2, 4], now=then), np.arange(VIDEOS, dtype=np.int32)
    request = Request(7, then)
    counters.add(events.take(before), weights[before])
    expected = model.over(counters).score(request, user, every)
    many = np.flatnonzero(~before)  # later everybody plays video 5
    counters.add(replace(events.take(many), video=np.full(len(many), 5, np.int32)), weights[many])
    forgetful = replace(model, past=Snapshots.none(VIDEOS, len(PARAMS.trends)))
    now = np.abs(forgetful.over(counters).score(request, user, every) - expected).max()
    model.save(tmp_path)
    for one in (model, retriever.load(tmp_path)):  # a snapshot may lack the last few events before its time
        assert np.abs(one.over(counters).score(request, user, every) - expected).max() < now / 4


FEW = PARAMS.model_copy(update={"epochs": 4, "validate_every": 1, "dropout": 0.1})


class Stopped(Exception):
    """Somebody pulled the plug."""


def stop_at(epoch: float) -> Callable[[Mapping[str, float]], None]:
    def watch(found: Mapping[str, float]) -> None:
        if found["epoch"] == epoch:
            raise Stopped

    return watch


def test_a_fit_that_was_stopped_goes_on_to_what_it_would_have_been_bit_for_bit(tmp_path: Path) -> None:
    events, weights = parity_world()
    through = fitting.fit(events, weights, catalogue(), FEW)
    file = tmp_path / "towers" / "checkpoint.npz"
    with pytest.raises(Stopped):
        fitting.fit(events, weights, catalogue(), FEW, checkpoint=file, watch=stop_at(3))
    told: list[float] = []
    resumed = fitting.fit(
        events, weights, catalogue(), FEW, checkpoint=file, watch=lambda found: told.append(found["epoch"])
    )
    assert told == [3, 4]
    assert all(np.array_equal(resumed.weights[name], through.weights[name]) for name in through.weights)
    assert resumed.vectors.tolist() == through.vectors.tolist()
    assert {**resumed.metrics, "seconds": 0.0} == {**through.metrics, "seconds": 0.0}
    assert [one.name for one in file.parent.iterdir()] == [file.name]  # no half of a file is left


def test_a_checkpoint_of_another_fit_is_not_gone_on_from(tmp_path: Path) -> None:
    events, weights = parity_world()
    file = tmp_path / "checkpoint.npz"
    two = FEW.model_copy(update={"epochs": 2})
    fitting.fit(events, weights, catalogue(), two, checkpoint=file)
    for changed in (two.model_copy(update={"seed": 1}), two.model_copy(update={"dropout": 0.2})):
        found = fitting.fit(events, weights, catalogue(), changed, checkpoint=file)
        assert found.vectors.tolist() == fitting.fit(events, weights, catalogue(), changed).vectors.tolist()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    events, weights = parity_world()
    file = tmp_path / "checkpoint.npz"
    file.write_text("nothing")
    with pytest.raises(TwoTowerError, match="delete it"):
        fitting.fit(events, weights, catalogue(), FEW, checkpoint=file)


TOGETHER = """
import sys
from pathlib import Path
import numpy as np
import test_two_tower as world
from nextreel.retrieval.two_tower import fitting
from torch import distributed

events, weights = world.parity_world()
losses = []
fitted = fitting.fit(
    events, weights, world.catalogue(), world.FEW.model_copy(update={"epochs": 8, "batch": 128}),
    watch=lambda found: losses.append(found["loss"]),
)
np.savez(Path(sys.argv[1]) / f"{distributed.get_rank()}.npz", losses=losses, **fitted.weights)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_fit_one_model_together_as_one_would(tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1"}
    subprocess.run(  # noqa: S603
        [*launch, str(tmp_path / "together.py"), str(tmp_path)], check=True, env=environment, timeout=300
    )
    with np.load(tmp_path / "0.npz") as one, np.load(tmp_path / "1.npz") as other:
        together, losses = dict(one), [one["losses"], other["losses"]]
        for name in set(one.files) - {"losses"}:
            assert np.array_equal(one[name], other[name])  # they stay one model, bit for bit
    events, weights = parity_world()
    alone = fitting.fit(events, weights, catalogue(), FEW.model_copy(update={"epochs": 8, "batch": 256}))
    assert set(together) - {"losses"} == set(alone.weights)
    for found in losses:
        assert found[-1] < found[0] - 0.3
    assert np.mean([found[-1] for found in losses]) == pytest.approx(alone.metrics["loss"], rel=0.25)
