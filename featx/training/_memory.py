"""Memory that a process may still take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Return the bytes that this process may still allocate without swapping.

    That is the smallest of three numbers: the machine's free memory, what the process's control
    groups leave (versions 1 and 2: containers, batch systems), and what its own limit on its data
    leaves (``ulimit -d``).
    """
    left = [int(psutil.virtual_memory().available), *_left_in_groups()]
    return max(0, min([*left, *_left_of_own_limit()]))


def _left_of_own_limit() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    data, _ = resource.getrlimit(resource.RLIMIT_DATA)
    used = psutil.Process().memory_info()
    if data != resource.RLIM_INFINITY:
        yield data - int(getattr(used, "data", used.rss))  # macOS doesn't tell the data alone


def _left_in_groups() -> Iterator[int]:
    """Yield what each limited group leaves. Files that the kernel keeps in memory don't count."""
    for folder in _groups():
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            try:
                free = int((folder / limit).read_text()) - int((folder / used).read_text())
            except (OSError, ValueError):  # no such file, or "max": no limit
                continue
            yield free + _droppable(folder)


def _groups() -> Iterator[Path]:
    """Yield the folders of this process's memory groups and of the groups around them."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = CGROUPS / "memory" if controllers else CGROUPS
        # In a container the path is often the host's, which isn't visible: the root is the group.
        folder = root / path.lstrip("/")
        yield from (f for f in (folder, *folder.parents) if f.is_relative_to(root))


def _droppable(folder: Path) -> int:
    try:
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
