"""The heat map as a secondary capture, which featx never takes for an X-ray."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from featx.dicomnet import Deliverer, Receiver
from featx.dicomnet._capture import make_capture
from featx.dicomnet._destinations import encoded
from featx.dicomnet._source import read_source
from featx.errors import InputError
from featx.worklist import RefusedImageError, Result, ScoringDiedError, Worklist
from featx.worklist._scoring_process import LoadingDiedError
from featx.worklist._scoring_worker import _png
from tests.featx.dicomnet.conftest import Score, XRay, send
from tests.featx.dicomnet.test_deliverer import Pacs

FIGURE = _png(np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(float))


@pytest.fixture
def captured(xray: XRay, score: Score) -> tuple[Result, Any]:
    """A result, and its capture as it is read again."""
    result = score(xray(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^J"))
    assert result.item.path is not None
    made = make_capture(result, read_source(result.item.path), FIGURE)
    return result, pydicom.dcmread(io.BytesIO(encoded(made)))


class TestCapture:
    def test_header(self, captured: tuple[Result, Any]) -> None:
        _, found = captured
        assert found.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
        assert (found.StudyInstanceUID, found.PatientID) == ("1.2.3.4", "Q-4711")
        assert found.PatientName == "Müller^J"
        assert (found.Modality, found.ConversionType) == ("OT", "WSD")
        assert found.BurnedInAnnotation == "YES"
        assert found.SeriesInstanceUID != "1.2.3.4.5"
        assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5.1"
        assert "not a medical device" in found.DerivationDescription

    def test_picture_has_the_map_in_color(self, captured: tuple[Result, Any]) -> None:
        pixels = captured[1].pixel_array.astype(int)
        assert pixels.shape[-1] == 3
        assert (np.ptp(pixels, axis=-1) > 60).mean() > 0.01

    def test_same_result_is_the_same_object(self, xray: XRay, score: Score) -> None:
        result = score(xray())
        assert result.item.path is not None
        source = read_source(result.item.path)
        first, second = (encoded(make_capture(result, source, FIGURE)) for _ in range(2))
        assert first == second


class TestLoop:
    """A node that forwards what it gets sends featx its own results."""

    def test_own_capture_is_answered_and_not_taken(
        self, captured: tuple[Result, Any], receiver: Receiver, worklist: Worklist
    ) -> None:
        assert send(receiver.port, captured[1]) == 0x0000
        assert len(worklist.items()) == 1
        assert receiver.counts == {"own": 1}

    def test_own_capture_is_refused_by_the_other_ways_too(
        self, captured: tuple[Result, Any], worklist: Worklist
    ) -> None:
        with pytest.raises(RefusedImageError, match="burned into the picture"):
            worklist.add(encoded(captured[1]), "a.dcm", "upload")


class _Process:
    """Explains, or not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def figure(self, path: Path, name: str) -> bytes:
        assert path.exists()
        assert name == f"image {path.stem[:8]}"
        if self.error is not None:
            raise self.error
        return FIGURE


class TestDelivery:
    def deliver(
        self, worklist: Worklist, process: _Process, result: Result, place: Path, lines: list[str]
    ) -> list[str]:
        """Deliver what is due, once, and return what is in the folder."""
        one = Deliverer(worklist, process, [str(place)], "FEATX", lines.append)  # type: ignore[arg-type]
        (due,) = worklist.due_deliveries()
        assert due.image == result.item.id
        one._deliver(due)
        return sorted(file.name[-6:] for file in place.iterdir()) if place.exists() else []

    def test_both_objects_go_together(
        self, worklist: Worklist, xray: XRay, score: Score, lines: list[str], tmp_path: Path
    ) -> None:
        result = score(xray(), str(tmp_path / "out"))
        found = self.deliver(worklist, _Process(), result, tmp_path / "out", lines)
        assert found == ["OT.dcm", "SR.dcm"]

    def test_report_goes_without_a_map_that_there_is_none_of(
        self, worklist: Worklist, xray: XRay, score: Score, lines: list[str], tmp_path: Path
    ) -> None:
        result = score(xray(), str(tmp_path / "out"))
        process = _Process(InputError("the image can't be explained"))
        assert self.deliver(worklist, process, result, tmp_path / "out", lines) == ["SR.dcm"]
        assert "has no heat map" in lines[0]

    def test_process_that_died_is_asked_again_later(
        self, worklist: Worklist, xray: XRay, score: Score, lines: list[str], tmp_path: Path
    ) -> None:
        result = score(xray(), str(tmp_path / "out"))
        process = _Process(ScoringDiedError("the process that scores images died"))
        assert self.deliver(worklist, process, result, tmp_path / "out", lines) == []
        assert worklist.count_undelivered() == 1

    def test_map_that_kills_its_process_twice_is_left_out(
        self, worklist: Worklist, xray: XRay, score: Score, lines: list[str], tmp_path: Path
    ) -> None:
        place = tmp_path / "out"
        score(xray(), str(place))
        process = _Process(LoadingDiedError("it died while it loaded"))
        one = Deliverer(worklist, process, [str(place)], "FEATX", lines.append)  # type: ignore[arg-type]
        (due,) = worklist.due_deliveries()
        for _ in range(3):  # which isn't the image's fault
            one._deliver(due)
        process.error = ScoringDiedError("the process that scores images died")
        one._deliver(due)
        assert not place.exists()
        one._deliver(due)
        assert [file.name[-6:] for file in place.iterdir()] == ["SR.dcm"]
        assert worklist.count_undelivered() == 0

    def test_node_that_takes_reports_alone_gets_them(
        self, worklist: Worklist, xray: XRay, score: Score, lines: list[str]
    ) -> None:
        node = Pacs()
        result = score(xray(), node.address)
        one = Deliverer(worklist, _Process(), [node.address], "FEATX", lines.append)  # type: ignore[arg-type]
        one._deliver(worklist.due_deliveries()[0])
        node.stop()
        assert [report.Modality for report in node.found] == ["SR"]
        assert "it takes no Secondary Capture Image Storage" in lines[0]
        assert result.item.code in lines[0]

    def test_run_that_was_replaced_has_no_map(
        self, worklist: Worklist, xray: XRay, score: Score, lines: list[str], tmp_path: Path
    ) -> None:
        result = score(xray(), str(tmp_path / "out"))
        worklist.runs = ()
        found = self.deliver(worklist, _Process(), result, tmp_path / "out", lines)
        assert found == ["SR.dcm"]
