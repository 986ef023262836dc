"""DICOM headers: who an image shows, under a pseudonym, and what isn't an image."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    MediaStorageDirectoryStorage,
)

from featx.data import Manifest, load_manifest
from featx.data._dicom import NoImageError, NotAnImageError, Pseudonyms, own_salt, read_header
from featx.errors import InputError
from featx.images import UnreadableImageError, decode
from tests.dicoms import PATIENT, Raw, dicom
from tests.featx.data.test_folders import draw
from tests.processes import Server

GREY = np.arange(48, dtype=np.uint16).reshape(6, 8)


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("FEATX_SALT", raising=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two patients with two images, one without an ID, and a PNG."""
    folder = tmp_path / "data"
    dicom(folder / "SICK" / "a.dcm", GREY)
    dicom(folder / "SICK" / "1.2.840.7", GREY + 1, StudyInstanceUID="1.2.3.5")
    dicom(folder / "SICK" / "IM000001", GREY + 2, PatientID="Q-4712")
    dicom(folder / "HEALTHY" / "b.DCM", GREY + 3, PatientID="", StudyInstanceUID="1.9")
    draw(folder / "HEALTHY" / "c.png")
    (folder / "SICK" / "README").write_text("not an image")
    return folder


def by_path(manifest: Manifest, column: str) -> dict[str, str]:
    return dict(zip(manifest.table["path"], manifest.table[column], strict=True))


class TestFolders:
    def test_files_are_found_by_suffix_or_by_content(self, data: Path) -> None:
        manifest = load_manifest(data)
        assert manifest.table["path"].tolist() == [
            "HEALTHY/b.DCM",
            "HEALTHY/c.png",
            "SICK/1.2.840.7",
            "SICK/IM000001",
            "SICK/a.dcm",
        ]
        assert by_path(manifest, "source")["SICK/IM000001"] == "DICOM"
        assert by_path(manifest, "mode")["SICK/a.dcm"] == "MONOCHROME2"
        assert manifest.table["width"].tolist() == [8] * 5
        assert manifest.table["height"].tolist() == [6, 8, 6, 6, 6]

    def test_a_kind_of_pixels_that_dicom_does_not_know_could_be_anything(
        self, tmp_path: Path
    ) -> None:
        pixels = np.zeros((6, 8), np.uint16)
        dicom(tmp_path / "SICK" / "a.dcm", pixels, PhotometricInterpretation="DOE JANE")
        dicom(tmp_path / "WELL" / "b.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
        modes = by_path(load_manifest(tmp_path), "mode")
        assert modes == {"SICK/a.dcm": "", "WELL/b.dcm": "MONOCHROME1"}

    def test_patients_are_those_of_the_headers(self, data: Path) -> None:
        group = by_path(load_manifest(data), "group")
        assert group["SICK/a.dcm"] == group["SICK/1.2.840.7"] != group["SICK/IM000001"]
        assert len(set(group.values())) == 4
        assert group["HEALTHY/c.png"] == "HEALTHY/c.png"

    def test_studies_are_a_column(self, data: Path) -> None:
        study = by_path(load_manifest(data), "study")
        assert study["SICK/a.dcm"] == study["SICK/IM000001"] != study["SICK/1.2.840.7"]
        assert study["HEALTHY/c.png"] == ""

    def test_a_group_regex_goes_first(self, data: Path) -> None:
        group = by_path(load_manifest(data, group_regex=r"([^/]+)$"), "group")
        assert group["SICK/a.dcm"] == "a.dcm"

    def test_an_issuer_tells_equal_numbers_apart(self, tmp_path: Path) -> None:
        dicom(tmp_path / "A" / "a.dcm", GREY, IssuerOfPatientID="north")
        dicom(tmp_path / "B" / "b.dcm", GREY + 1, IssuerOfPatientID="south")
        assert load_manifest(tmp_path).table["group"].nunique() == 2


class TestPseudonyms:
    def test_no_identifier_reaches_the_manifest(self, data: Path, tmp_path: Path) -> None:
        load_manifest(data).save(tmp_path / "m.csv")
        text = (tmp_path / "m.csv").read_text()
        assert not any(word in text for word in ("Q-4711", "Q-4712", "Doe", "1.2.3.4", "1.9"))

    def test_they_are_the_same_the_next_time_and_others_with_another_salt(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = load_manifest(data).table
        assert load_manifest(data).table.equals(first)
        monkeypatch.setenv("FEATX_SALT", "a secret")
        other = load_manifest(data).table
        assert not other["group"].equals(first["group"])
        assert load_manifest(data).table.equals(other)

    def test_identifiers_are_kept_on_request(self, data: Path) -> None:
        group = by_path(load_manifest(data, keep_identifiers=True), "group")
        assert group["SICK/a.dcm"] == "Q-4711"
        assert group["HEALTHY/b.DCM"] == "1.9"

    def test_the_salt_is_long_private_and_made_once(self, tmp_path: Path) -> None:
        salt = own_salt()
        assert len(salt) == 64
        assert own_salt() == salt
        file = tmp_path / "config" / "featx" / "salt"
        assert file.read_text() == salt.decode()
        assert file.stat().st_mode & 0o077 == 0

    def test_the_salt_isn_t_made_without_need(self, tmp_path: Path) -> None:
        draw(tmp_path / "data" / "A" / "a.png", 1)
        draw(tmp_path / "data" / "B" / "b.png", 2)
        load_manifest(tmp_path / "data")
        assert not (tmp_path / "config").exists()

    def test_a_salt_that_cannot_be_kept(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
        with pytest.raises(InputError, match=r"can't keep the salt.* Set FEATX_SALT"):
            load_manifest(data)

    def test_equal_only_for_equal_identifiers(self) -> None:
        pseudonyms = Pseudonyms(lambda: b"salt")
        names = {pseudonyms.of(str(number)) for number in range(1000)}
        assert len(names) == 1000
        assert pseudonyms.of("7") == pseudonyms.of("7")
        assert pseudonyms.of("") == ""


class TestUnreadable:
    @pytest.mark.parametrize(
        ("elements", "reason"),
        [
            ({"PixelData": None}, "a DICOM file without pixels"),
            ({"Rows": None}, "a DICOM file without pixels"),
            ({"NumberOfFrames": 12}, "a DICOM file of several images, not one"),
            ({"BurnedInAnnotation": "YES"}, "text is burned into the picture"),
        ],
    )
    def test_is_left_out_with_a_reason(
        self, data: Path, elements: dict[str, Any], reason: str
    ) -> None:
        dicom(data / "SICK" / "bad.dcm", GREY, **elements)
        manifest = load_manifest(data)
        assert reason in manifest.unreadable["SICK/bad.dcm"]
        assert len(manifest) == 5

    @pytest.mark.parametrize("content", [b"", b"no DICOM at all", b"\0" * 128 + b"DICM"])
    def test_files_with_the_suffix_alone(self, data: Path, content: bytes) -> None:
        (data / "SICK" / "bad.dcm").write_bytes(content)
        assert list(load_manifest(data).unreadable) == ["SICK/bad.dcm"]

    def test_reasons_and_warnings_name_nobody(self, commands: Server, data: Path) -> None:
        file = data / "SICK" / "a.dcm"
        whole = file.read_bytes()
        program = (
            "import sys, warnings; warnings.simplefilter('always')\n"
            "from featx.data import load_manifest; from featx.images import decode\n"
            "m = load_manifest(sys.argv[1]); print(dict(m.unreadable))\n"
            "for p in m.table['path']:\n"
            "    try: decode(m.root / p, 8)\n"
            "    except Exception as error: print(error)\n"
        )
        for cut in (140, 300, 500, len(whole) - 40):
            file.write_bytes(whole[:cut].replace(b"1.2.3.4", b"1.2.x.4"))
            run = commands.start(data, program=program)
            assert run.wait() == 0, run.err
            assert not any(word in run.out + run.err for word in (PATIENT, "Doe", "Q-4711"))
            assert "a.dcm" in run.out


WITHOUT_PICTURE: dict[str, Any] = dict.fromkeys(["Rows", "Columns", "PixelData", "BitsStored"])


class TestNotAnImage:
    """Files that a hospital's disc has beside the images."""

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            (MediaStorageDirectoryStorage, "no image (Media Storage Directory Storage)"),
            (BasicTextSRStorage, "no image (Basic Text SR Storage)"),
            (GrayscaleSoftcopyPresentationStateStorage, "Softcopy Presentation State Storage)"),
            (EncapsulatedPDFStorage, "no image (Encapsulated PDF Storage)"),
            ("1.2.3.4.5.6", "a DICOM file that is no image"),
        ],
    )
    def test_is_told_from_a_damaged_image(self, tmp_path: Path, kind: str, reason: str) -> None:
        path = dicom(tmp_path / "DICOMDIR", GREY, SOPClassUID=kind, **WITHOUT_PICTURE)
        with path.open("rb") as file, pytest.raises(NotAnImageError) as caught:
            read_header(file)
        assert str(caught.value).endswith(reason)
        with pytest.raises(UnreadableImageError) as named:
            decode(path, 8)
        assert named.value.reason == str(caught.value)

    def test_the_meta_information_tells_it_too(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", GREY, SOPClassUID=None, **WITHOUT_PICTURE)
        dataset = dcmread(path)
        dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
        dataset.save_as(path)
        with path.open("rb") as file, pytest.raises(NotAnImageError, match="Directory"):
            read_header(file)

    @pytest.mark.parametrize(
        "elements",
        [
            {"SOPClassUID": ComputedRadiographyImageStorage, **WITHOUT_PICTURE},
            {"SOPClassUID": BasicTextSRStorage, "PixelData": None},
            {"SOPClassUID": BasicTextSRStorage, "Rows": None},
        ],
    )
    def test_an_image_without_its_pixels_is_damaged(
        self, tmp_path: Path, elements: dict[str, Any]
    ) -> None:
        path = dicom(tmp_path / "x.dcm", GREY, **elements)
        with path.open("rb") as file, pytest.raises(NoImageError, match="without pixels") as no:
            read_header(file)
        assert not isinstance(no.value, NotAnImageError)


ODD: dict[str, Any] = {
    "PatientBirthDate": Raw("DA", b"Quirrel "),
    "WindowCenter": Raw("DS", b"Quirrel "),
    "RescaleSlope": Raw("DS", b"Quirrel "),
    "NumberOfFrames": Raw("IS", b"Quirrel "),
    "PixelAspectRatio": Raw("IS", b"Quirrel "),
    "PatientName": Raw("PN", b"Quirrel\xff\xfe"),
    "PixelData": GREY.tobytes() + b"Quirrel!",
}
"""Value that pydicom warns of, and has in its warning."""


class TestQuiet:
    def test_what_pydicom_says_of_a_header_is_not_told(self, tmp_path: Path) -> None:
        for number, (name, value) in enumerate(ODD.items()):
            dicom(tmp_path / "A" / f"{number}.dcm", GREY, **{name: value})
        dicom(tmp_path / "B" / "all.dcm", GREY, **ODD)
        dicom(tmp_path / "B" / "set.dcm", GREY, SpecificCharacterSet="ISO_IR Quirrel")
        program = (
            "import logging, sys, warnings; logging.basicConfig(level=logging.DEBUG)\n"
            "from pathlib import Path; from concurrent.futures import ThreadPoolExecutor\n"
            "from featx.data import load_manifest; from featx.images import decode\n"
            "def read(path):\n"
            "    try: decode(path, 8)\n"
            "    except Exception as error: print(error)\n"
            "load_manifest(sys.argv[1])\n"
            "with ThreadPoolExecutor(4) as pool:\n"
            "    list(pool.map(read, sorted(Path(sys.argv[1]).rglob('*.dcm')) * 5))\n"
        )
        run = subprocess.run(
            [sys.executable, "-W", "always", "-c", program, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "Quirrel" not in run.stdout + run.stderr
        assert "pydicom" not in run.stderr

    def test_where_somebody_asks_for_all_warnings(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "x.dcm", GREY, **ODD)
        for _ in range(2):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                decode(path, 8)
            assert not told

    def test_an_odd_attribute_costs_neither_picture_nor_patient(self, tmp_path: Path) -> None:
        pixels = decode(dicom(tmp_path / "A" / "plain.dcm", GREY), 8)
        odd = dicom(tmp_path / "B" / "odd.dcm", GREY, **ODD)
        np.testing.assert_array_equal(decode(odd, 8), pixels)
        assert len(set(by_path(load_manifest(tmp_path), "group").values())) == 1
