"""`featx.tune`, which gives a `Run`. Fitting needs none of what is imported here."""

from featx import fitting
from featx._run import as_run

tune = as_run(fitting.tune)
