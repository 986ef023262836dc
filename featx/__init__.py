"""featx: chest X-ray classifiers on frozen embeddings that are computed once and cached.

The table of contents: `load_manifest` makes a manifest, `load_backbone` a frozen network, `extract`
a cache, `fit` and `tune` a run. `load_cache` and `load_run` open them again. Nothing heavy is
imported before it is used.
"""

import lazy_loader as lazy

from featx._silence import set_log_levels

set_log_levels()

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
