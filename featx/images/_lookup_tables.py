"""Lookup tables of DICOM headers (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

pydicom applies tables as they are written. Often the written numbers of bits and entries aren't
true, and then pydicom fails or wraps round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data._dicom import numbers, raw_value

_WIDEST = 16
_BYTE = 8


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Table of new values. Values beyond the table become its first or its last entry.

    Attributes
    ----------
    entries
        Array of shape (entries,), dtype uint16.
    first
        Value of the first entry.
    bits
        Bits of the entries, which tell what is white.
    """

    entries: NDArray[np.uint16]
    first: int
    bits: int

    @property
    def limits(self) -> tuple[float, float]:
        """Values of black and white."""
        return 0.0, 2.0**self.bits - 1

    def shows(self, limits: tuple[float, float]) -> bool:
        """Say whether values between these limits become more than one grey."""
        low, high = (int(np.clip(limit - self.first, 0, len(self.entries) - 1)) for limit in limits)
        return shows_something(float(np.ptp(self.entries[low : high + 1])), self.limits[1])

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Look up numbers, rounded down to whole ones."""
        if values.dtype.kind == "f":
            places = np.clip(np.floor(values) - self.first, 0, len(self.entries) - 1)
        else:
            wide = values.astype(np.int32 if values.dtype.itemsize < 4 else np.int64)
            places = np.clip(wide - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[places.astype(np.intp)])


def read_table(
    item: Any, limits: tuple[float, float], little_endian: bool, name: str = "LUT"
) -> LookupTable | None:
    """Read a table, or return None if there is none or it is too short for the values.

    `limits` are the smallest and the largest value that is looked up. `name` is the start of the
    attributes' names.
    """
    descriptor = _descriptor(item, f"{name}Descriptor")
    data = raw_value(item, f"{name}Data")
    if descriptor is None or data is None:
        return None
    count, first, told = descriptor
    entries = _entries(data, count, told, little_endian)
    first -= 2**16 if limits[0] < 0 and first >= 2**15 else 0
    needed = min(count // 2, limits[1] - first + 1)  # some are a little shorter than they say
    if len(entries) < max(2, needed):
        return None
    return LookupTable(entries, first, _bits(told, int(entries.max())))


def shows_something(difference: float, whole: float) -> bool:
    """Say whether darkest and brightest differ by a grey level of 256."""
    return abs(difference) * 255.0 >= abs(whole) > 0.0


def _descriptor(item: Any, keyword: str) -> tuple[int, int, int] | None:
    """Return the number of entries, the first value and the bits."""
    value = raw_value(item, keyword)
    if isinstance(value, bytes) and len(value) == 6:  # where the kind of number is open
        found: list[float | None] = [float(number) for number in np.frombuffer(value, "<u2")]
    else:
        found = numbers(item, keyword)
    if len(found) != 3 or any(number is None or not number.is_integer() for number in found):
        return None
    count, first, bits = (int(number or 0) for number in found)
    return count & 0xFFFF or 2**16, first, bits


def _entries(data: Any, count: int, bits: int, little_endian: bool) -> NDArray[np.uint16]:
    """Return the entries. Two may be in one word."""
    if isinstance(data, bytes):
        if bits <= _BYTE and len(data) in (count, count + 1):
            packed = np.frombuffer(data, np.uint8)
            if not little_endian and len(data) % 2 == 0:
                packed = packed.reshape(-1, 2)[:, ::-1].ravel()
            return packed[:count].astype(np.uint16)
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little_endian else ">u2")
        return words[:count].astype(np.uint16)
    try:
        values = np.atleast_1d(np.asarray(data, np.int64))
    except (TypeError, ValueError):  # texts
        return np.empty(0, np.uint16)
    words = (values & 0xFFFF).astype(np.uint16)
    if bits <= _BYTE and len(words) == (count + 1) // 2 and words.max(initial=0) > 0xFF:
        return words.astype("<u2").view(np.uint8)[:count].astype(np.uint16)
    return words[:count]


def _bits(told: int, largest: int) -> int:
    """Return the bits of the entries.

    The descriptor often gives the room that an entry takes, not its bits. Viewers (cornerstone)
    look at the largest entry, too.
    """
    if _BYTE <= told < _WIDEST and largest < 2**told:
        return told
    return max(_BYTE, largest.bit_length())
