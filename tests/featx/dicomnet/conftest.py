"""A worklist, its DICOM node, and peers that send to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.scoring import Prediction
from featx.worklist import Item, Result, RunFacts, Worklist
from tests.dicoms import dicom

pytest.importorskip(
    "pynetdicom", reason="pynetdicom isn't installed: pip install 'featx[dicomnet]'"
)
pytest.importorskip("highdicom", reason="highdicom isn't installed: pip install 'featx[dicomnet]'")

from featx.dicomnet import DicomNode, Receiver

RUN = RunFacts(
    "c0ffee00" * 4, "logreg", "runs/logreg", "logreg", ("NORMAL", "PNEUMONIA"), 0.4, (0.3, 0.5),
    recall=0.97, accuracy=0.9,
)  # fmt: skip
XRay = Callable[..., Path]
Score = Callable[..., Result]


@pytest.fixture(autouse=True)
def _own_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_SALT", "of a test")


@pytest.fixture
def worklist(tmp_path: Path) -> Iterator[Worklist]:
    with Worklist(tmp_path / "worklist") as opened:
        opened.use_runs([RUN])
        yield opened


@pytest.fixture
def lines() -> list[str]:
    """What the node reports."""
    return []


@pytest.fixture
def receiver(worklist: Worklist, lines: list[str]) -> Iterator[Receiver]:
    node = Receiver(worklist, DicomNode(port=0), lines.append)
    node.start()
    yield node
    node.stop()


@pytest.fixture
def xray(tmp_path: Path) -> XRay:
    """Write a DICOM file of 8 x 8 pixels, each another one."""
    made = 0

    def write(**elements: Any) -> Path:
        nonlocal made
        made += 1
        pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) + 1000 * made
        values = {"SeriesInstanceUID": "1.2.3.4.5", "SOPInstanceUID": f"1.2.3.4.5.{made}"}
        return dicom(tmp_path / "sent" / f"{made}.dcm", pixels, **(values | elements))

    return write


@pytest.fixture
def score(worklist: Worklist) -> Score:
    """Put a file into the worklist, and a prediction of it."""

    def add(path: Path, *destinations: str, **values: Any) -> Result:
        item, _ = worklist.add(path.read_bytes(), "", "dicom")
        worklist.save([(item.id, [prediction(item, **values)])], destinations)
        result = worklist.result(item.id, RUN.id)
        assert result is not None
        return result

    return add


def prediction(item: Item, **values: Any) -> Prediction:
    """A prediction of which nothing is missing."""
    said: dict[str, Any] = {
        "score": 0.8123, "probability": 0.75, "threshold": 0.4, "prediction": "PNEUMONIA",
        "uncertain": False, "unlike_training": True, "distance": 31.25, "view": "inverted",
    }  # fmt: skip
    return Prediction(item.name, **(said | values))


def associate(
    port: int, *classes: str, called: str = "FEATX", calling: str = "XRAY", **options: Any
) -> Any:
    """Open an association for some SOP classes."""
    from pynetdicom import AE

    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for kind in classes:
        entity.add_requested_context(kind, options.get("syntaxes"))
    return entity.associate("127.0.0.1", port, ae_title=called)


def send(port: int, dataset: Any, **options: Any) -> int:
    """Send a data set, or a file, by C-STORE, and return the status."""
    import pydicom

    if isinstance(dataset, Path):
        dataset = pydicom.dcmread(dataset)
    syntaxes = [dataset.file_meta.TransferSyntaxUID]
    association = associate(port, dataset.SOPClassUID, syntaxes=syntaxes, **options)
    assert association.is_established
    try:
        return int(association.send_c_store(dataset).Status)
    finally:
        association.release()
