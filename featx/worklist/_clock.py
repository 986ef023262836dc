"""Whether the system's clock can be believed: it may be wrong until a time server sets it."""

from __future__ import annotations

import time

JUMP_SECONDS = 60 * 60.0
"""Seconds by which a clock is set at least before it isn't believed. A change of the time zone or
of daylight saving doesn't set it."""

SETTLED_SECONDS = 24 * 60 * 60.0
"""Time after which it is believed again."""


class Clock:
    """Notices that the clock was set, from a clock that nobody sets.

    Examples
    --------
    >>> Clock().is_settled()
    True
    """

    def __init__(self) -> None:
        self._offset = time.time() - steady()
        self._set_at: float | None = None

    def is_settled(self) -> bool:
        """Say whether it wasn't set for a while."""
        now = steady()
        offset = time.time() - now
        if abs(offset - self._offset) > JUMP_SECONDS:
            self._offset, self._set_at = offset, now
        return self._set_at is None or now - self._set_at > SETTLED_SECONDS


def steady() -> float:
    """Return seconds since some moment, those included that the machine was asleep."""
    # Where there is no such clock, that of the system is all there is.
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if clock is None else time.clock_gettime(clock)
