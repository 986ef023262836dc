"""Errors that a user meets: what went wrong, where, and what to do next, in one line."""

from __future__ import annotations

from featx_cache._text import printable


class FeatxError(Exception):
    """Base of every error that featx raises on purpose.

    Parameters
    ----------
    what
        Description of what went wrong and where, quoting the offending value or path.
    hint
        Advice what to do next, as a sentence.
    parameter
        Name of the parameter that was given a wrong value. The command line shows its option.

    Attributes
    ----------
    code : str
        Kind of the error, for programs: they never read its text.
    exit_code : int
        Exit code of the command line: 1 for a failure, 2 for misuse or unusable input.

    Notes
    -----
    Both texts write parameters in backticks, as Python knows them: "Lower `accuracy_floor`." The
    command line turns these into its options.

    Examples
    --------
    >>> error = InputError("0 is no floor", "Give a fraction.", parameter="accuracy_floor")
    >>> print(error)
    0 is no floor. Give a fraction.
    >>> error.code, error.parameter, error.exit_code
    ('input', 'accuracy_floor', 2)
    """

    code = "failure"
    exit_code = 1

    def __init__(self, what: str, hint: str = "", *, parameter: str | None = None) -> None:
        self.what = what
        self.hint = hint
        self.parameter = parameter
        said = f"{what.rstrip('.')}. {hint}".strip() if hint else what
        # A name may have a line break in it, or what a terminal would obey.
        one_line = " ".join(line.strip() for line in said.splitlines() if line.strip())
        super().__init__(printable(one_line))


class InputError(FeatxError):
    """Input or options that featx can't work with.

    Nothing was changed on disk.

    Examples
    --------
    >>> from featx_cache import FeatxError, InputError
    >>> issubclass(InputError, FeatxError), InputError.exit_code
    (True, 2)
    """

    code = "input"
    exit_code = 2


class StorageError(FeatxError):
    """The target can't be written: no permission, no room, or not a folder.

    Examples
    --------
    >>> from featx_cache import StorageError
    >>> StorageError.code
    'storage'
    """

    code = "storage"
    exit_code = 2


class NotACacheError(InputError):
    """A path that was given as a cache holds none, or an unfinished one.

    Examples
    --------
    >>> from featx_cache import NotACacheError, open_cache
    >>> try:
    ...     open_cache("no-such-folder")
    ... except NotACacheError as error:
    ...     print(error)
    there is no cache at no-such-folder. Make one with `featx.extract`.
    """

    code = "not-a-cache"


class DamagedShardError(InputError):
    """A shard is missing, truncated, or doesn't match its checksum.

    Examples
    --------
    >>> from featx_cache import DamagedShardError, InputError
    >>> issubclass(DamagedShardError, InputError)
    True
    """

    code = "damaged-shard"


class SpecMismatchError(InputError):
    """Two specs differ that have to be equal. The message names the fields.

    Examples
    --------
    >>> from featx_cache import SpecMismatchError
    >>> SpecMismatchError.code
    'spec-mismatch'
    """

    code = "spec-mismatch"
