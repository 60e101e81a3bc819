"""What every part of a processed data set shares: written once, memory-mapped by every process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel import catalogue as catalogue_file
from nextreel.data.dataset import Dataset
from nextreel.encoding.encoders import Encoders
from nextreel.processing.params import ProcessingParams
from nextreel.processing.visits import Split
from nextreel.progress import Progress, silent
from nextreel.types import UNKNOWN, Catalogue, Codes, Events, FloatArray, Profile

_COUNTED = ("video", "at", "kind", "value", "watch_seconds", "channel", "surface")  # of events: what counters read
_PROFILE = ("country", "language", "age", "gender", "created_at")
CATALOGUE, PEOPLE, ABOUT = "catalogue.arrow", "people.arrow", "about.json"


@dataclass(frozen=True)
class Shared:
    """The catalogue, the people, the encoders, and of everybody's events what moves the counters of videos."""

    params: ProcessingParams
    timed: bool
    catalogue: Catalogue
    encoders: Encoders
    people: pa.Table  # user_id and profile, by user code
    events: Events  # (n,) oldest first; without people, who do not count
    graded: FloatArray  # (n,) relevance

    @cached_property
    def video_ids(self) -> pa.Array:
        """(videos,) id of each catalogue row."""
        return pa.array(self.catalogue.video_ids.tolist())

    @property
    def codes(self) -> Codes:
        """Word to code for the features that are categories of a profile or a request."""
        known = self.encoders.vocabularies
        of = {
            "country": "country",
            "user_language": "language",
            "device": "device",
            "location": "location",
            "surface": "surface",
        }
        return {feature: known[name].codes for feature, name in of.items()}

    def profiles(self, users: NDArray[np.int32]) -> list[Profile]:
        """The profile of each of the people with these codes."""
        rows = self.people.take(pa.array(users))
        return [Profile(*values) for values in zip(*(rows[name].to_pylist() for name in _PROFILE), strict=True)]

    def save(self, folder: Path) -> None:
        """Writes all but the encoders, which have a folder of their own."""
        folder.mkdir(parents=True, exist_ok=True)
        catalogue_file.save(self.catalogue, folder / CATALOGUE)
        with pa.OSFile(str(folder / PEOPLE), "wb") as sink, pa.ipc.new_file(sink, self.people.schema) as writer:
            writer.write_table(self.people)
        for name in _COUNTED:
            np.save(folder / f"{name}.npy", getattr(self.events, name), allow_pickle=False)
        np.save(folder / "graded.npy", self.graded, allow_pickle=False)
        about = {
            "devices": self.events.devices,
            "locations": self.events.locations,
            "surfaces": self.events.surfaces,
            "timed": self.timed,
            "params": self.params.model_dump(mode="json"),
        }
        (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def open(cls, folder: Path, encoders: Path) -> Shared:
        """What `save` wrote, arrays memory-mapped."""
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        with pa.memory_map(str(folder / PEOPLE)) as source:
            people = pa.ipc.open_file(source).read_all()
        mapped = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in (*_COUNTED, "graded")
        }
        graded = mapped.pop("graded")
        nobody = np.broadcast_to(np.int32(UNKNOWN), len(graded))
        events = Events(
            np.empty(0, np.int64),
            nobody,
            **mapped,
            devices=tuple(about["devices"]),
            locations=tuple(about["locations"]),
            surfaces=tuple(about["surfaces"]),
        )
        params = ProcessingParams.model_validate(about["params"])
        catalogue = catalogue_file.load(folder / CATALOGUE)
        return cls(params, about["timed"], catalogue, Encoders.load(encoders), people, events, graded)


def share(
    dataset: Dataset,
    graded: FloatArray,
    split: Split,
    params: ProcessingParams,
    progress: Progress = silent,
) -> Shared:
    """What all parts of the processed data set share; encoders are fitted on the training part alone.

    Titles and tags have no vectors yet: no row needs them.

    `graded` and `split` are the relevance and the part of each event.
    """
    events, train = dataset.events, np.flatnonzero(split == 0)
    with progress("fitting encoders"):
        encoders = Encoders.fit(
            dataset.catalogue,
            dataset.profiles,
            events.take(train),
            graded[train],
            params.encoders,
            None,
            progress,
            embed=False,
        )
    people = _people(events.user_ids.tolist(), dataset.profiles)
    return Shared(params, dataset.timed, dataset.catalogue, encoders, people, events, graded)


def _people(user_ids: Sequence[int | str], profiles: Sequence[Profile]) -> pa.Table:
    numbers = ("age", "created_at")
    columns = {
        name: pa.array([getattr(one, name) for one in profiles], pa.float64() if name in numbers else pa.string())
        for name in _PROFILE
    }
    kind = pa.int64() if all(isinstance(one, int) for one in user_ids) else pa.string()
    return pa.table({"user_id": pa.array(user_ids, kind), **columns})
