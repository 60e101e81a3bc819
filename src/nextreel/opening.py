"""Opening what a home holds: a system of a release, the same as training left it, or the places of people alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from nextreel import catalogue as catalogue_file
from nextreel.assembly import Config, Models, build, load_ranker
from nextreel.backends import ClosableEventLog, ClosableKeyValue, open_key_value, open_log
from nextreel.declared import DeclaredValue
from nextreel.feature_log import FeatureLog, Heading, writer_id
from nextreel.features import fingerprint, names
from nextreel.forgetting import Places
from nextreel.growing import Growing
from nextreel.pipeline import Recommender, Store
from nextreel.registry import Registry
from nextreel.retrieval.milvus import open_shared
from nextreel.slates import SharedSlates, Slates
from nextreel.store import LiveStore, state_folder
from nextreel.system import System
from nextreel.types import Catalogue, KeyValue, NextreelError
from nextreel.uploads import Changes

CATALOGUE, CONFIG = "catalogue.arrow", "config.json"
SHARED = "shared.db"  # in the home, unless another key-value store is named


def open_system(
    home: Path,
    release: str | None = None,
    *,
    clock: Literal["wall", "end"] = "wall",
    state_url: str | None = None,
    log_url: str | None = None,
    feature_log: Path | None = None,
    feature_log_share: float = 1.0,
    slate_cache_seconds: float = 0.0,
    cache_url: str | None = None,
    vectors_url: str | None = None,
) -> System:
    """The system of the release in production, or of the given one. Verifies every checksum first.

    `clock` is `wall`, or `end` for a time that goes on from the newest event, as a demonstration on old data needs.
    `state_url` is that of the key-value store which all processes of the home share; a file in the home by default.
    `log_url` is that of the event log, `log.db` in the home by default. With both the home itself is only read.
    With `feature_log`, a share of the requests is kept in that folder with the rows that the ranker read.
    With `slate_cache_seconds`, equal requests within them get one slate; with `cache_url`, that of a key-value store,
    those of other processes too.
    With `vectors_url`, the towers' vectors are searched in that Milvus, which is filled where it lacks the release's.
    """
    release = release or production(home)
    shared = _shared(home, state_url)
    growing, store, event_log, value = _load(
        home, release, overlay=shared, shared=shared, log_url=log_url, vectors_url=vectors_url
    )
    store.refresh = growing.follow
    store.follow()  # the newest event may be in the log
    offset = store.newest_at + 1.0 - time.time()
    now = time.time if clock == "wall" else lambda: time.time() + offset
    kept = None
    if feature_log is not None:
        kept = FeatureLog(feature_log, heading(growing.recommender), feature_log_share)
    places = Places(home, event_log, shared, feature_log)
    registry = Registry(home)
    metrics = registry.show(release).get("metrics", {})
    declared = DeclaredValue(home)
    remembered = None
    if slate_cache_seconds and cache_url is not None:
        remembered = SharedSlates(open_key_value(cache_url), slate_cache_seconds)
    return System(
        growing,
        store,
        event_log,
        shared,
        registry,
        metrics=metrics,
        clock=now,
        value=value,
        declared=declared,
        places=places,
        feature_log=kept,
        slates=Slates(slate_cache_seconds, remembered),
    )


@contextmanager
def opened_places(home: Path, state_url: str | None, log_url: str | None, feature_log: Path | None) -> Iterator[Places]:
    """Where the home keeps what people did, without a release; for servers may run beside it."""
    if not home.is_dir():
        raise NextreelError(f"Expected a home at {home}, found none. Hint: name the one that serves by --home.")
    with closing(_event_log(home, log_url)) as event_log, closing(_shared(home, state_url)) as shared:
        yield Places(home, event_log, shared, feature_log)


@contextmanager
def replayed(
    home: Path, release: str, state_url: str | None = None, log_url: str | None = None
) -> Iterator[tuple[Growing, LiveStore]]:
    """The release and its store as training left them, which follow changes and log as far as they are told.

    What the store follows is in memory alone: a server that runs beside it notices nothing.
    """
    none_yet = state_url is None and not (home / SHARED).exists()
    shared = open_key_value("memory://") if none_yet else _shared(home, state_url)
    overlay = open_key_value("memory://")
    growing, store, event_log, _ = _load(home, release, overlay=overlay, shared=shared, log_url=log_url)
    try:
        yield growing, store
    finally:
        store.close()
        shared.close()
        event_log.close()


def production(home: Path) -> str:
    """The id of the release in production. Raises `NextreelError` when there is none."""
    release = Registry(home).production()
    if release is None:
        raise NextreelError(f"No release in production in {home}. Hint: nextreel train --data DIR --home {home}")
    return release


def heading(recommender: Recommender) -> Heading:
    """What this process writes at the top of its feature logs. Raises `NextreelError` for a release without ranker."""
    if recommender.ranker is None:
        raise NextreelError(f"Expected a release with a ranker to log features of, got {recommender.release} without.")
    columns = names(recommender.features, [source.retriever.name for source in recommender.sources])
    objectives = tuple(recommender.ranker.objectives)
    return Heading(recommender.release, columns, objectives, fingerprint(columns), writer_id())


def _load(
    home: Path,
    release: str,
    *,
    overlay: KeyValue,
    shared: KeyValue,
    log_url: str | None = None,
    vectors_url: str | None = None,
) -> tuple[Growing, LiveStore, ClosableEventLog, str]:
    """The release as it was made; states that move on lie in the overlay, changes of the catalogue are shared."""
    registry = Registry(home)
    folder = registry.open(release)
    about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config = Config.model_validate(about["config"])
    catalogue = catalogue_file.load(folder / CATALOGUE)
    models, vectors = Models.load(folder), None
    if vectors_url is not None and models.two_tower is not None:
        vectors = open_shared(vectors_url, release, models.two_tower.index.vectors)
    event_log = _event_log(home, log_url)
    store = LiveStore(state_folder(home, release), catalogue, config.relevance, event_log, overlay, f"{release}/")
    ranker = load_ranker(folder)

    def make(catalogue: Catalogue, store: Store, models: Models) -> Recommender:
        return build(
            config,
            catalogue,
            store,
            models,
            ranker,
            timed=about["timed"],
            columns=None if ranker is None else ranker.names,
            release=release,
        )

    growing = Growing(Changes(shared), store, models, registry.show(release)["created_at"], make, vectors)
    recommender = growing.recommender
    if ranker is not None:  # a release of another version is refused here, not answered without its ranker
        ranker.check(names(recommender.features, [source.retriever.name for source in recommender.sources]))
    return growing, store, event_log, config.ranker.value


def _event_log(home: Path, log_url: str | None) -> ClosableEventLog:
    return open_log(log_url or f"sqlite://{home / 'log.db'}")


def _shared(home: Path, state_url: str | None) -> ClosableKeyValue:
    return open_key_value(state_url or f"sqlite://{home / SHARED}")
