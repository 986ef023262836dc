"""Packages: a source archive, a wheel made of it, and featx installed from that wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_BYTES_OF_WEIGHTS = 2_500_000


def run(*words: str | Path, cwd: Path, seconds: float = 240) -> str:
    """Run a program that has to succeed, without the repository on its path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive of the source and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


def test_descriptions_and_contents_are_in_order(built: Path, wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(built.iterdir()), cwd=built)
    # Root of the settings, among them the list of packages that must be whole.
    run(sys.executable, "-m", "check_wheel_contents", wheel, cwd=ROOT)


def test_the_wheel_has_the_library_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        names = list(sizes)
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "featx", "featx_cache", "featx_cli",
    }  # fmt: skip
    assert "featx/py.typed" in names
    assert any(name.startswith("featx/reports/templates/") for name in names)
    assert {"featx/serving/templates/base.html.j2", "featx/serving/static/style.css"} <= {*names}
    assert sizes["featx/backbones/featx_mini.weights.h5"] <= MAX_BYTES_OF_WEIGHTS
    assert "Requires-Python: >=3.11" in metadata


def test_the_archive_of_the_source_has_all_that_git_has(built: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone, so there is nothing to compare with")
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        packed = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    assert {name for name in tracked if not name.startswith(".")} <= packed


def install(folder: Path, wheel: Path, *options: str) -> Path:
    """Make an environment, install the wheel there, and return its folder of programs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*pip, "--disable-pip-version-check", *options, wheel, cwd=folder.parent, seconds=900)
    return folder / "bin"


def demonstrate(programs: Path, folder: Path) -> None:
    folder.mkdir()
    where = run(programs / "python", "-c", "import featx; print(featx.__file__)", cwd=folder)
    assert Path(where.strip()).is_relative_to(programs.parent)
    said = run(
        programs / "featx", "--quiet", "demo", "--tiny", "--offline", cwd=folder, seconds=600
    )
    assert "test split" in said
    assert (folder / "demo-output" / "report.html").stat().st_size > 100_000


@pytest.mark.long
def test_featx_runs_from_a_wheel_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    """This environment lends the dependencies, which saves installing them again."""
    programs = install(tmp_path / "environment", wheel, "--no-deps")
    lent = next((tmp_path / "environment" / "lib").glob("python*/site-packages/")) / "lent.pth"
    lent.write_text(sysconfig.get_path("purelib") + "\n")
    demonstrate(programs, tmp_path / "elsewhere")


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_featx_runs_in_a_new_environment(wheel: Path, tmp_path: Path) -> None:
    programs = install(tmp_path / "environment", wheel, "--constraint", f"{ROOT}/constraints.txt")
    demonstrate(programs, tmp_path / "elsewhere")


def test_the_image_is_built_of_what_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """`.dockerignore` ignores everything, and then not what its lines with ``!`` name."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert "*" in lines
    for name in sources:
        ignored = shutil.ignore_patterns("__pycache__")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    build = (sys.executable, "-m", "build", "--no-isolation", "--wheel")
    run(*build, "--outdir", tmp_path / "dist", tmp_path, cwd=tmp_path)
    (again,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
