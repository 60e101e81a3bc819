"""Training: retrievers, then a replay that makes the ranker's rows, then the ranker, then all of it into a release."""

from nextreel.training.fit import Fitted, fit
from nextreel.training.release import publish, train

__all__ = ["Fitted", "fit", "publish", "train"]
