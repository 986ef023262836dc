from ._figures import show_data as show_data
from ._findings import Finding as Finding
from ._inspect import Inspection as Inspection
from ._inspect import inspect as inspect
from ._new_splits import fold_manifest as fold_manifest
from ._new_splits import split_manifest as split_manifest
