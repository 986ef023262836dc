"""The Structured Report of a prediction, read again, and what of the X-ray's header is in it."""

from __future__ import annotations

import dataclasses
import errno
import io
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ComprehensiveSRStorage

from featx._version import __version__
from featx.dicomnet import _source as source_module
from featx.dicomnet._destinations import encoded
from featx.dicomnet._report import finding_code, make_report
from featx.dicomnet._source import NoReportError, read_source
from featx.worklist import Result
from tests.dicoms import Raw
from tests.featx.dicomnet.conftest import RUN, Score, XRay


def report_of(result: Result) -> Any:
    """Make a report, write it, and read it again."""
    assert result.item.path is not None
    made = make_report(result, read_source(result.item.path))
    return pydicom.dcmread(io.BytesIO(encoded(made)))


class TestContent:
    @pytest.fixture
    def result(self, xray: XRay, score: Score) -> Result:
        return score(xray(AccessionNumber="A-1", StudyDate="20260102"))

    def test_measurements_and_evaluations(self, result: Result) -> None:
        from highdicom.sr import ComprehensiveSR

        report = ComprehensiveSR.from_dataset(report_of(result))
        (group,) = report.content.get_image_measurement_groups()
        found = {m.name.value: m.value for m in group.get_measurements()}
        assert found == {"score": 0.8123, "probability": 0.75, "threshold": 0.4, "distance": 31.25}
        assert {m.unit.value for m in group.get_measurements()} == {"1"}
        said = {e.name.value: e.value for e in group.get_qualitative_evaluations()}
        assert (said["verdict"].value, said["verdict"].scheme_designator) == ("233604007", "SCT")
        assert said["uncertain"].meaning == "No"
        assert said["unlike"].meaning == "Yes"
        assert group.tracking_identifier == f"featx image {result.item.code}"

    def test_texts(self, result: Result) -> None:
        texts = set(_texts(report_of(result)))
        assert "Research software, not a medical device." in texts
        assert f"Image {result.item.code} of featx's worklist." in texts
        assert {"featx", __version__, "run logreg", f"run id {RUN.id}", "head logreg"} <= texts
        assert "inverted" in texts

    def test_it_refers_to_the_image(self, result: Result) -> None:
        report = report_of(result)
        (study,) = report.CurrentRequestedProcedureEvidenceSequence
        (series,) = study.ReferencedSeriesSequence
        (image,) = series.ReferencedSOPSequence
        assert study.StudyInstanceUID == report.StudyInstanceUID == "1.2.3.4"
        assert series.SeriesInstanceUID == "1.2.3.4.5"
        assert image.ReferencedSOPInstanceUID == "1.2.3.4.5.1"

    def test_header(self, result: Result) -> None:
        report = report_of(result)
        assert report.SOPClassUID == ComprehensiveSRStorage
        assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
        assert report.PreliminaryFlag == "PRELIMINARY"
        assert report.Modality == "SR"
        assert "not a medical device" in report.SeriesDescription
        assert (report.PatientName, report.PatientID) == ("Doe^Jane 1970", "Q-4711")
        assert (report.AccessionNumber, report.StudyDate) == ("A-1", "20260102")
        (scheme,) = [
            item for item in report.CodingSchemeIdentificationSequence
            if item.CodingSchemeDesignator == "99FEATX"
        ]  # fmt: skip
        assert scheme.CodingSchemeName == "Codes of featx"

    def test_same_result_is_the_same_object(self, result: Result) -> None:
        assert result.item.path is not None
        source = read_source(result.item.path)
        first, second = (encoded(make_report(result, source)) for _ in range(2))
        assert first == second

    def test_another_run_is_another_object(self, result: Result) -> None:
        other = dataclasses.replace(result, run=dataclasses.replace(RUN, id="d" * 32))
        uids = [(r.SOPInstanceUID, r.SeriesInstanceUID) for r in map(report_of, (result, other))]
        assert len(set(uids[0] + uids[1])) == 4

    def test_values_that_a_run_does_not_know_are_left_out(self, xray: XRay, score: Score) -> None:
        nothing = {"probability": None, "uncertain": None, "unlike_training": None}
        result = score(xray(), **nothing, distance=None, view=None, prediction="NORMAL")
        texts = _meanings(report_of(result))
        assert "Normal" in texts
        assert not {"Probability of PNEUMONIA", "The verdict is uncertain", "Yes"} & texts

    @pytest.mark.parametrize("name", ["Läsion\\1^=", "病変", "A" * 300, "COVID-19"])
    def test_names_of_any_kind(self, xray: XRay, score: Score, name: str) -> None:
        result = score(xray(), prediction=name)
        run = dataclasses.replace(RUN, name=name, classes=("NORMAL", name))
        report = report_of(dataclasses.replace(result, run=run))
        (verdict,) = [i for i in _items(report) if _name(i) == "Verdict of the classifier"]
        code = verdict.ConceptCodeSequence[0]
        assert code.CodingSchemeDesignator == "99FEATX"
        assert len(code.CodeValue) <= 16
        assert len(code.CodeMeaning) <= 64
        assert code.CodeMeaning.isascii()

    @pytest.mark.parametrize(
        "classes", [("正常", "肺炎"), ("LUNG OPACITY ABSENT", "LUNG OPACITY ANY")]
    )
    def test_classes_never_have_the_same_code(self, classes: tuple[str, str]) -> None:
        codes = [finding_code(label, classes) for label in classes]
        assert len({code.value for code in codes}) == 2
        assert len({code.meaning for code in codes}) == 2


class TestSource:
    """Headers as they come."""

    @pytest.mark.parametrize(
        ("charset", "name"),
        [
            ("ISO_IR 100", "Müller^Jürgen"),
            ("ISO_IR 192", "山田^太郎"),
            ("ISO_IR 144", "Люкceмбypг"),
            (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
            ("GB18030", "Wang^XiaoDong=王^小东"),
        ],
    )
    def test_character_sets_are_kept_byte_by_byte(
        self, xray: XRay, score: Score, charset: Any, name: str
    ) -> None:
        path = xray(SpecificCharacterSet=charset, PatientName=name)
        report = report_of(score(path))
        assert str(report.PatientName) == name
        sent = pydicom.dcmread(path)
        assert report.SpecificCharacterSet == sent.SpecificCharacterSet
        assert "Pneumonia" in _meanings(report)

    def test_without_patient(self, xray: XRay, score: Score) -> None:
        report = report_of(score(xray(PatientName=None, PatientID=None)))
        assert (str(report.PatientName), report.PatientID) == ("", "")
        assert {"PatientSex", "PatientBirthDate", "StudyID"} <= set(report.dir())
        assert "IssuerOfPatientID" not in report

    @pytest.mark.parametrize(
        ("elements", "empty"),
        [
            ({"PatientName": Raw("PN", b"N" * 200)}, "PatientName"),
            ({"PatientName": Raw("PN", b"A^B\\C^D ")}, "PatientName"),
            ({"PatientName": Raw("PN", b"M\xfcller")}, "PatientName"),
            ({"PatientBirthDate": Raw("DA", b"yesterday ")}, "PatientBirthDate"),
            ({"StudyTime": Raw("TM", b"99:99:99")}, "StudyTime"),
            ({"PatientSex": Raw("CS", b"not known at all, sorry ")}, "PatientSex"),
            ({"AccessionNumber": Raw("SH", b"1" * 40)}, "AccessionNumber"),
            ({"ReferringPhysicianName": Raw("PN", b"A\x07\x00B")}, "ReferringPhysicianName"),
            (
                {
                    "SpecificCharacterSet": Raw("CS", b"NO SUCH "),
                    "PatientName": Raw("PN", b"M\xfcller"),
                },
                "PatientName",
            ),
        ],
    )
    def test_what_dicom_does_not_allow_is_left_empty(
        self, xray: XRay, score: Score, elements: dict[str, Any], empty: str
    ) -> None:
        report = report_of(score(xray(**elements)))
        assert str(report[empty].value or "") == ""
        assert report.PatientID == "Q-4711"

    @pytest.mark.parametrize(
        ("elements", "reason"),
        [
            ({"StudyInstanceUID": None}, "no usable StudyInstanceUID"),
            ({"StudyInstanceUID": ""}, "no usable StudyInstanceUID"),
            ({"StudyInstanceUID": Raw("UI", b"1.2.x\0")}, "no usable StudyInstanceUID"),
            ({"SeriesInstanceUID": None}, "no usable SeriesInstanceUID"),
            ({"SOPInstanceUID": Raw("UI", b"1" * 70)}, "no usable SOPInstanceUID"),
            ({"PatientID": Raw("LO", b"4" * 100)}, "PatientID isn't one that DICOM allows"),
            ({"PatientID": Raw("LO", b"A\\B ")}, "PatientID isn't one that DICOM allows"),
            ({"PatientID": Raw("LO", b"\xff\xfe")}, "PatientID isn't one that DICOM allows"),
        ],
    )
    def test_what_says_too_little_gets_no_report(
        self, xray: XRay, score: Score, elements: dict[str, Any], reason: str
    ) -> None:
        result = score(xray(**elements))
        assert result.item.path is not None
        with pytest.raises(NoReportError, match=reason):
            read_source(result.item.path)

    def test_file_that_is_gone(self, tmp_path: Path) -> None:
        with pytest.raises(NoReportError, match="isn't kept any more"):
            read_source(tmp_path / "gone.dcm")

    def test_disk_that_fails_for_a_moment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: Path) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(source_module, "open_regular", fail)
        with pytest.raises(OSError, match="Too many"):  # so it is tried again
            read_source(tmp_path / "a.dcm")

    def test_file_that_was_damaged_since(self, tmp_path: Path) -> None:
        (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 100)
        with pytest.raises(NoReportError, match="can't be read"):
            read_source(tmp_path / "a.dcm")


def _items(report: Any) -> list[Any]:
    found = []
    for item in report.get("ContentSequence", []):
        found += [item, *_items(item)]
    return found


def _name(item: Any) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeMeaning) if names else ""


def _texts(report: Any) -> list[str]:
    return [str(item.TextValue) for item in _items(report) if "TextValue" in item]


def _meanings(report: Any) -> set[str]:
    coded = [
        i.ConceptCodeSequence[0].CodeMeaning for i in _items(report) if "ConceptCodeSequence" in i
    ]
    return {str(meaning) for meaning in coded} | {_name(item) for item in _items(report)}
