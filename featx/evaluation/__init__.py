"""From a fitted model's scores to metrics with confidence intervals."""

from featx.evaluation._metrics import Interval, Metrics, evaluate_scores
from featx.evaluation._paired import Contender, Difference, compare_runs
from featx.evaluation._reference import FAR, Reference, average
from featx.evaluation._shift import Population, Shift, compare_populations
from featx.evaluation._subgroups import Subgroup, Subgroups, divisible_by, evaluate_subgroups
from featx.evaluation._wording import cautions, counted, counts_in_words

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
