from ._compare_heads import Comparison as Comparison
from ._compare_heads import fit_heads as fit_heads
from ._fit import fit as fit
from ._tune import tune as tune
