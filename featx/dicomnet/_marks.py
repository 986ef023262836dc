"""What tells featx's own DICOM objects from others, and names them the same at each try."""

from __future__ import annotations

from typing import Any

from featx._version import __version__

MANUFACTURER = "featx"
MODEL_NAME = "featx serve"
CAUTION = "Research software, not a medical device."
SCHEME = "99FEATX"
_UID_ENTROPY = "featx dicomnet 1"


def uid_of(*parts: str) -> str:
    """Return a UID that follows from texts alone: a result sent twice is one object."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[_UID_ENTROPY, *parts]))


def is_own(dataset: Any) -> bool:
    """Say whether featx made an object."""
    from featx.data._dicom import texts

    found = [texts(dataset, name)[:1] for name in ("Manufacturer", "ManufacturerModelName")]
    return found == [[MANUFACTURER], [MODEL_NAME]]


def equipment() -> dict[str, str]:
    """Return what the general equipment module says."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": __version__[:64],
    }


def ascii_text(text: str, most: int = 1024) -> str:
    """Return a text that every character set of DICOM has. Others become question marks."""
    plain = text.encode("ascii", "replace").decode()
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in plain)[:most].strip()
