"""All checks of a data set, one page."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from featx._progress import SILENT, Progress
from featx.data import Manifest
from featx.data._links import linked
from featx.inspection._duplicates import check_duplicates, near_pairs
from featx.inspection._findings import Finding, worst_first
from featx.inspection._left_out import check_left_out
from featx.inspection._measure_images import Measurements, measure
from featx.inspection._pixels import check_pixels
from featx.inspection._shortcuts import check_shortcuts
from featx.inspection._splits import SPLIT_ORDER, check_splits
from featx_cache._index import TEXT


@dataclass(frozen=True, slots=True)
class Inspection:
    """A data set and what was found in it.

    Attributes
    ----------
    manifest
        The images.
    measured
        Their numbers.
    near
        Links between images that look the same, as positions; see `near_pairs`.
    findings
        Worst first.
    """

    manifest: Manifest
    measured: Measurements
    near: list[tuple[int, int]]
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing was found that makes results wrong."""
        return all(finding.severity != "error" for finding in self.findings)


def inspect(
    manifest: Manifest, *, jobs: int | None = None, progress: Progress = SILENT
) -> Inspection:
    """Decode every image once and run all checks that need no embeddings.

    Parameters
    ----------
    manifest
        The images.
    jobs
        Threads; None is one a core.
    progress
        Shows how far it got.

    Returns
    -------
    Inspection
    """
    measured = measure(manifest, jobs=jobs, progress=progress)
    near = near_pairs(measured, manifest.table["sha256"].tolist())
    findings = [
        *check_left_out(manifest),
        *check_splits(manifest),
        *check_duplicates(manifest, near),
        *check_pixels(manifest, measured),
        *check_shortcuts(manifest, measured),
    ]
    return Inspection(manifest, measured, near, worst_first(findings))


def fixed_splits(inspection: Inspection) -> Manifest:
    """Put every patient, with all duplicates of their images, into one split.

    The split is that which most of their images are in; of equally many, train before val before
    test, so that what is tested on was never seen.

    Returns
    -------
    Manifest
        The same images, with some in other splits.
    """
    manifest = inspection.manifest
    table = manifest.table
    sets = linked([table["group"].tolist(), table["sha256"].tolist()], inspection.near)
    counts = pd.crosstab(sets, table["split"]).reindex(columns=list(SPLIT_ORDER), fill_value=0)
    chosen = counts.to_numpy().argmax(axis=1)[sets]  # the first of equals
    split = pd.Series([SPLIT_ORDER[number] for number in chosen], dtype=TEXT)
    return replace(manifest, table=table.assign(split=split))
