"""Tokens that open a server, from a file that only its owner can read."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from pathlib import Path

from featx.errors import InputError
from featx_cache.files import open_regular

MIN_TOKEN = 16
"""Characters of the shortest token."""

_MAX_FILE_BYTES = 2**20
_ADVICE = "Make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`."


class Tokens:
    """Tokens of a file, one a line. Lines that begin with # are comments.

    The file is read again if it changes. If it can't be used then, no token is right.

    Parameters
    ----------
    path
        The file.
    report
        Function that is told in a line what is wrong with a file that changed.

    Raises
    ------
    InputError
        If the file can't be used.
    """

    def __init__(self, path: Path, report: Callable[[str], None] = lambda _: None) -> None:
        self.path, self._report = path, report
        self._stamp = _stamp(path)
        self._digests = read_tokens(path)

    def number(self, token: str) -> int | None:
        """Return the number of a token, from 1. None if it isn't one of the file."""
        given, found = digest(token), None
        for number, known in enumerate(self.digests(), start=1):
            if hmac.compare_digest(given, known):
                found = number
        return found

    def digests(self) -> tuple[bytes, ...]:
        """Return SHA-256 of each token as the file has them now."""
        if (stamp := _stamp(self.path)) != self._stamp:
            self._stamp = stamp
            try:
                self._digests = read_tokens(self.path)
            except InputError as error:
                self._digests = ()
                self._report(f"{error} Nobody can log in.")
        return self._digests


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """Read SHA-256 of each token of a file.

    Raises
    ------
    InputError
        If the file can't be read, others can read it, or it has no token or a bad one.
    """
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & stat.S_IRWXO:
                raise _error(f"every user of this machine can read {path}", f"chmod 600 {path}")
            content = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise _error(f"{path} can't be read: {error.strerror}") from error
    tokens = []
    for number, line in enumerate(content.splitlines(), start=1):
        token = line.strip()
        if not token or token.startswith(b"#"):
            continue
        # A header can carry it, and a browser's form.
        if len(token) < MIN_TOKEN or not all(0x21 <= byte <= 0x7E for byte in token):
            raise _error(
                f"line {number} of {path} isn't a token of at least {MIN_TOKEN} ASCII characters "
                "without spaces"
            )
        tokens.append(hashlib.sha256(token).digest())
    if not tokens:
        raise _error(f"{path} has no token")
    return tuple(tokens)


def digest(token: str) -> bytes:
    """Return SHA-256 of a token."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _error(what: str, hint: str = "") -> InputError:
    advice = f"Run `{hint}`." if hint else f"Write one token a line. {_ADVICE}"
    return InputError(what, advice, parameter="token_file")


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
