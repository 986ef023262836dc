"""Limits on memory (``ulimit -v``) under which libraries end the process without a word."""

from __future__ import annotations

from featx.errors import OutOfMemoryError

LIBRARIES_BYTES = 1_000_000_000
"""Least for the command line. With 400 MB, OpenBLAS asks for memory again and again, for ever."""
NETWORK_BYTES = 4_000_000_000
"""Least for TensorFlow, which aborts if it can't start a thread, and crashes if an allocation
fails. 3.2 to 3.8 GB ended in an abort or a segmentation fault (TensorFlow 2.21, 2 CPUs)."""


def require_address_space(needed: int, user: str = "a network") -> None:
    """Refuse a limit that allows the process fewer bytes than `user` needs."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        raise OutOfMemoryError(
            f"the limit on memory (`ulimit -v`) is {allowed / 1e9:.1f} GB, and {user} needs "
            f"{needed / 1e9:.0f} GB at least",
            "Raise the limit and run the same command again.",
        )
