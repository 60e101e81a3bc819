"""A release over a catalogue that changes while it is served: each change makes another Recommender of its models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nextreel.assembly import Models
from nextreel.pipeline import Recommender, Store
from nextreel.retrieval.live_index import LiveIndex
from nextreel.retrieval.milvus import SharedVectors
from nextreel.store import BoundedStore, Counters, LiveStore
from nextreel.types import Catalogue, FloatArray
from nextreel.uploads import Change, Changes, Extended, Released, extended, taken

Make = Callable[[Catalogue, Store, Models], Recommender]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What some changes make of a catalogue."""

    before: Catalogue
    changes: list[Change]
    after: Extended
    vectors: FloatArray | None  # (told, dim) of the videos that were told, where there are towers


class Growing:
    """The Recommender of now; `follow` puts another in its place, and those who have the old one go on with it.

    To be told to follow by one thread at a time, as `LiveStore.follow` does.
    """

    def __init__(
        self,
        changes: Changes,
        store: LiveStore,
        models: Models,
        released_at: float,
        make: Make,
        vectors: SharedVectors | None = None,
    ) -> None:
        self._changes, self._store, self._make = changes, store, make
        self._released = Released.of(store.catalogue, released_at)
        self._index = None if models.two_tower is None else LiveIndex(models.two_tower.index, remote=vectors)
        self.vectors = vectors  # where the towers' vectors are searched; None: in the index of the release
        if models.two_tower is not None and self._index is not None and vectors is not None:
            models = replace(models, two_tower=models.two_tower.among(self._index.view))
        self._plan: _Plan | None = None
        self.models = models
        self.recommender = self._made(store.catalogue, store.counters, models)

    def follow(self, until: int | None = None) -> None:
        """Catches up with the changes, up to the number if one is given: all of them hold, or none does."""
        catalogue = self._store.catalogue
        found = self._changes.after(catalogue.changes, until)
        if not found:
            return
        plan = self._planned(catalogue, found)
        after, counters = plan.after, self._store.counters
        if len(after.catalogue) > len(catalogue) or len(after.catalogue.channel_ids) > len(catalogue.channel_ids):
            counters = counters.grown(len(after.catalogue), len(after.catalogue.channel_ids))
        models, index = self.models, self._index
        if models.two_tower is not None and index is not None:
            index = _changed(index.fork(), plan)
            if self.vectors is not None:
                self.vectors.tell(after.touched, index.view.of(after.touched), index.view.has(after.touched))
            models = replace(models, two_tower=models.two_tower.among(index.view))
        recommender = self._made(after.catalogue, counters, models)
        self._store.grow(after.catalogue, counters)  # nothing can fail any more
        # the models last: whoever reads them first, finds all their rows in the catalogue
        self._index, self.recommender, self.models, self._plan = index, recommender, models, None

    def append(self, change: Change, catalogue: Catalogue) -> None:
        """Keeps a change of the catalogue for all processes; the next `follow` makes it hold.

        Raises `Conflict` where the catalogue has another change already, and whatever would keep those who follow from
        this one: such a change is not written.
        """
        self._planned(catalogue, [change])
        self._changes.append(change, catalogue.changes + 1)

    def _planned(self, catalogue: Catalogue, changes: list[Change]) -> _Plan:
        """What the changes make of the catalogue; remembered, as who writes a change follows it next."""
        plan = self._plan  # one read: another thread may write it
        if plan is None or plan.before is not catalogue or plan.changes != changes:
            after = extended(catalogue, changes, self._released)
            towers = self.models.two_tower
            vectors = None if towers is None else towers.encode_videos(taken(after.catalogue, after.told))
            self._plan = plan = _Plan(catalogue, changes, after, vectors)
        return plan

    def _made(self, catalogue: Catalogue, counters: Counters, models: Models) -> Recommender:
        bounded = BoundedStore(self._store, counters, len(catalogue), len(catalogue.channel_ids))
        return self._make(catalogue, bounded, models)


def _changed(index: LiveIndex, plan: _Plan) -> LiveIndex:
    """The index after the changes: a vector for what was told, nothing to be found of what is not available."""
    after, vectors = plan.after, plan.vectors
    told, size = after.told, index.view.size
    if vectors is not None and len(told):
        index.update(told[told < size], vectors[told < size])
        index.add(vectors[told >= size])
    shown = after.catalogue.available[after.touched]
    back = np.setdiff1d(after.touched[shown], told)
    index.update(back, index.view.of(back))
    index.remove(after.touched[~shown])
    return index
