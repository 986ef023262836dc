"""Who a picture shows: from a hospital's files to a report, and every byte is searched for names.

DICOM headers, comments in PNG files, and the names of files are all of people. What a header says
is nowhere. What a file is called is in the places of `LISTS` alone, which have to name files.
"""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import io
import json
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import dcmread

from featx_cli.__main__ import _run
from featx_cli.console import Verbosity, set_verbosity
from tests.dicoms import dicom

HEADER = ("Quirrel", "Ñandú", "HID-4711", "ADDRESS 9", "1.2.826.0.99")
"""Of the patient and the study, in headers and comments: family and given name, number, and so
on."""

FILE = ("Zwicky", "Fritz", "19330812")
"""In the names of files."""

LISTS = (
    # The working files of whoever has the images: they say which image is which.
    "cache/index.h5", "run*/oof.csv", "run*/calibration.csv", "manifest.csv", "verdicts.*",
    "why/explanations.*", "doubtful-labels.*",
)  # fmt: skip


def forms(word: str) -> set[bytes]:
    """Return the bytes that a word may be written as."""
    texts = {word, word.lower(), word.upper(), json.dumps(word)[1:-1]}
    kinds = ("utf-8", "utf-16-le", "utf-16-be", "latin-1", "utf-32-le")
    return {text.encode(kind) for text in texts for kind in kinds}


def within(content: bytes, words: tuple[str, ...]) -> set[str]:
    """Return the words that are in some bytes."""
    return {word for word in words if any(form in content for form in forms(word))}


def contents(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, and what is packed or compressed in it."""
    raw = path.read_bytes()
    yield raw
    if path.suffix == ".h5":
        yield from _of_hdf5(path)
    elif path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            yield repr(image.info).encode()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif path.suffix == ".html":
        yield from (base64.b64decode(m) for m in re.findall(rb";base64,([\w+/=]+)", raw))


def _of_hdf5(path: Path) -> Iterator[bytes]:
    found: list[bytes] = []

    def visit(_: str, item: h5py.Group | h5py.Dataset) -> None:
        found.extend(repr(value).encode() for value in item.attrs.values())
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "SO":
            found.extend(np.ravel(item[()]).astype("S").tolist())

    with h5py.File(path) as file:
        file.visititems(visit)
        visit("/", file["/"])
    yield from found


@dataclass
class CommandOutput:
    """All that the commands left: files, and what was on the screen, in warnings and in logs."""

    folder: Path
    screen: dict[str, str] = field(default_factory=dict)

    def files(self) -> dict[str, set[bytes]]:
        made = (path for path in self.folder.rglob("*") if path.is_file())
        names = {path.relative_to(self.folder).as_posix(): path for path in made}
        return {
            name: set(contents(path))
            for name, path in names.items()
            if not name.startswith("pictures/")
        }

    def run(self, *arguments: str | Path, codes: tuple[int, ...] = (0,)) -> None:
        out, err, log = io.StringIO(), io.StringIO(), io.StringIO()
        handler = logging.StreamHandler(log)
        logging.getLogger().addHandler(handler)
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                warnings.catch_warnings(record=True) as warned,
            ):
                warnings.simplefilter("always")
                code = _run(["-v", *map(str, arguments)])
        finally:
            logging.getLogger().removeHandler(handler)
            set_verbosity(Verbosity.NORMAL)
        assert code in codes, (arguments, err.getvalue())
        text = "".join(f"{warning.message}\n" for warning in warned)
        words = (str(argument) for argument in arguments)
        self.screen[" ".join(word for word in words if not word.startswith("/"))] = (
            out.getvalue() + err.getvalue() + log.getvalue() + text
        )


def draw(folder: Path, seed: int, splits: tuple[str, ...]) -> Path:
    """Draw two views of twelve patients a split, of a hospital that calls files by the patient."""
    random = np.random.default_rng(seed)
    for number in range(12 * len(splits)):
        label, split = ("NORMAL", "PNEUMONIA")[number % 2], splits[number // 12]
        pixels = random.integers(0, 2000, (40, 40)).astype(np.uint16) + 900 * (number % 2)
        for view in range(2):
            name = f"Zwicky_Fritz_{number}_19330812-{view}"
            place = folder / split / label
            if number % 4 < 2:
                dicom(place / f"{name}.dcm", pixels + view, **header(number))
            else:
                png(place / f"{name}.png", (pixels // 12 + view).astype(np.uint8))
    return folder


def header(number: int) -> dict[str, Any]:
    """Return the header of a talkative machine. Some of it breaks DICOM's rules."""
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Quirrel^Ñandú",
        "PatientID": f"HID-4711-{number}",
        "OtherPatientNames": "Quirrel^Ñandú",
        "PatientAddress": "ADDRESS 9",
        "StudyInstanceUID": f"1.2.826.0.99.{number}",
        "SeriesInstanceUID": f"1.2.826.0.99.1.{number}",
        "AccessionNumber": "HID-4711-ACC",
        "StudyDescription": "Chest of Quirrel",
        "ImageComments": "Quirrel",
        "BitsStored": 12,
        "HighBit": 11,
    }


def png(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    comments = PngInfo()
    comments.add_text("Comment", "Quirrel, Ñandú, HID-4711")
    Image.fromarray(pixels).save(path, pnginfo=comments)


def spoil(folder: Path) -> None:
    """Add DICOM files that can't be read, each in a way whose complaint might quote the header."""
    pixels = np.zeros((40, 40), np.uint16)
    number = 100

    def one(**elements: Any) -> Path:
        nonlocal number
        number += 1
        path = folder / f"Zwicky_Fritz_{number}_19330812-0.dcm"
        return dicom(path, pixels, **{**header(number), **elements})

    one(PixelData=b"\0" * 99)
    one(PhotometricInterpretation="QUIRREL")
    one(BurnedInAnnotation="YES")
    one(NumberOfFrames=7)
    one(Rows=None)
    path = one(WindowCenter="33.5", WindowWidth="77.5", PatientBirthDate="19000101")
    raw = path.read_bytes()
    for old, new in ((b"33.5", b"Quir"), (b"77.5", b"rel "), (b"19000101", b"Quirrel ")):
        assert old in raw
        raw = raw.replace(old, new)
    path.write_bytes(raw)
    whole = one().read_bytes()
    (folder / "Zwicky_Fritz_201_19330812-0.dcm").write_bytes(whole[:700])
    (folder / "Zwicky_Fritz_202_19330812-0.dcm").write_bytes(b"Quirrel" * 40)
    syntax = b"1.2.840.10008.1.2.1\0"
    assert syntax in whole
    unknown = whole.replace(syntax, b"1.2.826.0.99.999999\0"[: len(syntax)])
    (folder / "Zwicky_Fritz_203_19330812-0.dcm").write_bytes(unknown)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandOutput]:
    """Everything that can be done with two hospitals' images."""
    folder = tmp_path_factory.mktemp("privacy")
    data = draw(folder / "pictures" / "ours", 1, ("train", "test"))
    spoil(data / "train" / "NORMAL")
    theirs = draw(folder / "pictures" / "theirs", 2, ("",))
    cache, run, out, one = folder / "cache", folder / "run", folder / "out", folder / "why"
    some = sorted((theirs / "NORMAL").iterdir())[0]
    tiny = ["--backbone", "vgg16", "--weights", "random", "--input-size", "32", "--copies", "0"]
    loose = ["--accuracy-floor", "0.4"]
    made = CommandOutput(folder)
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.delenv("FEATX_SALT", raising=False)
        patch.setattr("platformdirs.user_config_path", lambda name: folder / "config" / name)
        made.run("data", "check", data, codes=(0, 1))
        made.run("data", "check", data, "--json", codes=(0, 1))
        made.run("data", "split", data, "--out", folder / "manifest.csv")
        made.run("data", "show", data, "--out", folder / "figures")
        made.run("extract", data, "--cache", cache, *tiny)
        made.run("cache", "info", cache, "--json")
        made.run("data", "check", data, "--cache", cache, codes=(0, 1))
        made.run("fit", cache, "--head", "logreg", "--run", run, *loose)
        made.run("evaluate", run, "--json", folder / "evaluation.json")
        made.run("calibrate", run, theirs, "--run", folder / "run-theirs", *loose)
        made.run("predict", run, theirs, "--format", "csv", "--out", folder / "verdicts.csv")
        made.run("explain", run, some, "--out", one)
        made.run("report", run, folder / "run-theirs", "--out", out / "report.html")
        yield made


@pytest.mark.long
def test_what_a_header_says_is_in_no_file(told: CommandOutput) -> None:
    found = {name: within(b"\n".join(parts), HEADER) for name, parts in told.files().items()}
    assert len(found) > 20
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.long
def test_what_a_header_says_is_not_told(told: CommandOutput) -> None:
    found = {name: within(text.encode(), HEADER) for name, text in told.screen.items()}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.long
def test_names_of_files_are_in_working_lists_alone(told: CommandOutput) -> None:
    files = told.files()
    named = {name for name, parts in files.items() if within(b"\n".join(parts), FILE)}
    listed = {name for name in files if any(fnmatch.fnmatch(name, kind) for kind in LISTS)}
    assert named <= listed, sorted(named - listed)
    assert {name.split("/")[-1] for name in named} >= {"index.h5", "oof.csv", "manifest.csv"}


def test_the_search_would_find_a_name(tmp_path: Path) -> None:
    made = CommandOutput(tmp_path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=[b"Quirrel"] * 99, compression="gzip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c", "x" * 99 + "Quirrel")
    (tmp_path / "d.txt").write_bytes("Ñandú".encode("utf-16"))
    (tmp_path / "e.json").write_text(json.dumps("Ñandú"))
    png(tmp_path / "f.png", np.zeros((9, 9), np.uint8))
    assert all(within(b"\n".join(parts), HEADER) for parts in made.files().values())
    header_of = dcmread(dicom(tmp_path / "g.dcm", np.zeros((9, 9), np.uint16), **header(0)))
    assert within(str(header_of).encode(), HEADER) == set(HEADER)
