"""The API against its own description, which schemathesis reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from featx.serving import Service

# A file that isn't an image is refused: the description can't say which bytes are one.
SETTINGS = """
[checks]
positive_data_acceptance.expected-statuses = [
    "2xx", "3xx", "401", "403", "404", "409", "422", "429", "5xx",
]
"""
OPTIONS = ["--checks", "all", "--max-examples", "10", "--seed", "1", "--workers", "1", "--no-color"]
# It asks for the null that a refused file has as its `id`.
OPTIONS += ["--exclude-checks", "ensure_resource_availability"]


@pytest.mark.long
def test_answers_are_as_described(service: Service, tmp_path: Path, reports: list[str]) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis isn't installed")
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    program = Path(sys.executable).with_name("schemathesis")
    found = subprocess.run(
        [str(program), "run", f"{service.url}api/v1/openapi.json", *OPTIONS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert found.returncode == 0, found.stdout[-5000:]
    assert reports == []
