"""Writing small DICOM files, whole or with something wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

PATIENT = "Doe^Jane 1970"


class Raw(NamedTuple):
    """An element's bytes as they are written."""

    vr: str
    value: bytes


def text(value: str) -> Raw:
    """Write a decimal string, whatever it says."""
    encoded = value.encode()
    return Raw("DS", encoded + b" " * (len(encoded) % 2))


def dicom(
    path: Path,
    pixels: NDArray[Any],
    *,
    syntax: UID | None = ExplicitVRLittleEndian,
    frame: bytes | None = None,
    **elements: Any,
) -> Path:
    """Write an image of shape (rows, columns[, 3]) with some elements changed; None leaves out.

    `syntax` None leaves the transfer syntax out; `frame` is an encoded frame instead of pixels.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    if syntax is not None:
        meta.TransferSyntaxUID = syntax
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * pixels.dtype.itemsize
    values: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "PatientName": PATIENT,
        "PatientID": "Q-4711",
        "StudyInstanceUID": "1.2.3.4",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 3 if pixels.ndim == 3 else 1,
        "PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }
    if pixels.ndim == 3:
        values["PlanarConfiguration"] = 0
    for name, value in (values | elements).items():
        if value is not None:
            put(dataset, name, value)
    if frame is not None:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax is None:
        dataset.save_as(path, implicit_vr=False, little_endian=True)
    else:
        dataset.save_as(path, enforce_file_format=True)
    return path


def put(dataset: Any, name: str, value: Any) -> None:
    """Set an element of a data set, from bytes where they are given."""
    if isinstance(value, Raw):
        tag = Tag(tag_for_keyword(name) or 0)
        dataset[tag] = RawDataElement(tag, value.vr, len(value.value), value.value, 0, False, True)
    else:
        setattr(dataset, name, value)
