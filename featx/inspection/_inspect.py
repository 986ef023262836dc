"""All checks of a data set, and what they found."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from featx._progress import Progress, progress_of
from featx.data import ImageSource, Manifest, ReadingOptions, positive_sentence
from featx.data._links import linked
from featx.data._load import read_manifest
from featx.data._manifest import SPLITS
from featx.inspection._duplicates import check_duplicates, near_pairs
from featx.inspection._findings import SEVERITIES, Finding, worst_first
from featx.inspection._left_out import check_left_out
from featx.inspection._measure_images import Measurements, measure
from featx.inspection._pixels import check_pixels
from featx.inspection._shortcuts import check_shortcuts
from featx.inspection._splits import check_splits
from featx_cache import Cache, open_cache
from featx_cache._index import TEXT
from featx_cache._text import plural


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """Findings in a data set. `inspect` makes one.

    Attributes
    ----------
    manifest
        Images that were looked at.
    measured
        Numbers of each image.
    near
        Links between images that look the same, as positions in the manifest.
    findings
        Findings, worst first.
    labels
        Images by how doubtful their label is: path, label, score (of the positive class) and
        doubtful. None if there were no embeddings to judge them by.

    Examples
    --------
    >>> import featx
    >>> inspection = featx.inspect("chest_xray")  # doctest: +SKIP
    >>> inspection.ok  # doctest: +SKIP
    False
    >>> inspection.fix_splits().save("manifest.csv")  # doctest: +SKIP
    """

    manifest: Manifest
    measured: Measurements
    near: Sequence[tuple[int, int]]
    findings: Sequence[Finding]
    labels: pd.DataFrame | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing was found that makes results wrong."""
        return all(finding.severity != "error" for finding in self.findings)

    def __repr__(self) -> str:
        counts = Counter(finding.severity for finding in self.findings)
        said = [plural(counts[s], s) for s in SEVERITIES if counts[s]]
        images = plural(len(self.manifest), "image")
        return f"Inspection({images}: {', '.join(said) or 'nothing found'})"

    def _repr_html_(self) -> str:
        said = f"{self!r}. {positive_sentence(self.manifest.classes)}"
        table = self.to_frame().to_html(index=False, border=0) if self.findings else ""
        return f"<p>{html.escape(said)}</p>{table}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row a finding: severity, check, count, title, examples, advice."""
        names = ["severity", "check", "count", "title", "examples", "advice"]
        rows = [[getattr(finding, name) for name in names] for finding in self.findings]
        table = pd.DataFrame(rows, columns=names)
        return table.assign(examples=["; ".join(examples) for examples in table["examples"]])

    def to_dict(self) -> dict[str, Any]:
        """Return counts and findings as JSON can hold them."""
        manifest, counts = self.manifest, self.manifest.counts()
        return {
            "ok": self.ok,
            "images": len(manifest),
            "patients": int(manifest.table["group"].nunique()),
            "classes": list(manifest.classes),
            "positive_class": manifest.classes[1],
            "counts": {
                str(s): {str(c): int(n) for c, n in row.items()} for s, row in counts.iterrows()
            },
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def fix_splits(self) -> Manifest:
        """Return a manifest in which no patient and no duplicate is in two splits.

        A patient's images and all their duplicates go to the split that most of them are in. Of
        equally many, train comes before val and test: what is tested on was then never seen.
        """
        table = self.manifest.table
        sets = linked([table["group"].tolist(), table["sha256"].tolist()], self.near)
        counts = pd.crosstab(sets, table["split"]).reindex(columns=list(SPLITS), fill_value=0)
        chosen = counts.to_numpy().argmax(axis=1)[sets]  # the first of equals
        split = pd.Series([SPLITS[number] for number in chosen], dtype=TEXT)
        return replace(self.manifest, table=table.assign(split=split))

    def draw_doubtful_labels(self, path: str | Path, *, force: bool = False) -> bool:
        """Draw the 25 images with the most doubtful labels as PNG and, beside it, as SVG.

        Parameters
        ----------
        path
            PNG file to write.
        force
            Whether a sheet that featx drew before is replaced.

        Returns
        -------
        bool
            Whether there was something to draw. Without embeddings no label is judged.

        Raises
        ------
        InputError
            If a file is in the way.
        StorageError
            If it can't be written.
        """
        from featx.inspection._figures import draw_labels

        if self.labels is None or self.labels.empty:
            return False
        draw_labels(self.manifest, self.labels, Path(path), force=force)
        return True


def inspect(
    data: ImageSource,
    *,
    cache: Cache | str | Path | None = None,
    jobs: int | None = None,
    progress: Progress | bool = True,
) -> Inspection:
    """Look for what makes results wrong: leaks between splits, duplicates, shortcuts and more.

    Every image is decoded once.

    Parameters
    ----------
    data
        Manifest, or anything that `featx.load_manifest` takes. All columns of a table are checked.
    cache
        Embeddings of these images, or their folder. With them labels that look wrong are found.
    jobs
        Number of threads. None is one a core.
    progress
        Bars by default. False is silent.

    Returns
    -------
    Inspection

    Raises
    ------
    InputError
        If the data can't be read, or a class has too few patients in the cache to judge labels.

    Examples
    --------
    >>> import featx
    >>> featx.inspect("chest_xray")  # doctest: +SKIP
    Inspection(5,856 images: 1 error, 3 warnings, 2 notes)
    """
    progress = progress_of(progress)
    manifest = read_manifest(data, ReadingOptions(keep=None), progress)
    opened = open_cache(cache) if isinstance(cache, str | Path) else cache
    measured = measure(manifest, jobs=jobs, progress=progress)
    near = near_pairs(measured, manifest.table["sha256"].tolist())
    findings = [
        *check_left_out(manifest),
        *check_splits(manifest),
        *check_duplicates(manifest, near),
        *check_pixels(manifest, measured),
        *check_shortcuts(manifest, measured),
    ]
    labels = None
    if opened is not None:
        from featx.inspection._doubtful_labels import check_labels, rank_labels

        labels = rank_labels(manifest, opened, progress=progress)
        findings += check_labels(manifest, labels)
    if not isinstance(data, Manifest):  # all columns are looked at, and none is kept unasked
        manifest = manifest.with_columns(())
    return Inspection(manifest, measured, near, worst_first(findings), labels)
