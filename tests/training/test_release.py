"""From a data set to a release in production, and back to the one before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nextreel.assembly import Config
from nextreel.data import Dataset
from nextreel.opening import open_system
from nextreel.registry import Registry
from nextreel.store import state_folder
from nextreel.training import train
from nextreel.types import Event, Kind, Request, VideoId

PEOPLE = ("person-1", "person-7", "person-42", "a newcomer")
NEXT_DAY = 86_400.0


def answers(home: Path) -> list[tuple[list[VideoId], list[float]]]:
    system = open_system(home)
    slates = [system.recommend(Request(user_id, system.data_end, 10)) for user_id in PEOPLE]
    system.close()
    return [(slate.video_ids, slate.value.tolist()) for slate in slates]


@pytest.fixture(scope="module")
def small(tiny_config: Config) -> Config:
    """Without towers and factors: fitted in a second."""
    quotas = tiny_config.quotas.model_copy(update={"two_tower": 0, "als": 0})
    return tiny_config.model_copy(update={"quotas": quotas})


def test_training_publishes_and_promotes_one_verified_release(trained: Path, tiny_config: Config) -> None:
    registry = Registry(trained)
    (info,) = registry.list()
    assert info.stage == "production"
    assert registry.production() == info.id
    registry.verify(info.id)
    about = json.loads((registry.path(info.id) / "config.json").read_text())
    assert Config.model_validate(about["config"]) == tiny_config
    assert {"two_tower", "als", "ease", "item_item", "ranker"} <= {
        path.name for path in registry.path(info.id).iterdir()
    }


def test_the_manifest_tells_what_the_release_was_made_from(trained: Path, tiny_dataset: Dataset) -> None:
    registry = Registry(trained)
    manifest = registry.show(str(registry.production()))
    assert manifest["lineage"]["dataset"] == json.loads(json.dumps(tiny_dataset.manifest.to_json()))
    assert manifest["lineage"]["ranker_rows"]["relevance"] > 0
    assert manifest["metrics"]["ranker_trees"] >= 1


def test_a_release_holds_no_row_of_a_user_and_the_state_lies_beside_it(trained: Path, tiny_dataset: Dataset) -> None:
    registry = Registry(trained)
    release = str(registry.production())
    folder = registry.path(release)
    for file in folder.rglob("*"):
        assert "person-" not in file.name
        if file.is_file():
            assert b"person-" not in file.read_bytes(), file
            if file.suffix == ".npy":
                assert len(tiny_dataset.events.user_ids) not in np.load(file, allow_pickle=False).shape, file
    assert b"person-7" in (state_folder(trained, release) / "people.json").read_bytes()
    assert not list(trained.rglob("*.pkl"))


def test_the_state_that_training_leaves_knows_every_event(trained: Path, home: Path, tiny_dataset: Dataset) -> None:
    del trained
    system = open_system(home)
    events = tiny_dataset.events
    assert set(system.store.users()) == set(events.user_ids)
    assert system.data_end == events.at[-1] + 1
    assert sum(system.store.user(user_id).version for user_id in system.store.users()) == len(events)
    assert system.store.counters.impressions.sum() == (events.kind == Kind.IMPRESSION).sum()
    for code, user_id in enumerate(events.user_ids):
        mine = events.video[(events.user == code) & (events.video >= 0) & (events.kind != Kind.IMPRESSION)]
        assert system.store.user(user_id).history.rows.tolist() == mine.tolist()
        assert system.store.user(user_id).profile == tiny_dataset.profiles[code]
    system.close()


def test_the_same_data_and_seeds_give_the_same_recommendations(
    home: Path, tiny_dataset: Dataset, tiny_config: Config, tmp_path: Path
) -> None:
    train(tiny_dataset, tiny_config, tmp_path / "again", created_at=0.0)
    assert answers(tmp_path / "again") == answers(home)


def test_a_rollback_serves_the_former_releases_answers_and_keeps_later_feedback(
    home: Path, tiny_dataset: Dataset, small: Config
) -> None:
    registry = Registry(home)
    first, before = registry.production(), answers(home)
    second = train(tiny_dataset, small, home, created_at=1_767_225_600.0 + NEXT_DAY)
    assert registry.production() == second != first
    after = answers(home)
    assert after != before
    assert registry.rollback() == first
    assert answers(home) == before

    system = open_system(home, second)
    system.feedback([Event("person-1", system.data_end, Kind.LIKE, before[0][0][0])])
    system.close()
    assert before[0][0][0] not in answers(home)[0][0]  # the log is one for all releases


def test_a_source_of_quota_zero_is_neither_fitted_nor_asked(
    tiny_dataset: Dataset, small: Config, tmp_path: Path
) -> None:
    release = train(tiny_dataset, small, tmp_path, created_at=0.0)
    folder = Registry(tmp_path).path(release)
    assert not (folder / "two_tower").exists()
    system = open_system(tmp_path)
    slate = system.recommend(Request("person-1", system.data_end, 10))
    assert (slate.level, len(slate.video_ids)) == ("full", 10)
    assert not {"two_tower", "als"} & slate.trace.proposed.keys()
    most_played = system.catalogue.video_ids[system.store.counters.plays.argmax()]
    assert len(system.similar(most_played, Request(None, system.now(), 5))) == 5
    system.close()
