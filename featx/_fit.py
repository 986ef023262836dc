"""`featx.fit`, which gives a `Run`."""

from featx import fitting
from featx._run import as_run

fit = as_run(fitting.fit)
