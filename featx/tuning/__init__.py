"""From a cache and heads to an Optuna study of operating points."""

from featx.tuning._spec import Budget, SearchSpec

__all__ = ["Budget", "SearchSpec"]
