"""The features of a person alone: what is known of them now, whatever they ask for and whatever is judged."""

from __future__ import annotations

from collections.abc import Sequence

from nextreel.features.describe import Description, describe
from nextreel.types import Feature, Moment

_OF_THE_REQUEST = ("request", "codes")  # parts of a moment that no person has


def of_person(features: Sequence[Feature], moment: Moment) -> list[tuple[Description, float]]:
    """Those of the features that describe the moment's person, not what they ask for, and their values; NaN unknown."""
    described = [(feature, describe(feature)) for feature in features]
    return [(about, float(feature(moment))) for feature, about in described if _is_of_person(about)]


def _is_of_person(about: Description) -> bool:
    return about.of == "person" and not all(part.startswith(_OF_THE_REQUEST) for part in about.reads)
