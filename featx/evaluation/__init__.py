"""From a fitted model's scores to metrics with confidence intervals."""

from featx.evaluation.metrics import Interval, Metrics, evaluate_scores
from featx.evaluation.paired import Contender, Difference, compare_runs
from featx.evaluation.reference import FAR, Reference, average
from featx.evaluation.shift import Population, Shift, compare_populations
from featx.evaluation.subgroups import Subgroup, Subgroups, divisible_by, evaluate_subgroups
from featx.evaluation.wording import cautions, counted, counts_in_words

__all__ = [
    "FAR",
    "Contender",
    "Difference",
    "Interval",
    "Metrics",
    "Population",
    "Reference",
    "Shift",
    "Subgroup",
    "Subgroups",
    "average",
    "cautions",
    "compare_populations",
    "compare_runs",
    "counted",
    "counts_in_words",
    "divisible_by",
    "evaluate_scores",
    "evaluate_subgroups",
]
