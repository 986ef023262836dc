"""Atheris over one target: ``python -m tests.fuzz.harness NAME SECONDS FOLDER``.

Atheris (``pip install -e '.[fuzz]'``) chooses damage by what code it reaches. Ends with 0, or with
the traceback of what is neither a result nor a FeatxError.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

LOOKED_AT = [
    *("featx.data", "featx.images", "featx.archives", "featx.heads._own_layers", "featx_cache"),
    *("featx.runs._record", "featx.tuning._storage", "PIL", "yaml", "pydicom", "csv", "zipfile"),
]
ONLY_TABLES = ["pydicom._dicom_dict", "pydicom._private_dict", "pydicom._uid_dict", "pydicom.sr"]


def main() -> None:
    """Fuzz a target from its whole files on, in an empty folder."""
    name, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with atheris.instrument_imports(include=LOOKED_AT, exclude=ONLY_TABLES):
        from tests.fuzz.conftest import BYTES, at_most
        from tests.fuzz.targets import TARGETS

    for each in ("target", "corpus", "current"):
        (folder / each).mkdir()
    prepared = TARGETS[name](folder / "target")
    for number, seed in enumerate(prepared.seeds):
        (folder / "corpus" / str(number)).write_bytes(seed)
        prepared.outcome(seed)  # what is imported meanwhile doesn't count as time
    os.chdir(folder / "current")

    def one(content: bytes) -> None:
        with at_most(BYTES):
            prepared.outcome(content)

    limits = [f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=4096", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *limits, str(folder / "corpus")], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
