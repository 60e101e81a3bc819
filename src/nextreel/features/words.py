"""Vocabularies of what is text in a profile or a request, so that a feature can be a code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nextreel.encoding import vocabulary
from nextreel.encoding.vocabulary import Vocabulary
from nextreel.types import Codes, Events, Profile

NAMES = ("country", "user_language", "device", "location", "surface")


def fit(events: Events, profiles: Sequence[Profile], floor: int) -> dict[str, Vocabulary]:
    """Vocabularies of the words of these events and of the people in them, each at least `floor` times there.

    `profiles` goes with `events.user_ids`.
    """
    people = [profiles[user] for user in np.unique(events.user).tolist()]
    said = {
        "country": Counter(one.country for one in people if one.country is not None),
        "user_language": Counter(one.language for one in people if one.language is not None),
        "device": _counted(events.device, events.devices),
        "location": _counted(events.location, events.locations),
        "surface": _counted(events.surface, events.surfaces),
    }
    # sorted, so that the codes of equally frequent words do not hang on the order of the people
    return {name: vocabulary.from_counts(name, sorted(counts.items()), floor) for name, counts in said.items()}


def _counted(column: NDArray[np.int32], words: Sequence[str]) -> Counter[str]:
    counts = np.bincount(column[column >= 0], minlength=len(words)) if words else np.empty(0, np.int64)
    return Counter(dict(zip(words, counts.tolist(), strict=True)))


def codes(vocabularies: Mapping[str, Vocabulary]) -> Codes:
    """Word to code, for each vocabulary: what a moment holds."""
    return {name: one.codes for name, one in vocabularies.items()}


def save(vocabularies: Mapping[str, Vocabulary], folder: Path) -> None:
    """Writes each vocabulary below `folder/vocabularies`."""
    for one in vocabularies.values():
        one.save(folder)


def load(folder: Path) -> dict[str, Vocabulary]:
    """The vocabularies that `save` wrote."""
    return {name: vocabulary.load(folder, name) for name in NAMES}
