"""The protocols run: who is asked beside whom, over one store, and what their differences are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from nextreel.assembly import Config
from nextreel.data import Dataset
from nextreel.evaluation import evaluate
from nextreel.evaluation.baselines import Fixed, alone
from nextreel.evaluation.protocols import Model, compare, fit_source, plan
from nextreel.evaluation.trials import EvaluationError, Protocol, Trial
from nextreel.metrics import paired_bootstrap
from nextreel.store import MemoryStore
from nextreel.types import Catalogue, Events, Profile, Request, UserState

FROZEN = ["random", "popular", "popular_7d", "item_item", "ease", "als", "transitions"]
MOVING = [*FROZEN[:3], "popular_now", *FROZEN[3:]]
PROTOCOLS: list[Protocol] = ["frozen", "live", "leave-last-out"]
SMALL = Config.model_validate({"als": {"factors": 4, "iterations": 2, "threads": 1}})


@pytest.fixture(scope="module")
def dataset(tiny: Events, tiny_catalogue: Catalogue) -> Dataset:
    profiles = tuple(Profile() for _ in tiny.user_ids)
    return Dataset(tiny_catalogue, tiny, profiles, timed=True, manifest=cast("Any", None))


class Oracle(Fixed):
    """Knows what is right at each request."""

    def __init__(self, trial: Trial) -> None:
        super().__init__("oracle", np.zeros(len(trial.videos), np.float32))
        self.trial = trial

    def retrieve(self, request: Request, user: UserState, n: int) -> Any:
        truth, number = self.trial.truth, request.seed
        scores = self._column.copy()
        scores[truth.rows[truth.offsets[number] : truth.offsets[number + 1]]] = 1.0
        rows = np.argsort(-scores, kind="stable")[:n].astype(np.int32)
        return rows, scores[rows]

    def score(self, request: Request, user: UserState, rows: Any) -> Any:
        ordered, scores = self.retrieve(request, user, len(self._column))
        return scores[np.argsort(ordered)][rows]


def oracle(dataset: Dataset, name: str = "oracle") -> Callable[[Trial, MemoryStore], Mapping[str, Model]]:
    def fit(trial: Trial, store: MemoryStore) -> dict[str, Model]:
        return {
            name: Model(alone(Oracle(trial), dataset.catalogue, store, trial.videos, 100, timed=dataset.timed), 2.0)
        }

    return fit


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_baseline_and_the_model_are_judged_in_one_run(protocol: Protocol, dataset: Dataset) -> None:
    trial = plan(dataset, protocol, SMALL)
    rows, comparisons, measured = compare(trial, dataset, SMALL, oracle(dataset))
    names = FROZEN if protocol == "frozen" else MOVING
    assert [row.model for row in rows] == list(measured) == [*names, "oracle"]
    assert [row.kind for row in rows] == ["baseline"] * len(names) + ["pipeline"]
    assert rows[-1].metrics["ndcg@10"] == pytest.approx(1)
    assert rows[-1].seconds > 2.0  # of fitting, and those of answering
    assert [one.metric for one in comparisons] == ["ndcg@10", "recall@10" if protocol == "frozen" else "hit_rate@10"]
    best = max(row.metrics["ndcg@10"] for row in rows[:-1])
    first = comparisons[0]
    assert rows[[row.model for row in rows].index(first.against)].metrics["ndcg@10"] == best
    assert first.model == "oracle"
    assert first.difference == pytest.approx(1 - best)
    assert first.low <= first.difference <= first.high


def test_the_interval_of_a_difference_resamples_people_with_all_their_requests(dataset: Dataset) -> None:
    trial = plan(dataset, "live", SMALL)
    _, comparisons, measured = compare(trial, dataset, SMALL, oracle(dataset), seed=3)
    one = comparisons[0]
    values = measured["oracle"].each["ndcg@10"], measured[one.against].each["ndcg@10"]
    assert (one.difference, one.low, one.high) == paired_bootstrap(*values, 3, groups=trial.user)
    assert len(np.unique(trial.user)) < len(trial)


def test_a_model_with_the_name_of_a_baseline_takes_nothing_from_the_table(dataset: Dataset) -> None:
    rows, comparisons, _ = compare(plan(dataset, "live", SMALL), dataset, SMALL, oracle(dataset, "ease"))
    assert [row.model for row in rows] == [*MOVING, "ease (config)"]
    assert {one.model for one in comparisons} == {"ease (config)"}


def test_data_without_time_stamps_have_no_last_days_and_no_live_requests(dataset: Dataset) -> None:
    untimed = replace(dataset, timed=False)
    rows, *_ = compare(plan(untimed, "frozen", SMALL), untimed, SMALL, lambda *_: {})
    assert [row.model for row in rows] == [name for name in FROZEN if name != "popular_7d"]
    with pytest.raises(EvaluationError, match="time stamps for protocol live"):
        plan(untimed, "live", SMALL)


def test_only_live_may_ask_at_some_rows_alone(dataset: Dataset) -> None:
    assert plan(dataset, "live", SMALL, every=2).after.tolist() == [91, 93]
    for protocol in ("frozen", "leave-last-out"):
        with pytest.raises(EvaluationError, match="only `live`"):
            plan(dataset, protocol, SMALL, every=2)
    with pytest.raises(EvaluationError, match="at least 1, got 0"):
        plan(dataset, "live", SMALL, every=0)


def test_relevance_rules_decide_what_is_right(dataset: Dataset) -> None:
    rated = replace(dataset.events, value=np.where(dataset.events.at == 93, 2.0, 5.0).astype(np.float32))
    rules = Config.model_validate({"relevance": {"least_value": 4.0}})
    assert plan(replace(dataset, events=rated), "live", rules).after.tolist() == [90, 91, 94, 98]


@pytest.mark.parametrize("source", ["transitions", "trending"])
def test_a_source_alone_is_fitted_on_the_history(source: str, dataset: Dataset) -> None:
    trial = plan(dataset, "live", SMALL)
    rows, *_ = compare(trial, dataset, SMALL, fit_source(dataset, SMALL, source))
    assert rows[-1].model == ("trending" if source == "trending" else "transitions (config)")
    assert rows[-1].kind == "source"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_whole_protocol_tells_where_it_comes_from(protocol: Protocol, tiny_dataset: Dataset) -> None:
    few = tiny_dataset.until(1_500)
    results = evaluate(few, protocol, SMALL, source="transitions", every=3 if protocol == "live" else 1, seed=5)
    trial = plan(few, protocol, SMALL, 3 if protocol == "live" else 1)
    assert (results.protocol, results.requests, results.users) == (protocol, len(trial), len(set(trial.user.tolist())))
    assert results.truths == pytest.approx(len(trial.truth.rows) / len(trial))
    assert results.videos == len(np.unique(few.events.video[few.events.video >= 0]))
    assert results.stages is None
    assert results.seed == 5
    assert results.config["als"]["factors"] == 4
    assert any("leaks by construction" in note for note in results.notes) == (protocol == "leave-last-out")
    assert any("every 3rd row" in note for note in results.notes) == (protocol == "live")


def test_the_whole_pipeline_is_judged_with_its_stages_and_the_towers_alone(
    tiny_dataset: Dataset, quick: Config
) -> None:
    results = evaluate(tiny_dataset, "frozen", quick)
    kinds = {row.model: row.kind for row in results.rows if row.kind != "baseline"}
    assert kinds == {"two_tower": "source", "fused": "stage", "ranked": "stage", "nextreel": "pipeline"}
    assert {one.model for one in results.comparisons} == set(kinds)
    stages = results.stages
    assert stages is not None
    for value, model in ((stages.fused, "fused"), (stages.ranked, "ranked"), (stages.final, "nextreel")):
        assert value == results.row(model).metrics["ndcg@10"]
    assert stages.truths == round(results.truths * results.requests)
    assert {one.name for one in stages.sources} >= {"two_tower", "als", "ease", "transitions", "trending"}
    assert max(one.recall for one in stages.sources) <= stages.recall <= 1
    assert sum(one.unique for one in stages.sources) <= stages.recall
    assert {part.by for part in results.segments} == {"events of the person", "events of the right video"}
    assert all(set(part.metrics) == {row.model for row in results.rows} for part in results.segments)
