"""How much memory a process may still take."""

from __future__ import annotations

import resource
from pathlib import Path

import psutil

_CGROUP = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def available_memory() -> int:
    """Return the bytes that this process may still allocate without swapping.

    The least of what the machine has free, what the container may still take (control groups,
    versions 1 and 2), and what the process's own limit on its data leaves (``ulimit -d``).
    """
    process = psutil.Process()
    left = [int(psutil.virtual_memory().available)]
    for limit, used in _CGROUP:
        try:
            left.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # not there, or "max": no limit
            continue
    data, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if data != resource.RLIM_INFINITY:
        left.append(data - int(process.memory_info().data))
    return max(0, min(left))
