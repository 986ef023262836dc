"""From a fitted model's scores to metrics with confidence intervals."""

from featx.evaluation.metrics import Interval, Metrics, evaluate_scores

__all__ = ["Interval", "Metrics", "evaluate_scores"]
