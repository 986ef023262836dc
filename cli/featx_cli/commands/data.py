"""``featx data``: know what you train on."""

from __future__ import annotations

import json as json_module
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx_cli import completion
from featx_cli.console import TerminalProgress, output, say
from featx_cli.data_options import (
    DataArgument,
    load_data,
    tell_positive,
    warn_of_positive,
    with_reading_options,
)
from featx_cli.files import ForceOption, require_output, to_standard_output
from featx_cli.options import with_options
from featx_cli.tables import plain_table
from featx_cli.tensorflow import import_quietly

if TYPE_CHECKING:
    from featx.data import Manifest, ReadingOptions
    from featx.inspection import Finding, Inspection

app = typer.Typer(
    help="Know what you train on: check a data set, split it, look at it, fetch a public one.",
    no_args_is_help=True,
)

SeedOption = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]


@app.command(epilog="\b\nExample:  featx data check chest_xray --fix-splits manifest.csv")
@with_reading_options()
def check(
    data: DataArgument,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, not a page.")] = False,
    fix_splits: Annotated[
        Path | None,
        typer.Option(
            "--fix-splits",
            metavar="OUT.csv",
            help="Manifest to write, in which no patient and no duplicate is in two splits.",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="CACHE",
            help="Embeddings of these images. With them labels that look wrong are listed, too.",
        ),
    ] = None,
    sheet: Annotated[
        Path,
        typer.Option(
            "--sheet",
            metavar="FILE.png",
            help="Drawing of the 25 most doubtful labels, with --cache.",
        ),
    ] = Path("doubtful-labels.png"),
    force: ForceOption = False,
    *,
    reading: ReadingOptions,
) -> None:
    """Look for what makes results wrong, and say what to do about it.

    Every image is decoded once. The exit code is 1 if something makes results wrong: patients or
    duplicates in several splits, duplicates with different labels, a split without a class.
    Warnings and notes leave it at 0.
    """
    from featx.inspection import inspect
    from featx.inspection._figure_files import require_figures

    if fix_splits is not None:
        _require_new(fix_splits, "--fix-splits", force, [data])
    if cache is not None:
        require_figures([sheet], force)
        import_quietly()
    # All columns are looked at, and none but those in `keep` is written.
    manifest = load_data(data, replace(reading, keep=None), tell_unused=False)
    inspection = inspect(manifest, cache=cache, progress=TerminalProgress())
    if inspection.draw_doubtful_labels(sheet, force=force):
        say(f"The most doubtful labels are drawn in {sheet}.")
    if fix_splits is not None:
        fixed = inspection.fix_splits().with_columns(reading.keep or ())
        moved = int((fixed.table["split"] != manifest.table["split"]).sum())
        _save(fixed, fix_splits, "--fix-splits", force, [data])
        say(f"{moved} of {len(fixed)} images are in another split in {fix_splits}.")
    if to_standard_output(fix_splits):
        pass  # which has room for nothing else
    elif json:
        typer.echo(json_module.dumps(_as_dict(data, inspection, reading), indent=2))
    else:
        _print_page(data, inspection, reading)
    if not inspection.ok:
        raise typer.Exit(1)


@app.command(epilog="\b\nExample:  featx data split chest_xray --out manifest.csv --test 0.2")
@with_reading_options()
def split(
    data: DataArgument,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="M.csv", help="Manifest to write, .csv or .parquet."),
    ],
    test: Annotated[float | None, typer.Option(help="Share for testing. Default: 0.15.")] = None,
    val: Annotated[float | None, typer.Option(help="Share for validation. Default: 0.15.")] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Number of folds, for a column `fold`. All images are then in train."),
    ] = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    *,
    reading: ReadingOptions,
) -> None:
    """Divide images anew into train, val and test.

    Classes are in every split in the same proportion. A patient's images, byte-identical images and
    images that look the same stay together. Old splits don't matter.
    """
    from featx.data import healthy_first
    from featx.errors import InputError
    from featx.inspection import fold_manifest, split_manifest
    from featx.inspection._new_splits import DEFAULT_SHARE

    if folds is not None and (test is not None or val is not None):
        raise InputError("--folds can't be had with --test or --val", "Leave one of them out.")
    _require_new(out, "--out", force, [data])
    manifest = load_data(data, reading)
    if folds is not None:
        result = fold_manifest(manifest, folds, seed=seed, progress=TerminalProgress())
    else:
        result = split_manifest(
            manifest,
            test=DEFAULT_SHARE if test is None else test,
            val=DEFAULT_SHARE if val is None else val,
            seed=seed,
            progress=TerminalProgress(),
        )
    saved = _save(result, out, "--out", force, [data])
    warn_of_positive(saved.classes, chosen=reading.chooses_positive)
    if to_standard_output(out):
        return
    tell_positive(saved.classes)
    _print_counts(saved, "fold" if folds is not None else "split")
    more = "" if saved.root == out.resolve().parent else f" --root {saved.root}"
    if saved.classes != tuple(healthy_first(saved.classes)):
        more += f" --positive {saved.classes[1]}"
    more += "".join(f" --keep {name}" for name in reading.keep or () if name in saved.table)
    say(f"Next: featx extract {out}{more} --cache CACHE")


@app.command(epilog="\b\nExample:  featx data show chest_xray --out pictures")
@with_reading_options(keep=False)
def show(
    data: DataArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the figures, PNG and SVG.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            "--augment",
            "--preset",
            help="Augmentation to show: shift, study, chest or none.",
            autocompletion=completion.one_of(*completion.PRESETS),
        ),
    ] = "shift",
    seed: SeedOption = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace figures of an earlier `featx data show`.")
    ] = False,
    *,
    reading: ReadingOptions,
) -> None:
    """Draw a data set: counts, sizes, sample images, mean images, augmented copies."""
    from featx.images import preset_augmentation
    from featx.inspection import show_data
    from featx.inspection._figure_files import require_figures
    from featx.inspection._figures import FIGURES

    augmentation = preset_augmentation(preset, seed=seed)
    require_figures([out / f"{name}.png" for name in FIGURES], force)
    manifest = load_data(data, reading)
    paths = show_data(
        manifest,
        out,
        augmentation=augmentation,
        seed=seed,
        force=force,
        progress=TerminalProgress(),
    )
    for path in paths:
        output().print(str(path), soft_wrap=True)


@app.command(epilog="\b\nExample:  featx data fetch pneumoniamnist-224 --out data")
def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Data set: pneumoniamnist (28x28, 4 MB), pneumoniamnist-224 (224x224, 200 MB), or "
            "chest-xray-pneumonia (original images, 2.3 GB unpacked, by kagglehub).",
            autocompletion=completion.one_of(*completion.DATA_SETS),
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the download.")] = (
        Path("data")
    ),
    mirror: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Folder on the web to take the .npz file from instead."),
    ] = None,
) -> None:
    """Download a public chest X-ray set, check it against its pinned hash, and say where it is.

    All three are the same children's X-rays: Kermany, Zhang, Goldbaum, "Labeled Optical Coherence
    Tomography (OCT) and Chest X-Ray Images for Classification", Mendeley Data, CC BY 4.0.
    """
    from featx.data import fetch_data

    path = fetch_data(name, out, mirror=mirror, progress=TerminalProgress())
    output().print(str(path), soft_wrap=True)
    say(f"Next: featx data check {path}")


def _require_new(path: Path, option: str, force: bool, inputs: list[Path]) -> None:
    """Refuse a manifest's name before the long work: another suffix, or a file that is there."""
    from featx.data._manifest import require_manifest_name

    require_manifest_name(path)
    require_output(path, option, force=force, inputs=inputs)


def _save(manifest: Manifest, out: Path, option: str, force: bool, inputs: list[Path]) -> Manifest:
    """Write a manifest whose paths are relative to its own folder, if it can."""
    from featx_cache.files import is_stream, lock

    seen = manifest.seen_from(out.parent)
    if is_stream(out):
        seen.save(out)
        return seen
    with lock(out):
        _require_new(out, option, force, inputs)  # somebody may have written it meanwhile
        seen.save(out, force=force)
    return seen


def _as_dict(data: Path, inspection: Inspection, reading: ReadingOptions) -> dict[str, Any]:
    from featx.data import positive_warning

    classes, found = inspection.manifest.classes, inspection.to_dict()
    for finding in found["findings"]:
        finding["advice"] = with_options(finding["advice"])
    warning = with_options(positive_warning(classes, chosen=reading.chooses_positive))
    return {"data": str(data), "positive_warning": warning, **found}


def _print_page(data: Path, inspection: Inspection, reading: ReadingOptions) -> None:
    from featx.data import positive_warning

    classes, console = inspection.manifest.classes, output()
    tell_positive(classes)
    if warning := positive_warning(classes, chosen=reading.chooses_positive):
        console.print(warning, soft_wrap=True)
    _print_counts(inspection.manifest, "split", f"{data}")
    for finding in inspection.findings:
        _print_finding(finding)
    if not inspection.findings:
        console.print("Nothing was found.")
    elif inspection.ok:
        console.print("Nothing was found that makes results wrong.")
    else:
        errors = sum(finding.severity == "error" for finding in inspection.findings)
        things = "1 thing" if errors == 1 else f"{errors} things"
        console.print(f"{things} would make results wrong.")


def _print_finding(finding: Finding) -> None:
    from rich.padding import Padding
    from rich.text import Text

    styles = {"error": "bold red", "warning": "bold yellow", "note": "bold"}
    console = output()
    line = Text(f"{finding.severity.upper():<8}", styles[finding.severity])
    console.print(
        line.append(finding.title[:1].upper() + finding.title[1:], "bold"), soft_wrap=True
    )
    for example in finding.examples:
        console.print(Text(f"        {example}"), soft_wrap=True)
    console.print(Padding(Text(f"-> {with_options(finding.advice)}"), (0, 0, 0, 8)))
    console.print()


def _print_counts(manifest: Manifest, column: str, title: str = "") -> None:
    negative, positive = manifest.classes
    names = (column, "patients", "images", negative, positive, f"{positive} share")
    page = plain_table(title, names)
    for name, row in manifest.counts_and_patients(column).iterrows():
        share = row[positive] / row["images"]
        page.add_row(str(name), *map(str, row), f"{share:.0%}")
    output().print(page)
