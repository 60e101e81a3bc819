"""Searching the parameters of a ranker: declared spaces, lists judged without a new replay, a study that goes on."""

from nextreel.evaluation.tuning.found import Found, Tried
from nextreel.evaluation.tuning.offered import METRICS, Metric, Offered, prepare
from nextreel.evaluation.tuning.space import Choice, Range, Space, SpaceError, space_of
from nextreel.evaluation.tuning.study import StudyError, Terms, require, search, seeded

__all__ = [
    "METRICS",
    "Choice",
    "Found",
    "Metric",
    "Offered",
    "Range",
    "Space",
    "SpaceError",
    "StudyError",
    "Terms",
    "Tried",
    "prepare",
    "require",
    "search",
    "seeded",
    "space_of",
]
