"""How good the recommendations are: protocols, baselines of the same run, results with their lineage."""

from nextreel.evaluation.baselines import Lists
from nextreel.evaluation.protocols import EvaluationError, Split, compare, frozen, split
from nextreel.evaluation.report import write
from nextreel.evaluation.results import Comparison, Results, Row

__all__ = ["Comparison", "EvaluationError", "Lists", "Results", "Row", "Split", "compare", "frozen", "split", "write"]
