"""What a result takes over from the header of the X-ray that it is about.

Patient and study are copied byte by byte, in their character set: a report in which an ID looks
otherwise is filed under another patient. A value that DICOM doesn't allow is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.data._dicom import NoImageError, read_header, texts
from featx.errors import InputError
from featx_cache.files import open_regular

_TEXTS = {
    "PatientName": "PN", "PatientID": "LO", "IssuerOfPatientID": "LO", "StudyID": "SH",
    "AccessionNumber": "SH", "ReferringPhysicianName": "PN", "StudyDescription": "LO",
}  # fmt: skip
_CODED = {
    "PatientBirthDate": "DA", "PatientSex": "CS", "PatientAge": "AS", "StudyDate": "DA",
    "StudyTime": "TM",
}  # fmt: skip
_OPTIONAL = ("IssuerOfPatientID", "PatientAge", "StudyDescription")
_REFERENCES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_UID = 64


class NoReportError(InputError):
    """There can be no report about an image: it says too little of where it belongs."""

    code = "no-report"


@dataclass(frozen=True, slots=True)
class Source:
    """Header of an X-ray, as far as a result needs it.

    Attributes
    ----------
    reference
        Data set with the UIDs of the image, its series and its study, for highdicom.
    elements
        Elements of patient and study by their tag, encoded, and the character set.
    """

    reference: Any
    elements: dict[Any, Any]

    def copy_to(self, dataset: Any) -> None:
        """Give a result the patient and the study of the X-ray."""
        for tag, element in self.elements.items():
            dataset[tag] = element


def read_source(path: Path) -> Source:
    """Read what a result needs.

    Raises
    ------
    NoReportError
        If the file is gone, or it lacks what ties a report to it. The text names nobody.
    """
    from pydicom.dataset import Dataset

    try:
        with open_regular(path) as file:
            dataset = read_header(file)
    except FileNotFoundError as error:  # other errors of the disk may pass
        raise NoReportError("the image isn't kept any more") from error
    except NoImageError as error:
        raise NoReportError(f"the image can't be read: {error}") from error
    reference = Dataset()
    for keyword in _REFERENCES:
        uid = next(iter(texts(dataset, keyword)), "")
        if len(uid) > _LONGEST_UID or not _UID.fullmatch(uid):
            raise NoReportError(f"the image has no usable {keyword}")
        setattr(reference, keyword, uid)
    # highdicom asks for these. They are replaced by what the header has, byte by byte.
    for keyword in (*_TEXTS, *_CODED):
        if keyword not in _OPTIONAL:
            setattr(reference, keyword, "")
    return Source(reference, _patient_and_study(dataset))


def _patient_and_study(dataset: Any) -> dict[Any, Any]:
    from pydicom.charset import python_encoding
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.tag import Tag

    told = dataset.get("SpecificCharacterSet") or ""
    told = [told] if isinstance(told, str) else list(told)
    charsets = [str(name) for name in told]
    known = all(name in python_encoding for name in charsets)
    elements: dict[Any, Any] = {}
    for keyword, vr in (_TEXTS | _CODED).items():
        tag = Tag(tag_for_keyword(keyword) or 0)
        value = _stored(dataset, tag).rstrip(b" \0")
        allowed = _is_allowed(value, vr, charsets if known and keyword in _TEXTS else [])
        if keyword == "PatientID" and not allowed:
            raise NoReportError("the image's PatientID isn't one that DICOM allows")
        if not allowed:
            value = b""
        if value or keyword not in _OPTIONAL:
            value += b" " * (len(value) % 2)
            elements[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    if known and charsets not in ([], [""]):
        tag = Tag(tag_for_keyword("SpecificCharacterSet") or 0)
        elements[tag] = DataElement(tag, "CS", charsets if len(charsets) > 1 else charsets[0])
    return elements


def _stored(dataset: Any, tag: Any) -> bytes:
    """Return the bytes of an element, none if it is absent."""
    if tag not in dataset:
        return b""
    value = dataset.get_item(tag).value
    return value if isinstance(value, bytes) else str(value or "").encode("ascii", "replace")


def _is_allowed(value: bytes, vr: str, charsets: list[str]) -> bool:
    """Say whether DICOM allows a value, in one of its character sets."""
    from pydicom import config
    from pydicom.charset import convert_encodings
    from pydicom.valuerep import PersonName, validate_value
    from pydicom.values import convert_PN, convert_single_string

    try:
        if not any(charsets) and not _is_plain(value):
            return False
        if vr == "PN":
            encodings = convert_encodings(charsets)
            found: Any = convert_PN(value, encodings)
            if not isinstance(found, PersonName):  # several names
                return False
            text = str(found)
        elif _is_plain(value):
            text = value.decode("ascii")
        else:
            text = convert_single_string(value, convert_encodings(charsets))
        validate_value(vr, text, config.RAISE)
    except Exception:  # noqa: BLE001 - pydicom has many words for damage
        return False
    return text.isprintable() and "\ufffd" not in text and "\\" not in text


def _is_plain(value: bytes) -> bool:
    return value.isascii() and b"\x1b" not in value
