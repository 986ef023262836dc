"""Metrics as a table, from what a run's record or `Metrics.as_dict` has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

_NO_METRICS = frozenset({"images", "patients", "threshold"})


def metrics_frame(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a metric: its name, its value, and the ends of its 95 % interval.

    Examples
    --------
    >>> metrics_frame({"recall": 0.96, "intervals": {"recall": {"low": 0.92, "high": 0.98}}})
       metric  value   low  high
    0  recall   0.96  0.92  0.98
    """
    at_prevalence = metrics.get("at_prevalence") or {}
    values = {
        **{
            name: value
            for name, value in metrics.items()
            if name not in _NO_METRICS and (value is None or isinstance(value, float))
        },
        **{f"{k}_at_prevalence": v for k, v in at_prevalence.items() if k != "prevalence"},
    }
    intervals = metrics.get("intervals") or {}
    ends = [intervals.get(name) or {} for name in values]
    return pd.DataFrame(
        {
            "metric": list(values),
            "value": pd.Series(list(values.values()), dtype=float),
            "low": pd.Series([end.get("low") for end in ends], dtype=float),
            "high": pd.Series([end.get("high") for end in ends], dtype=float),
        }
    )
