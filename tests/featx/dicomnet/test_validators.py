"""What other people's programs say of the objects that featx makes."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from featx.dicomnet._capture import make_capture
from featx.dicomnet._destinations import encoded
from featx.dicomnet._report import make_report
from featx.dicomnet._source import read_source
from tests.featx.dicomnet.conftest import Score, XRay
from tests.featx.dicomnet.test_capture import FIGURE

STANDARD = Path.home() / "dicom-validator"
"""Where dicom-validator keeps the editions of the standard that it downloaded."""

HEADERS: list[dict[str, Any]] = [
    {},
    {"PatientName": None, "PatientID": None},
    {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "山田^太郎",
        "AccessionNumber": "A1",
        "StudyDate": "20260102",
        "StudyTime": "101112.5",
        "PatientAge": "045Y",
        "IssuerOfPatientID": "HOSPITAL",
        "StudyDescription": "Thorax",
    },
]


@pytest.fixture(params=range(len(HEADERS)), ids=["usual", "nobody", "much"])
def files(request: pytest.FixtureRequest, xray: XRay, score: Score, tmp_path: Path) -> list[Path]:
    """A report and a capture, on the disk."""
    result = score(xray(**HEADERS[request.param]))
    assert result.item.path is not None
    source = read_source(result.item.path)
    made = [make_report(result, source), make_capture(result, source, FIGURE)]
    paths = []
    for number, dataset in enumerate(made):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(encoded(dataset))
    return paths


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} isn't installed (Debian: apt install dicom3tools dcmtk)")
    words = list(map(str, command))
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_dciodvfy_finds_no_error(files: list[Path]) -> None:
    for file, name in zip(files, ("ComprehensiveSR", "SCImage"), strict=True):
        found = _run("dciodvfy", file)
        said = (found.stdout + found.stderr).splitlines()
        assert name in said
        assert not [line for line in said if line.startswith("Error")]
        assert found.returncode == 0


def test_dsrdump_reads_the_report(files: list[Path]) -> None:
    found = _run("dsrdump", "+Pl", files[0])
    assert found.returncode == 0
    # "W: The VR checker does not support this Specific Character Set" is one of DCMTK's own.
    assert not [line for line in found.stderr.splitlines() if not line.startswith("W: ")]
    assert "Score of PNEUMONIA" in found.stdout


def test_dicom_validator_finds_no_error(
    files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It needs a copy of the standard, which it downloads when it is first run by hand."""
    pytest.importorskip("dicom_validator", reason="dicom-validator isn't installed")
    if not list(STANDARD.glob("*/docbook/part03.xml")):
        pytest.skip(f"dicom-validator has no edition of the standard in {STANDARD}")
    from dicom_validator.spec_reader.edition_reader import EditionReader
    from dicom_validator.validator.dicom_file_validator import DicomFileValidator

    reader = EditionReader(STANDARD)
    edition = reader.get_edition("local")
    assert edition is not None
    info = reader.load_dicom_info(edition)
    validator = DicomFileValidator(info, logging.INFO)
    for file in files:
        for result in validator.validate(file).values():
            assert result.errors == 0, caplog.text
