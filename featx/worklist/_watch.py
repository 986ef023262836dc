"""The thread that takes in the images of a folder as they appear there."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from featx.data import in_words
from featx.data._file_facts import reason_of
from featx.data._left_out import DEAD_LINK, NAMED_LIKE_AN_IMAGE, UNREADABLE_FOLDER, mask_reason
from featx.data._walk import walk
from featx.errors import FeatxError, InputError
from featx.worklist._items import FullQueueError, Item, RefusedImageError
from featx.worklist._worklist import Worklist
from featx_cache._text import printable
from featx_cache.files import open_regular

LOOK_SECONDS = 1.0
"""Shortest time between two looks."""

LOOK_SHARE = 4.0
"""Time between two looks at a large folder, in times that a look took."""

TAKE_SECONDS = 5.0
"""Time after which the next look is due although files are left to take: newer ones go first."""

FULL_SECONDS = 1.0
EMPTY_SECONDS = 30.0
"""Time that a file must stay unchanged if it ends in nothing but zeros.

Some programs make a file as long as it will be, and then fill it. On a share of Windows it looks
unchanged meanwhile. Half a DICOM file would be scored as if it were the whole one.
"""

_EMPTY_BYTES = 4096


@dataclass(slots=True)
class _Seen:
    """File as it was at the last look, since when, and whether it was taken as it was."""

    size: int
    changed: int
    taken: bool = False
    problem: str = ""
    since: float = field(default_factory=time.monotonic)

    def is_like(self, other: _Seen) -> bool:
        return (self.size, self.changed) == (other.size, other.changed)


class WatchedFolder:
    """Takes images into a worklist that appear in a folder or in the folders in it.

    The folder is looked through again and again, which works on network shares, too. A file is
    taken as soon as two looks find it unchanged. It stays where it is.

    Parameters
    ----------
    folder
        The folder.
    worklist
        Where images go.
    report
        Function that is told in a line what goes wrong. The line has no name of a file.
    noted
        Function that is told of each image that is new, and of each file that is refused.

    Attributes
    ----------
    notice : str
        What keeps files from being taken at the moment. Empty if nothing does.
    left_out : Counter of str
        Number of files that are no images or can't be read, by reason.
    problems : dict of str to str
        Image files that weren't taken, and why, for the screen alone: names may name people.

    Raises
    ------
    InputError
        If it isn't a folder, or the worklist is in it.

    Examples
    --------
    >>> watched = WatchedFolder("incoming", worklist)  # doctest: +SKIP
    >>> watched.start()  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | Path,
        worklist: Worklist,
        report: Callable[[str], None] = lambda _: None,
        noted: Callable[[Item | RefusedImageError], None] = lambda _: None,
    ) -> None:
        self.folder, self.worklist = Path(folder), worklist
        if not self.folder.is_dir():
            raise InputError(f"there is no folder {folder}", "Make it.", parameter="watch")
        own, watched = worklist.folder.resolve(), self.folder.resolve()
        if own.is_relative_to(watched) or watched.is_relative_to(own):
            raise InputError(
                f"the watched folder {folder} and the worklist {worklist.folder} are one in the "
                "other",
                "Give another `watch` or `state`.",
                parameter="watch",
            )
        self.notice = ""
        self.left_out = Counter[str]()
        self.problems: dict[str, str] = {}
        self._report = report
        self._noted = noted
        self._no_images = Counter[str]()
        self._seen: dict[Path, _Seen] = {}
        self._said: set[str] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def in_words(self) -> str:
        """What `left_out` says, in words. Empty if nothing is left out."""
        return in_words(self.left_out)

    def start(self) -> None:
        """Start to look."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the file at hand."""
        self._ending.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        pause = 0.0
        while not self._ending.wait(pause):
            started = time.monotonic()
            try:
                ready = self._look()
                pause = max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - started))
                self._take(ready)
                self._note("")
            except FeatxError as error:
                self._note(error.what)
                pause = LOOK_SECONDS
            except Exception as error:  # noqa: BLE001 - the thread must not end without a word
                self._note(f"watching failed: an unexpected {type(error).__name__}")
                pause = LOOK_SECONDS
            self._say()

    def _look(self) -> list[Path]:
        """Look through the folder. Return the files to take, those first that changed last."""
        found: dict[Path, _Seen] = {}
        left_out = Counter[str]()
        for path, seen in self._images(left_out):
            before = self._seen.get(path)
            found[path] = before if before is not None and before.is_like(seen) else seen
        ready = [path for path, seen in found.items() if self._seen.get(path) is seen]
        self._seen, self._no_images = found, left_out
        ready = [path for path in ready if not found[path].taken]
        return sorted(ready, key=lambda path: found[path].changed, reverse=True)

    def _images(self, left_out: Counter[str]) -> Iterator[tuple[Path, _Seen]]:
        """Walk through the images, and count the other files."""
        depth = len(self.folder.parts)
        for path, reason in walk(self.folder):
            if self._ending.is_set():
                return
            if reason == UNREADABLE_FOLDER and path == self.folder:
                raise InputError(f"the watched folder {self.folder} can't be read")
            if reason == NAMED_LIKE_AN_IMAGE:
                continue
            if why := reason or mask_reason(path.parts[depth:]):
                left_out[why] += 1
                continue
            try:
                stat = path.stat()
            except OSError:
                if path.is_symlink():
                    left_out[DEAD_LINK] += 1
                continue  # otherwise it is gone
            yield path, _Seen(stat.st_size, stat.st_mtime_ns)

    def _take(self, ready: list[Path]) -> None:
        """Take files for a while."""
        end = time.monotonic() + TAKE_SECONDS
        for path in ready:
            if self._ending.is_set() or time.monotonic() > end:
                return
            seen = self._seen[path]
            try:
                if time.monotonic() < seen.since + EMPTY_SECONDS and _ends_in_zeros(path):
                    continue
                self._add(path)
                seen.taken, seen.problem = True, ""
            except RefusedImageError as error:
                seen.taken, seen.problem = True, error.what
                self._noted(error)
            except FileNotFoundError:
                pass
            except OSError as error:  # perhaps it can be read later
                seen.problem = reason_of(error)

    def _add(self, path: Path) -> None:
        """Add a file. If the queue is full, wait until it isn't."""
        while not self._ending.is_set():
            try:
                with open_regular(path) as file:
                    item, new = self.worklist.add(file, path.name, "watch")
                if new:
                    self._noted(item)
                return
            except FullQueueError as error:
                self._note(f"{error.what}, so files of the watched folder wait")
                with self.worklist.changed:
                    self.worklist.changed.wait(FULL_SECONDS)

    def _say(self) -> None:
        """Say once for each reason that files aren't taken."""
        self.problems = {
            printable(str(path.relative_to(self.folder))): seen.problem
            for path, seen in self._seen.items()
            if seen.problem
        }
        self.left_out = self._no_images + Counter(self.problems.values())
        new = {why: count for why, count in self.left_out.items() if why not in self._said}
        if new:
            self._said.update(new)
            self._report(f"watched folder: {in_words(new)}")

    def _note(self, notice: str) -> None:
        """Say once what is wrong, and show it as long as it is."""
        if notice != self.notice:
            self.notice = notice
            if notice:
                self._report(notice)
            self.worklist.notify()


def _ends_in_zeros(path: Path) -> bool:
    with open_regular(path) as file:
        file.seek(-min(_EMPTY_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
        end = file.read()
    return bool(end) and not any(end)
