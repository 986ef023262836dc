"""Looking at a data set before trusting it: checks, figures, new splits.

Nothing is imported before it is used, because the processes that decode images need little of it.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
