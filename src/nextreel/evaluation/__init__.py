"""How good the recommendations are: protocols, baselines of the same run, results with their lineage."""

from nextreel.evaluation.exposure_results import ExposureResults, Outcome
from nextreel.evaluation.exposures import evaluate_exposures
from nextreel.evaluation.found import Found
from nextreel.evaluation.protocols import evaluate
from nextreel.evaluation.report import write, write_report
from nextreel.evaluation.results import Results
from nextreel.evaluation.rows import Comparison, Preview, Row
from nextreel.evaluation.seeds import evaluate_seeds
from nextreel.evaluation.segments import Segment
from nextreel.evaluation.stages import StageResults
from nextreel.evaluation.trials import EvaluationError, Protocol, Trial

__all__ = [
    "Comparison",
    "EvaluationError",
    "ExposureResults",
    "Found",
    "Outcome",
    "Preview",
    "Protocol",
    "Results",
    "Row",
    "Segment",
    "StageResults",
    "Trial",
    "evaluate",
    "evaluate_exposures",
    "evaluate_seeds",
    "write",
    "write_report",
]
