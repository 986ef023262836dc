"""A run in the hospital: the worklist page, the REST API and what starts them.

Nothing is imported before it is used: the command line takes the names of hosts from here.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
