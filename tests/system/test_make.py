"""``make demo``: one line a stage. An installer in place of pip, which would need a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = r"""#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
               printf '#!/bin/sh\necho The table\n' > "$3/bin/featx"; chmod +x "$3/bin/featx";;
    "-m pip")  echo "Collecting numpy"; echo "WARNING: Location is ignored" >&2; exit $PIP_EXIT;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@dataclass
class Maker:
    """Runs `make demo` with an environment of its own."""

    folder: Path

    def demo(self, pip_exit: int = 0) -> tuple[int, list[str], str]:
        """Return the exit code, the lines of standard output, and standard error."""
        python = self.folder / "python"
        python.write_text(PYTHON)
        python.chmod(0o755)
        # Without what a `make test` around this test hands on.
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
        variables = f"VENV={self.folder / 'environment'}", f"PYTHON={python}"
        done = subprocess.run(
            ["make", "-C", ROOT, "--no-print-directory", "demo", *variables],
            env={**environment, "PIP_EXIT": str(pip_exit)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def test_each_stage_is_one_line_with_its_seconds(maker: Maker) -> None:
    code, lines, errors = maker.demo()
    assert (code, errors) == (0, "")
    making, installing, demo = lines
    assert re.fullmatch(r"Making the environment .*/environment \.\.\. \d+ s", making)
    assert re.fullmatch(r"Installing featx and what it needs .*\.\.\. \d+ s", installing)
    assert demo == "The table"


def test_what_is_done_is_not_done_again(maker: Maker) -> None:
    maker.demo()
    assert maker.demo() == (0, ["The table"], "")


def test_a_failed_installation_shows_all_that_pip_said_and_is_tried_again(maker: Maker) -> None:
    code, lines, errors = maker.demo(pip_exit=3)
    assert code != 0
    assert lines[1].endswith("... failed")
    assert "Collecting numpy\n" in errors
    assert "WARNING: Location is ignored\n" in errors
    code, lines, errors = maker.demo()
    assert (code, errors) == (0, "")
    assert [line.split()[0] for line in lines] == ["Installing", "The"]


def test_an_environment_that_could_not_be_made_is_made_again(maker: Maker) -> None:
    (maker.folder / "environment").write_text("a file is in the way")
    code, lines, _ = maker.demo()
    assert code != 0
    assert lines == [f"Making the environment {maker.folder}/environment ... failed"]
    (maker.folder / "environment").unlink()
    assert maker.demo()[0] == 0
