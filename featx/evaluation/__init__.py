"""From a fitted model's scores to metrics with confidence intervals."""

from featx.evaluation._decision_curve import DecisionCurve, decision_curve
from featx.evaluation._interval import Interval
from featx.evaluation._metrics import METRIC_NAMES, Metrics, evaluate_scores
from featx.evaluation._paired import Contender, Difference, compare_runs
from featx.evaluation._per_thousand import PerThousand, per_thousand
from featx.evaluation._reference import DISTANCE_QUANTILE as DISTANCE_QUANTILE
from featx.evaluation._reference import Reference as Reference
from featx.evaluation._reference import average_over_grid as average_over_grid
from featx.evaluation._shift import Population, Shift, compare_populations
from featx.evaluation._subgroups import Subgroup, Subgroups, evaluate_subgroups, subgroup_columns
from featx.evaluation._wording import caveats, counts_in_words
from featx_cache._text import plural as plural

__all__ = [
    "METRIC_NAMES",
    "Contender",
    "DecisionCurve",
    "Difference",
    "Interval",
    "Metrics",
    "PerThousand",
    "Population",
    "Shift",
    "Subgroup",
    "Subgroups",
    "caveats",
    "compare_populations",
    "compare_runs",
    "counts_in_words",
    "decision_curve",
    "evaluate_scores",
    "evaluate_subgroups",
    "per_thousand",
    "subgroup_columns",
]
