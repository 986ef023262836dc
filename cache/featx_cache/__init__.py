"""The embedding cache: HDF5 shards under one virtual index. Needs h5py, NumPy and pandas only.

`open_cache` reads a finished cache, and `example_cache` makes a small one of random numbers.
Nothing is imported before it is used, so that errors can be caught without loading HDF5.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
