"""The same files, damaged by a fuzzer that looks at what code it reaches. A minute a target."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.fuzz.conftest import tell
from tests.fuzz.targets import TARGETS

SECONDS = int(os.environ.get("FEATX_FUZZ_SECONDS", "60"))


@pytest.mark.torture
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_no_other_end_than_a_result_or_one_error(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="needs atheris: pip install -e '.[fuzz]'")
    parts = [str(REPOSITORY / part) for part in ("", "cli", "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.harness", name, str(SECONDS), str(tmp_path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(parts)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert {path.name for path in tmp_path.iterdir()} == {"target", "corpus", "current"}
    assert not any((tmp_path / "current").iterdir())
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs is not None
    tell(f"atheris, {name}: {runs[1]} files")
