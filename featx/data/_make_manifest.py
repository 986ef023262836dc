"""From a list of labelled files to a manifest: headers, patients, and what can't be read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from featx._progress import Progress
from featx.data._file_facts import read_all_facts
from featx.data._manifest import ImageInputError, Manifest, typed
from featx.data._options import ReadingOptions
from featx.data._patients import cause_of, group_of
from featx.errors import InputError

FILE_COLUMNS = ("sha256", "width", "height", "mode", "source")


def make_manifest(
    root: Path,
    listed: Mapping[str, Sequence[str]],
    classes: tuple[str, str],
    options: ReadingOptions,
    progress: Progress,
    left_out: Mapping[str, str] | None = None,
) -> Manifest:
    """Read the headers of listed files and make the manifest of those that can be read.

    Parameters
    ----------
    root, classes, options
        See `Manifest` and `ReadingOptions`.
    listed
        Columns path, label and split. A group may be empty. Other columns are kept as they are.
    progress
        Shows how many files have been read.
    left_out
        Relative path -> reason, for files of a folder that aren't used. DICOM objects that aren't
        images join them. If it is None, somebody listed these, and they count as unreadable.
    """
    pattern = compile_group(options.group_regex)
    paths = listed["path"]
    groups = list(listed.get("group") or [""] * len(paths))
    facts: dict[str, list[object]] = {name: [] for name in (*FILE_COLUMNS, "study")}
    kept: list[int] = []
    unreadable: dict[str, str] = {}
    met = dict(left_out or {})
    with progress.task("Reading files", len(paths), "image") as advance:
        for number, found in enumerate(read_all_facts(root, paths, options.pseudonyms)):
            advance(1)
            if found.problem:
                problems = met if found.no_image and left_out is not None else unreadable
                problems[paths[number]] = found.problem
                continue
            kept.append(number)
            if not groups[number]:
                known = found.patient if pattern is None else ""
                groups[number] = known or group_of(paths[number], pattern)
            for name, values in facts.items():
                values.append(getattr(found, name))
    if not any(facts["study"]):
        del facts["study"]
    columns = {**listed, "group": groups}
    causes = [cause_of(path) for path in paths]
    if any(causes):
        columns.setdefault("cause", causes)
    chosen: dict[str, Sequence[object]] = {n: [v[i] for i in kept] for n, v in columns.items()}
    manifest = Manifest(root, typed(chosen | facts), classes, unreadable, met)
    require_classes(manifest, dict(zip(paths, listed["label"], strict=True)))
    return manifest


def require_classes(manifest: Manifest, labels: Mapping[str, str]) -> None:
    """Refuse a class without a readable image. `labels` has all listed paths."""
    reasons = {**manifest.left_out, **manifest.unreadable}
    for label in manifest.classes:
        path = next((p for p, name in labels.items() if name == label), None)
        if path is not None and not (manifest.table["label"] == label).any():
            raise ImageInputError(
                path,
                f"class {label!r} has no readable image in {manifest.root} "
                f"(for example {path!r}: {reasons.get(path, 'left out')})",
            )


def compile_group(group_regex: str | None) -> re.Pattern[str] | None:
    """Compile `group_regex`, or say that it is no regular expression."""
    if group_regex is None:
        return None
    try:
        return re.compile(group_regex)
    except re.error as error:
        raise InputError(
            f"`group_regex` {group_regex!r} is not a regular expression: {error}"
        ) from error


def regroup(paths: Sequence[str], groups: Sequence[str], group_regex: str | None) -> list[str]:
    """Return the group of each image. If it has none, it is found in the path."""
    pattern = compile_group(group_regex)
    return [group or group_of(path, pattern) for path, group in zip(paths, groups, strict=True)]
