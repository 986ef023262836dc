"""From a manifest and a backbone to a filled cache."""

from featx.extraction.engines import DaskEngine, LocalEngine
from featx.extraction.extract import ExtractionOptions, ExtractionReport, extract
from featx.extraction.pipeline import DECODERS, embed_filled, stack, to_storage
from featx.extraction.spec import ExtractionSpec, embedding_fields, spec_of
from featx.extraction.standardizing import standardize

__all__ = [
    "DECODERS",
    "DaskEngine",
    "ExtractionOptions",
    "ExtractionReport",
    "ExtractionSpec",
    "LocalEngine",
    "embed_filled",
    "embedding_fields",
    "extract",
    "spec_of",
    "stack",
    "standardize",
    "to_storage",
]
