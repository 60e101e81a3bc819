"""Processed data sets: rows to train on, made by a replay that reads before it applies, on one machine or on Spark."""

from nextreel.processing.params import ProcessingError, ProcessingParams, load_params
from nextreel.processing.pipeline import Processed, ProcessingPipeline
from nextreel.processing.specs import FeatureSpec

__all__ = ["FeatureSpec", "Processed", "ProcessingError", "ProcessingParams", "ProcessingPipeline", "load_params"]
