"""What a search judges with, how it goes on, and that nothing is adopted that does not beat what there was."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from optuna import load_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console

from nextreel.assembly import Config, build, load_config, merged
from nextreel.data import Dataset
from nextreel.evaluation import trials, tuning
from nextreel.evaluation.asking import ask
from nextreel.evaluation.measures import measure
from nextreel.evaluation.protocols import new_store
from nextreel.evaluation.trials import EvaluationError
from nextreel.evaluation.tuning import Choice, Found, Offered, Range, SpaceError, StudyError, Terms
from nextreel.evaluation.tuning import offered as of_offered
from nextreel.folders import FolderInUse, alone
from nextreel.progress import Progress
from nextreel.ranking.families import Family
from nextreel.store.memory import relevance_of
from nextreel.training import Fitted, fit
from nextreel.training.fit import fit_ranker
from nextreel.types import Matrix, NextreelError

TIMES = 2
FAMILIES: tuple[Family, ...] = ("catboost", "lightgbm", "xgboost", "deepfm")
OWN = {"start": 0.5, "catboost": {"depth": 4, "loss": "YetiRank", "order_iterations": 80}}
BASE = Config.model_validate(merged(Config().model_dump(), {"ranker": OWN}))  # whatever the defaults are
NARROW = """
[ranker]
start = { low = 0.0, high = 1.5 }
[ranker.catboost]
depth = { low = 2, high = 9 }
loss = false
permutations = false
order_iterations = false
learning_rate = false
l2 = false
columns = false
rows = false
"""


@pytest.fixture(scope="module")
def kept(
    tiny_dataset: Dataset, light: Config, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Offered, Fitted, Path]:
    """What rankers are judged on in the tiny world, what was fitted for it, and the folder that keeps it."""
    fitted: list[Fitted] = []

    def spy(dataset: Dataset, config: Config, progress: Progress) -> Fitted:
        fitted.append(fit(dataset, config, progress))
        return fitted[-1]

    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_offered, "fit", spy)
        offered = tuning.prepare(tiny_dataset, light, folder, TIMES)
    assert len(fitted) == 1
    return offered, fitted[0], folder


@pytest.fixture
def space(tmp_path: Path) -> tuning.Space:
    """Trees of depth 2 to 9, and where they begin."""
    file = tmp_path / "space.toml"
    file.write_text(NARROW)
    return tuning.space_of(BASE, "catboost", file)


def hill(config: Config) -> float:
    """Best with trees of depth 7; where fitting begins matters little, the seed less."""
    ranker = config.ranker
    return 0.5 - 0.05 * abs(ranker.catboost.depth - 7) - 0.001 * ranker.start + 1e-6 * ranker.catboost.seed


def run(
    space: tuning.Space, folder: Path, judge: Callable[[Config], float] = hill, version: str = "v", **terms: int
) -> Found:
    return tuning.search(space, BASE, judge, folder, version, Terms(**terms))  # type: ignore[arg-type]


# --- Spaces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_declared_space_holds_the_defaults_and_makes_configurations(family: Family) -> None:
    space = tuning.space_of(BASE, family)
    own = space.defaults(BASE)
    assert "start" in own
    assert len(own) > 5
    found = space.config(BASE, own)
    assert found.ranker.family == family
    assert found.ranker.model_copy(update={"family": BASE.ranker.family}) == BASE.ranker
    assert list(space.to_json()) == list(own)


def test_a_declared_space_reaches_as_far_as_the_configurations_own_value() -> None:
    ranker = {"catboost": {"iterations": 9_000, "order_iterations": None, "loss": "YetiRankPairwise"}}
    space = tuning.space_of(Config.model_validate({"ranker": ranker}), "catboost")
    assert space.dimensions["catboost.iterations"] == Range(low=30, high=9_000, log=True)
    assert "catboost.order_iterations" not in space.dimensions
    loss = space.dimensions["catboost.loss"]
    assert isinstance(loss, Choice)
    assert loss.choices[-1] == "YetiRankPairwise"


def test_a_file_narrows_leaves_out_and_adds(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        "[ranker]\nstart = false\n[ranker.deepfm]\nepochs = { low = 5, high = 40, log = true }\n"
        "hidden = { choices = [[64, 32], [8]] }\n"
    )
    space = tuning.space_of(BASE, "deepfm", file)
    assert "start" not in space.dimensions
    assert space.dimensions["deepfm.epochs"] == Range(low=5, high=40, log=True)
    assert space.defaults(BASE)["deepfm.hidden"] == "[64, 32]"
    assert space.config(BASE, {"deepfm.hidden": "[8]"}).ranker.deepfm.hidden == (8,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[ranker", "Expected TOML in"),
        ("[als]\nfactors = { low = 1, high = 2 }", r"expected a table \[ranker\] and no other, got als"),
        (
            "[ranker.catboost]\nleaves = { low = 1, high = 2 }",
            "expected parameters of catboost, got ranker.catboost.le",
        ),
        (
            "[ranker.catboost]\nseed = { low = 1, high = 2 }",
            "expected parameters of catboost, got ranker.catboost.seed",
        ),
        ("[ranker.xgboost]\ndepth = { low = 1, high = 9 }", "expected parameters of catboost, got ranker.xgboost"),
        ("[ranker]\ncatboost = false", r"expected a table \[ranker.catboost\], got False"),
        (
            "[ranker.catboost]\nmost = { low = 1, high = 2 }",
            "expected parameters of catboost, got ranker.catboost.most",
        ),
        ("[ranker.catboost]\nl2 = { low = 1, high = inf }", "high: Input should be a finite number"),
        ("[ranker.catboost]\ndepth = 3", "expected a table for ranker.catboost.depth, got 3"),
        ("[ranker.catboost]\ndepth = { low = 9, high = 1 }", "ranker.catboost.depth: Value error, expected low below"),
        ("[ranker.catboost]\nl2 = { low = 0, high = 9, log = true }", "expected low above 0 where log is true"),
        ("[ranker.catboost]\ndepth = { low = 5, high = 8 }", "own value of ranker.catboost.depth, 4; got 5 to 8"),
        ("[ranker.catboost]\ndepth = { low = 0, high = 8 }", "greater than or equal to 1"),
        ("[ranker.catboost]\ndepth = { low = 2.5, high = 8 }", "valid integer"),
        ("[ranker.catboost]\ndepth = { lowest = 2, high = 8 }", "lowest: Extra inputs are not permitted"),
        ("[ranker.catboost]\nloss = { choices = ['YetiRank', 'Best'] }", "that a configuration may have, got one of Y"),
    ],
)
def test_a_wrong_space_is_told(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(SpaceError, match=told):
        tuning.space_of(BASE, "catboost", file)


def test_a_space_without_a_file_or_anything_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="Expected a readable file for --space"):
        tuning.space_of(BASE, "catboost", tmp_path / "none.toml")
    file = tmp_path / "space.toml"
    file.write_text(
        f"{NARROW}\n".replace("{ low = 0.0, high = 1.5 }", "false").replace("{ low = 2, high = 9 }", "false")
    )
    with pytest.raises(SpaceError, match="leaves all out"):
        tuning.space_of(BASE, "catboost", file)


def test_what_the_configuration_does_not_say_is_no_place_to_begin_at(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text("[ranker.catboost]\norder_iterations = { low = 5, high = 9 }\n")
    with pytest.raises(SpaceError, match=r"where the search of ranker\.catboost\.order_iterations begins"):
        tuning.space_of(Config.model_validate({"ranker": {"catboost": {"order_iterations": None}}}), "catboost", file)


def test_a_value_of_0_is_in_no_space_that_is_drawn_over_its_logarithm() -> None:
    config = Config.model_validate({"ranker": {"catboost": {"l2": 0.0}}})
    with pytest.raises(SpaceError, match=r"Expected numbers above 0 for ranker.catboost.l2"):
        tuning.space_of(config, "catboost")


# --- What is judged --------------------------------------------------------------------------------------------------


def test_the_judged_metrics_are_those_of_the_evaluation_at_every_time(
    kept: tuple[Offered, Fitted, Path], tiny_dataset: Dataset, light: Config
) -> None:
    offered, fitted, _ = kept
    catalogue, n = tiny_dataset.catalogue, len(tiny_dataset.events)
    ranker = fit_ranker(offered.rows, light)
    scores = ranker.score(Matrix(offered.names, offered.values))[:, 0]
    known, end = int(n * 0.8), int(n * 0.9)
    grade = partial(relevance_of, catalogue=catalogue, rules=light.relevance)
    assert np.unique(offered.times).tolist() == list(range(TIMES))
    for number, cut in enumerate(np.linspace(known, end, TIMES, endpoint=False).astype(int)):
        events = tiny_dataset.events.take(slice(0, end))
        share = (cut + 0.5) / end
        trial = trials.frozen(events, grade, len(catalogue), fractions=(share, 0.0, 1 - share))
        assert len(trial.history) == cut
        store = new_store(tiny_dataset, light)
        whole = build(light, catalogue, store, fitted.models, ranker, timed=True, columns=ranker.names)
        lists = ask(trial, store, {"ranked": replace(whole, orderers=())}, 100)["ranked"].lists
        measured = measure(lists, trial, catalogue.categories)
        for metric in tuning.METRICS:
            each = offered.each(scores, metric)[offered.times == number]
            np.testing.assert_array_equal(each, measured.each[metric])
    first, second = (offered.each(scores, "ndcg@10")[offered.times == number].mean() for number in range(TIMES))
    assert offered.judge(light, "ndcg@10") == pytest.approx((first + second) / 2)
    assert 0.05 < first < 1


def test_nothing_of_the_last_tenth_is_looked_at(
    kept: tuple[Offered, Fitted, Path], tiny_dataset: Dataset, light: Config, tmp_path: Path
) -> None:
    n = len(tiny_dataset.events)
    video = tiny_dataset.events.video.copy()
    video[int(n * 0.9) :] = 0
    other = replace(tiny_dataset, events=replace(tiny_dataset.events, video=video))
    offered = tuning.prepare(other, light, tmp_path, TIMES)
    for name in ("values", "right", "truths"):
        np.testing.assert_array_equal(getattr(offered, name), getattr(kept[0], name))


def test_what_is_judged_is_fitted_once_and_read_again_as_it_was(
    kept: tuple[Offered, Fitted, Path], tiny_dataset: Dataset, light: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered, _, folder = kept

    def fail(*given: object) -> None:
        raise AssertionError

    monkeypatch.setattr(of_offered, "fit", fail)
    ranker = light.ranker.model_copy(update={"family": "xgboost"})  # what is searched does not change what is judged
    again = tuning.prepare(tiny_dataset, light.model_copy(update={"ranker": ranker}), folder, TIMES)
    assert (again.names, again.version) == (offered.names, offered.version)
    for name in ("values", "right", "groups", "truths", "times"):
        np.testing.assert_array_equal(getattr(again, name), getattr(offered, name))
    assert list(again.rows) == list(offered.rows)
    for objective, rows in offered.rows.items():
        for name in ("values", "labels", "groups", "weights", "at", "users"):
            np.testing.assert_array_equal(getattr(again.rows[objective], name), getattr(rows, name))


def test_a_study_of_other_data_another_configuration_or_other_times_is_refused(
    kept: tuple[Offered, Fitted, Path], tiny_dataset: Dataset, light: Config
) -> None:
    folder = kept[2]
    fewer = tiny_dataset.until(len(tiny_dataset.events) - 1)
    with pytest.raises(EvaluationError, match=r"the same data, got another.*Hint: name another --out"):
        tuning.prepare(fewer, light, folder, TIMES)
    with pytest.raises(EvaluationError, match="the same configuration, got another"):
        tuning.prepare(tiny_dataset, light.model_copy(update={"ranked": 50}), folder, TIMES)
    with pytest.raises(EvaluationError, match="the same times, got another"):
        tuning.prepare(tiny_dataset, light, folder, TIMES + 1)
    with pytest.raises(EvaluationError, match="at least one time"):
        tuning.prepare(tiny_dataset, light, folder, 0)


def test_broken_files_are_told(
    kept: tuple[Offered, Fitted, Path], tiny_dataset: Dataset, light: Config, tmp_path: Path
) -> None:
    about = (kept[2] / of_offered.ABOUT_FILE).read_text()
    (tmp_path / of_offered.ABOUT_FILE).write_text(about)
    (tmp_path / of_offered.ARRAYS_FILE).write_text("no arrays")
    with pytest.raises(EvaluationError, match="Hint: remove the folder to make it anew"):
        tuning.prepare(tiny_dataset, light, tmp_path, TIMES)
    (tmp_path / of_offered.ABOUT_FILE).write_text("{")
    with pytest.raises(EvaluationError, match="Expected JSON"):
        tuning.prepare(tiny_dataset, light, tmp_path, TIMES)


def test_data_without_time_stamps_are_judged_at_one_time(tiny_dataset: Dataset, light: Config, tmp_path: Path) -> None:
    events = replace(tiny_dataset.events, at=np.arange(len(tiny_dataset.events), dtype=np.float64))
    untimed = replace(tiny_dataset, events=events, timed=False)
    offered = tuning.prepare(untimed, light, tmp_path, TIMES)
    assert not offered.times.any()
    assert 0 < offered.judge(light, "recall@100") <= 1


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_a_value_that_is_no_number_is_no_result(
    wrong: float, kept: tuple[Offered, Fitted, Path], light: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = len(kept[0].values)
    monkeypatch.setattr(of_offered, "formula", lambda *_: lambda scores: np.full(len(scores), wrong, np.float32))
    with pytest.raises(EvaluationError, match=f"finite value of each of {n:,} candidates, got {n:,}") as error:
        kept[0].judge(light, "ndcg@10")
    assert "Hint" in str(error.value)


def test_equals_keep_their_order_and_lists_end_at_100() -> None:
    n = 130
    right = np.zeros(n, np.bool_)
    right[[0, 99, 100]] = True
    offered = Offered({}, (), np.empty((n, 0), np.float32), right, np.zeros(n, np.int64),
                      np.array([4]), np.array([0]), "")  # fmt: skip
    assert np.flatnonzero(offered.places(np.zeros(n, np.float32)).found).tolist() == [0, 99]
    backwards = np.arange(n, dtype=np.float32)
    assert np.flatnonzero(offered.places(backwards).found).tolist() == [29, 30]
    assert offered.each(backwards, "recall@100").tolist() == [0.5]


# --- The search ------------------------------------------------------------------------------------------------------


def test_the_first_trial_is_the_configuration_itself_and_the_best_beats_it(space: tuning.Space, tmp_path: Path) -> None:
    found = run(space, tmp_path / "study", trials=15)
    assert found.defaults.number == 0
    assert found.defaults.drawn == {"start": 0.5, "catboost.depth": 4}
    assert found.defaults.values == pytest.approx([hill(one) for one in tuning.seeded(BASE, 3)])
    assert found.best.drawn["catboost.depth"] == 7
    assert found.gain == pytest.approx(found.best.mean - found.defaults.mean)
    assert 0.1 < found.gain < 0.2
    assert found.importance["catboost.depth"] > found.importance["start"]
    assert "(defaults)" in found.to_markdown()
    assert f"{found.gain:+.4f}" in found.summary()
    assert (tmp_path / "study" / "study.md").read_text() == found.to_markdown()


def test_nothing_is_adopted_that_does_not_beat_the_configuration(space: tuning.Space, tmp_path: Path) -> None:
    found = run(space, tmp_path / "study", lambda config: float(config.ranker.catboost.depth == 4), trials=4, seeds=1)
    assert found.gain == 0
    assert found.best.mean == 1
    worse = run(space, tmp_path / "worse", lambda one: -abs(one.ranker.start - 0.5), trials=4, seeds=1)
    assert worse.best.defaults
    assert "No trial beats the configuration itself" in worse.summary()
    assert worse.important() is None
    assert load_config(tmp_path / "worse" / "best.toml") == BASE


def test_seeds_are_those_of_the_ranker_and_of_who_is_held_out() -> None:
    first, second = tuning.seeded(BASE, 2)
    assert first == BASE
    assert second.moments.seed == BASE.moments.seed + 1
    assert second.ranker.catboost.seed == BASE.ranker.catboost.seed + 1


def test_a_trial_that_falls_behind_is_pruned_after_its_first_seed(space: tuning.Space, tmp_path: Path) -> None:
    judged: list[int] = []

    def judge(config: Config) -> float:
        judged.append(config.ranker.catboost.depth)
        return hill(config)

    found = run(space, tmp_path / "study", judge, trials=20)
    assert found.pruned > 3
    assert len(found.tried) + found.pruned == 20
    assert len(judged) == 3 * len(found.tried) + found.pruned  # the first seed tells
    assert found.best.mean == max(one.mean for one in found.tried)


def test_a_study_goes_on_where_it_stopped_with_other_draws(space: tuning.Space, tmp_path: Path) -> None:
    first = run(space, tmp_path / "study", trials=3, seeds=1)
    second = run(space, tmp_path / "study", trials=3, seeds=1)
    assert [one.number for one in sorted(second.tried, key=lambda one: one.number)][:3] == [0, 1, 2]
    assert {one.number: one for one in first.tried}.items() <= {one.number: one for one in second.tried}.items()
    assert len({one.drawn["start"] for one in second.tried}) == 6  # nothing is drawn twice
    assert sum(one.defaults for one in second.tried) == 1
    assert run(space, tmp_path / "study", trials=0, seeds=1).tried == second.tried


def test_an_interrupted_study_can_be_used_and_goes_on(space: tuning.Space, tmp_path: Path) -> None:
    calls = 0

    def interrupted(config: Config) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return hill(config)

    found = run(space, tmp_path / "study", interrupted, trials=9, seeds=1)
    assert found.interrupted
    assert (len(found.tried), len(found.failed)) == (2, 1)
    assert (tmp_path / "study" / "best.toml").is_file()
    again = run(space, tmp_path / "study", trials=2, seeds=1)
    assert not again.interrupted
    assert len(again.tried) == 4


def test_a_trial_whose_process_was_killed_counts_as_failed(space: tuning.Space, tmp_path: Path) -> None:
    run(space, tmp_path / "study", trials=1, seeds=1)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study" / "study.journal")))
    load_study(study_name="catboost", storage=storage).ask()  # and never told
    found = run(space, tmp_path / "study", trials=1, seeds=1)
    assert (len(found.tried), len(found.failed)) == (2, 1)


def test_the_configuration_itself_is_judged_even_when_its_trial_was_interrupted(
    space: tuning.Space, tmp_path: Path
) -> None:
    def interrupted(config: Config) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(space, tmp_path / "study", interrupted, trials=2)
    assert run(space, tmp_path / "study", trials=1).defaults.number == 1


def test_a_study_of_other_terms_data_or_configuration_is_refused(space: tuning.Space, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    run(space, folder, trials=1, seeds=1)
    with pytest.raises(StudyError, match=r"got another number of seeds. Hint: name another --out"):
        run(space, folder, trials=1, seeds=2)
    with pytest.raises(StudyError, match="got another data, configuration or version"):
        run(space, folder, version="w", trials=1, seeds=1)
    with pytest.raises(StudyError, match="got another space"):
        run(tuning.space_of(BASE, "catboost"), folder, trials=1, seeds=1)
    other = Config.model_validate(merged(BASE.model_dump(), {"ranker": {"catboost": {"early_stopping": 5}}}))
    with pytest.raises(StudyError, match="got another ranker"):
        tuning.search(space, other, hill, folder, "v", Terms(trials=1, seeds=1))
    with alone(folder), pytest.raises(FolderInUse):
        run(space, folder, trials=1, seeds=1)


def test_a_trial_that_cannot_be_fitted_is_left_out_but_the_configuration_itself_must_be(
    space: tuning.Space, tmp_path: Path
) -> None:
    def judge(config: Config) -> float:
        if config.ranker.start != 0.5:
            raise NextreelError("Expected a fit that converges.")
        return hill(config)

    found = run(space, tmp_path / "study", judge, trials=3, seeds=1)
    assert (len(found.tried), len(found.failed)) == (1, 2)
    assert "2 failed or interrupted" in found.summary()
    assert {one.reason for one in found.failed} == {"Expected a fit that converges."}
    assert all(one.drawn["start"] != 0.5 for one in found.failed)
    written = (tmp_path / "study" / "study.md").read_text()
    assert written.count("| Expected a fit that converges. |") == 2
    assert f"| {found.failed[0].number} | start " in written

    def never(config: Config) -> float:
        raise NextreelError("Expected a fit that converges.")

    with pytest.raises(StudyError, match=r"a configuration that can be judged.*converges"):
        run(space, tmp_path / "other", never, trials=3, seeds=1)
    with pytest.raises(StudyError, match=r"whose first trial was judged, got none.*Hint: more trials"):
        run(space, tmp_path / "other", hill, trials=0, seeds=1)
    assert run(space, tmp_path / "other", trials=1, seeds=1).failed[0].reason == "Expected a fit that converges."


def test_an_error_of_a_library_fails_its_trial_alone(
    kept: tuple[Offered, Fitted, Path], light: Config, tmp_path: Path
) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        "[ranker.lightgbm]\nrows = { choices = [0.7, 1e-9] }\n"
        + "".join(f"{name} = false\n" for name in ("iterations", "learning_rate", "l2", "columns", "leaves", "least"))
        + "order_iterations = { low = 4, high = 20 }\n"
    )
    space = tuning.space_of(light, "lightgbm", file)
    judge = partial(kept[0].judge, metric="ndcg@10")
    found = tuning.search(space, space.config(light, {}), judge, tmp_path / "study", "v", Terms(trials=8, seeds=1))
    assert len(found.tried) + len(found.failed) == 8
    assert {one.drawn["lightgbm.rows"] for one in found.tried} == {0.7}
    assert {one.drawn["lightgbm.rows"] for one in found.failed} == {1e-9}
    assert all("LightGBM can fit" in one.reason for one in found.failed)
    assert (tmp_path / "study" / "best.toml").is_file()


def test_a_terminal_of_80_columns_shows_every_figure_of_a_study(tmp_path: Path) -> None:
    def judge(config: Config) -> float:
        if config.ranker.start > 2:
            raise NextreelError(f"Expected a fit that converges: {'x' * 90}.")
        return hill(config)

    found = tuning.search(tuning.space_of(BASE, "catboost"), BASE, judge, tmp_path, "v", Terms(trials=8, seeds=2))
    failures = found.failures()
    assert failures is not None
    console = Console(width=80, record=True, file=StringIO())
    console.print(found.view().rich(), failures.rich())
    shown = console.export_text()
    assert "…" not in shown
    assert all(f"{one.mean:.4f} ({one.spread:.4f})" in shown for one in found.tried)
    assert shown.count("x") >= 90 * len(found.failed)  # a word as long as that is cut nowhere


def test_the_best_configuration_is_a_file_that_config_reads(tmp_path: Path) -> None:
    changes = {"als": {"factors": 9}, "quotas": {"als": 7}, "ranker": {"family": "deepfm", "deepfm": {"patience": 2}}}
    config = Config.model_validate(merged(BASE.model_dump(), changes))
    space = tuning.space_of(config, "deepfm")

    def judge(config: Config) -> float:
        return -abs(config.ranker.deepfm.dropout - 0.4) - len(config.ranker.deepfm.hidden) / 10

    found = tuning.search(space, config, judge, tmp_path, "v", Terms(trials=8, seeds=1))
    assert not found.best.defaults
    loaded = load_config(tmp_path / "best.toml")
    assert loaded == space.config(config, found.best.drawn)
    assert loaded.als.factors == 9
    table = tomllib.loads((tmp_path / "best.toml").read_text())["ranker"]["deepfm"]
    assert table["dropout"] == pytest.approx(found.best.drawn["deepfm.dropout"])
    assert table["hidden"] == list(loaded.ranker.deepfm.hidden)


def test_a_missing_optuna_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(StudyError, match=r"Hint: pip install 'nextreel\[tune\]'"):
        tuning.require()
