"""From a manifest and a backbone to a filled cache."""

from featx.extraction.extract import ExtractionOptions, ExtractionReport, extract
from featx.extraction.pipeline import stack, to_storage
from featx.extraction.spec import ExtractionSpec

__all__ = [
    "ExtractionOptions",
    "ExtractionReport",
    "ExtractionSpec",
    "extract",
    "stack",
    "to_storage",
]
