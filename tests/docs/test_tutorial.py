"""The tutorial is a notebook: it runs in a kernel of its own, and its values show themselves."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
TABLES = ("data\n", "featx.inspect(data)", "cache\n", "run\n", "result\n", "local\n", "page\n")
"""Ends of cells that show a value of featx as an HTML table."""
FIGURES = ("threshold_curve", "roc_curve", "class_balance", "run.explain")


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> set[str]:
    """Return the MIME types of what a cell shows."""
    return {kind for output in cell.outputs for kind in output.get("data", {})}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells of the page, run by this Python in an empty folder, without a network."""
    folder = tmp_path_factory.mktemp("tutorial")
    kernel = folder / "jupyter" / "kernels" / "featx"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "featx", "language": "python"})
    )
    notebook = jupytext.reads(PAGE.read_text(encoding="utf-8"), fmt="md")
    client = NotebookClient(
        notebook, timeout=240, kernel_name="featx", resources={"metadata": {"path": str(folder)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing listens there
        paths = [str(ROOT / part) for part in ("", "cli", "cache")]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        client.execute()
    return cells(notebook)


def test_the_page_is_a_notebook_of_python_cells() -> None:
    text = PAGE.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="md")
    assert len(cells(notebook)) == text.count("\n```python\n")
    for line in ("load_manifest", "split_manifest", "extract", "fit", "report", "plots"):
        assert f"featx.{line}" in text
    for verb in ("evaluate", "predict", "explain", "calibrate", "export_onnx"):
        assert f"run.{verb}(" in text


@pytest.mark.long
def test_every_cell_runs(executed: list[Any]) -> None:
    assert all(cell.execution_count for cell in executed)
    assert not [o for cell in executed for o in cell.outputs if o.output_type == "error"]


@pytest.mark.long
@pytest.mark.parametrize("end", TABLES)
def test_values_show_themselves_as_tables(executed: list[Any], end: str) -> None:
    shown = [
        cell
        for cell in executed
        if f"{cell.source}\n".endswith(f"\n{end.strip()}\n") or cell.source == end
    ]
    assert shown
    for cell in shown:
        assert "text/html" in kinds(cell), cell.source
        said = "".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs)
        assert " object at 0x" not in said  # a random folder may be called tmp0x…


@pytest.mark.long
@pytest.mark.parametrize("figure", FIGURES)
def test_figures_are_shown_in_the_page(executed: list[Any], figure: str) -> None:
    (cell,) = [cell for cell in executed if figure in cell.source]
    assert kinds(cell) & {"image/png", "image/svg+xml", "text/html"}, cell.source


@pytest.mark.long
def test_no_cell_prints_the_noise_of_libraries(executed: list[Any]) -> None:
    """TensorFlow, Keras and Optuna log nothing that a reader of the page would have to skip."""
    errors = "".join(
        output.text
        for cell in executed
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    )
    for noise in ("oneDNN", "cuda", "WARNING", "UserWarning", "absl", "Trial "):
        assert noise not in errors
