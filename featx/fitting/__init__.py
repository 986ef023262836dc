"""From a cache to a run: heads are fitted, compared and tuned, and operating points chosen."""

from featx.fitting._compare_heads import Comparison, fit_heads
from featx.fitting._fit import fit
from featx.fitting._tune import tune

__all__ = ["Comparison", "fit", "fit_heads", "tune"]
