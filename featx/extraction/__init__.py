"""From a manifest and a backbone to a filled cache."""

from featx.extraction._engines import DaskEngine, LocalEngine
from featx.extraction._extract import ExtractionOptions, ExtractionReport, extract
from featx.extraction._pipeline import DECODERS, embed_filled, stack, to_storage
from featx.extraction._spec import ExtractionSpec, embedding_fields, spec_of
from featx.extraction._standardization import standardize
from featx_cache import open_cache as load_cache

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
    "load_cache",
    "spec_of",
    "stack",
    "standardize",
    "to_storage",
]
