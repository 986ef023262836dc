"""From a manifest and a backbone to a filled cache."""

from featx.extraction._engines import DaskEngine, LocalEngine
from featx.extraction._extract import extract
from featx.extraction._extract_images import ExtractionOptions, ExtractionReport, extract_images
from featx.extraction._spec import ExtractionSpec
from featx_cache import open_cache as load_cache

__all__ = [
    "DaskEngine",
    "ExtractionOptions",
    "ExtractionReport",
    "ExtractionSpec",
    "LocalEngine",
    "extract",
    "extract_images",
    "load_cache",
]
