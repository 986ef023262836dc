"""featx: chest X-ray classifiers on frozen embeddings that are computed once and cached.

The table of contents: `load_manifest` makes a manifest, `load_backbone` a frozen network, `extract`
a cache, `fit` and `tune` a run; `load_cache` and `load_run` open them again. Nothing heavy is
imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx.backbones import load_backbone
    from featx.data import Manifest, fold_manifest, load_manifest, scan_folder, split_manifest
    from featx.errors import FeatxError
    from featx.extraction import extract
    from featx.heads import HeadSpec
    from featx.images import AugmentationSpec
    from featx.inspection import inspect
    from featx.runs import fit, fit_heads, load_run, tune
    from featx.thresholds import choose_threshold
    from featx.tuning import Budget, SearchSpec
    from featx_cache import open_cache as load_cache

_PLACES = {
    "AugmentationSpec": ("featx.images", "AugmentationSpec"),
    "Budget": ("featx.tuning", "Budget"),
    "FeatxError": ("featx.errors", "FeatxError"),
    "HeadSpec": ("featx.heads", "HeadSpec"),
    "Manifest": ("featx.data", "Manifest"),
    "SearchSpec": ("featx.tuning", "SearchSpec"),
    "choose_threshold": ("featx.thresholds", "choose_threshold"),
    "extract": ("featx.extraction", "extract"),
    "fold_manifest": ("featx.data", "fold_manifest"),
    "inspect": ("featx.inspection", "inspect"),
    "fit": ("featx.runs", "fit"),
    "fit_heads": ("featx.runs", "fit_heads"),
    "load_backbone": ("featx.backbones", "load_backbone"),
    "load_cache": ("featx_cache", "open_cache"),
    "load_manifest": ("featx.data", "load_manifest"),
    "load_run": ("featx.runs", "load_run"),
    "scan_folder": ("featx.data", "scan_folder"),
    "split_manifest": ("featx.data", "split_manifest"),
    "tune": ("featx.runs", "tune"),
}

__all__ = [
    "AugmentationSpec",
    "Budget",
    "FeatxError",
    "HeadSpec",
    "Manifest",
    "SearchSpec",
    "choose_threshold",
    "extract",
    "fit",
    "fit_heads",
    "fold_manifest",
    "inspect",
    "load_backbone",
    "load_cache",
    "load_manifest",
    "load_run",
    "scan_folder",
    "split_manifest",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'featx' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(importlib.import_module(module), attribute)
