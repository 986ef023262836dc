"""Errors that a user meets: what went wrong, where, and what to do next, in one line."""

from __future__ import annotations

from featx_cache._text import printable


class FeatxError(Exception):
    """Base of every error that featx raises on purpose.

    Parameters
    ----------
    what
        What went wrong and where, quoting the offending value or path.
    hint
        What to do next, as a sentence.

    Attributes
    ----------
    exit_code : int
        What the command line exits with: 1 for a failure, 2 for misuse or unusable input.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = what
        self.hint = hint
        said = f"{what.rstrip('.')}. {hint}".strip() if hint else what
        # A name may have a line break in it, or what a terminal would obey.
        one_line = " ".join(line.strip() for line in said.splitlines() if line.strip())
        super().__init__(printable(one_line))


class InputError(FeatxError):
    """Input or options that featx can't work with; nothing was changed on disk."""

    exit_code = 2


class StorageError(FeatxError):
    """The target can't be written: no permission, no room, or not a folder."""

    exit_code = 2


class NotACacheError(InputError):
    """A path that was given as a cache holds none, or an unfinished one."""


class DamagedShardError(InputError):
    """A shard is missing, truncated, or doesn't match its checksum."""


class SpecMismatchError(InputError):
    """Two fingerprints differ that have to be equal; the message names the fields."""
