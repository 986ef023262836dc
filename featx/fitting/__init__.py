"""From a cache to a run: heads are fitted, compared and tuned, and operating points chosen.

Nothing is imported before it is used, because fitting needs none of the databases of a search.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
