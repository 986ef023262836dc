"""From a manifest and a backbone to a filled cache."""

from featx.extraction.engines import DaskEngine, LocalEngine
from featx.extraction.extract import ExtractionOptions, ExtractionReport, extract
from featx.extraction.pipeline import stack, to_storage
from featx.extraction.spec import ExtractionSpec, spec_of
from featx.extraction.standardizing import standardize

__all__ = [
    "DaskEngine",
    "ExtractionOptions",
    "ExtractionReport",
    "ExtractionSpec",
    "LocalEngine",
    "extract",
    "spec_of",
    "stack",
    "standardize",
    "to_storage",
]
