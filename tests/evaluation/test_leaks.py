"""Whatever happens after the split, training makes the same files of what came before it, byte for byte."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nextreel.evaluation import protocols
from nextreel.evaluation.asking import ask
from nextreel.evaluation.baselines import baselines
from nextreel.evaluation.trials import Protocol, Trial
from nextreel.pipeline import Recommender
from nextreel.types import Events, RowArray

if TYPE_CHECKING:
    from nextreel.assembly import Config
    from nextreel.data import Dataset
    from nextreel.store import MemoryStore

WHO, WHAT = ("user", "device", "location"), ("video", "kind", "channel", "watch_seconds", "position", "request")


def altered(dataset: Dataset, first: int) -> Dataset:
    """The same data up to the row `first`; from there on other people watch other videos at other times."""
    events, rng = dataset.events, np.random.default_rng(7)
    columns: dict[str, Any] = {}
    for names in (WHO, WHAT):
        order = np.concatenate([np.arange(first), first + rng.permutation(len(events) - first)])
        columns |= {name: getattr(events, name)[order] for name in names}
    at, value = events.at.copy(), events.value.copy()
    at[first:] = np.sort(at[first] + rng.random(len(at) - first) * 40 * 86_400)
    value[first:] = rng.random(len(at) - first)
    return replace(dataset, events=replace(events, at=at, value=value, **columns))


def same(one: Events, other: Events) -> bool:
    return all(
        np.asarray(getattr(one, field.name)).tolist() == np.asarray(getattr(other, field.name)).tolist()
        if field.name in ("user_ids", "devices", "locations")
        else np.asarray(getattr(one, field.name)).tobytes() == np.asarray(getattr(other, field.name)).tobytes()
        for field in fields(Events)
    )


@dataclass(frozen=True)
class System:
    """What was fitted on the history of a trial, on disk and ready to be asked."""

    files: dict[str, bytes]
    config: Config
    dataset: Dataset
    folder: Path

    def asked(self, dataset: Dataset, trial: Trial) -> dict[str, RowArray]:
        """The lists (m, 20) of the system's sources and of the baselines for each request."""
        from nextreel.assembly import Models, build, load_ranker  # noqa: PLC0415

        store: MemoryStore = protocols.new_store(dataset, self.config)
        models, ranker = Models.load(self.folder), load_ranker(self.folder)
        assert ranker is not None
        full = build(self.config, dataset.catalogue, store, models, ranker, timed=True, columns=ranker.names)
        named: dict[str, Recommender] = {"nextreel": full, "two_tower": full.alone("two_tower")}
        for one, _ in baselines(trial, dataset.catalogue, store, 20, timed=True, seed=1):
            named[f"baseline {one.sources[0].retriever.name}"] = one
        return {name: answers.lists for name, answers in ask(trial, store, named, 20).items()}


def fitted(dataset: Dataset, protocol: Protocol, config: Config, folder: Path) -> System:
    from nextreel.training import fit  # noqa: PLC0415  imports torch

    trial = protocols.plan(dataset, protocol, config)
    found = fit(replace(dataset, events=trial.history), config)
    found.models.save(folder)
    found.ranker.save(folder / "ranker")
    return System(contents(folder), config, dataset, folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path, less the seconds that fitting took and CatBoost's own model.

    That holds a random id and the time of day; the trees that serve are a file of their own.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".cbm":
            data = path.read_bytes()
            if path.suffix == ".json":
                about = json.loads(data)
                about.get("metrics", {}).pop("seconds", None)
                data = json.dumps(about).encode()
            found[str(path.relative_to(folder))] = data
    return found


@pytest.fixture(scope="module")
def split(tiny_dataset: Dataset) -> int:
    return int(len(tiny_dataset.events) * 0.9)


@pytest.fixture(scope="module")
def after(tiny_dataset: Dataset, split: int) -> Dataset:
    return altered(tiny_dataset, split)


@pytest.fixture(scope="module")
def system(tiny_dataset: Dataset, quick: Config, tmp_path_factory: pytest.TempPathFactory) -> System:
    return fitted(tiny_dataset, "frozen", quick, tmp_path_factory.mktemp("plain"))


def test_what_happens_after_the_split_changes_no_file_that_training_makes(
    system: System, after: Dataset, quick: Config, tmp_path: Path
) -> None:
    other = fitted(after, "live", quick, tmp_path)
    assert set(other.files) == set(system.files)
    assert {Path(name).parts[0] for name in other.files} >= {"two_tower", "als", "ease", "transitions", "ranker"}
    different = [name for name, data in other.files.items() if data != system.files[name]]
    assert not different


@pytest.mark.parametrize("protocol", ["frozen", "live"])
def test_what_happens_after_the_split_is_not_in_the_history(
    protocol: Protocol, tiny_dataset: Dataset, after: Dataset, tiny_config: Config, split: int
) -> None:
    one, other = (protocols.plan(dataset, protocol, tiny_config) for dataset in (tiny_dataset, after))
    assert same(one.history, other.history)
    assert same(one.history, tiny_dataset.events.take(slice(0, split)))
    assert one.train.tolist() == other.train.tolist()
    assert one.watched.tolist() == other.watched.tolist()
    assert not same(tiny_dataset.events, after.events)


def test_frozen_lists_do_not_depend_on_what_happens_after_the_split(
    system: System, tiny_dataset: Dataset, after: Dataset, tiny_config: Config
) -> None:
    lists = []
    trials = [protocols.plan(dataset, "frozen", tiny_config) for dataset in (tiny_dataset, after)]
    both = np.intersect1d(trials[0].user, trials[1].user)[:15]
    assert len(both) == 15
    for dataset, trial in zip((tiny_dataset, after), trials, strict=True):
        # asked in the same order and number, so that random lists can be compared too
        chosen = np.searchsorted(trial.user, both)
        few = replace(trial, user=trial.user[chosen], at=trial.at[chosen], after=trial.after[chosen])
        lists.append(system.asked(dataset, few))
    assert len(lists[0]) == 2 + 7
    for name, one in lists[0].items():
        np.testing.assert_array_equal(one, lists[1][name], err_msg=name)


def test_live_lists_do_not_depend_on_what_happens_after_their_request(
    system: System, tiny_dataset: Dataset, tiny_config: Config, split: int
) -> None:
    middle = split + 200
    changed = altered(tiny_dataset, middle)
    trials = [protocols.plan(dataset, "live", tiny_config) for dataset in (tiny_dataset, changed)]
    early = [np.flatnonzero(trial.after <= middle) for trial in trials]
    many = int((trials[0].after < middle).sum())
    assert many > 15
    lists = []
    for dataset, trial, chosen in zip((tiny_dataset, changed), trials, early, strict=True):
        few = replace(trial, user=trial.user[chosen], at=trial.at[chosen], after=trial.after[chosen])
        lists.append(system.asked(dataset, few))
    for name, one in lists[0].items():
        np.testing.assert_array_equal(one[:many], lists[1][name][:many], err_msg=name)
