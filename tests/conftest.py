"""Fixtures of many tests: drawn X-rays, a tiny network, a tiny cache, and ways to run featx."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from featx.backbones import Backbone, load_backbone
from featx.data import load_manifest
from featx.demo._phantoms import write_phantoms
from featx.extraction import ExtractionOptions, extract
from featx.fitting import fit
from featx.heads import HeadSpec
from featx.images import AugmentationSpec
from featx_cache import open_cache
from tests.archives import EXPLODED
from tests.folds import use_two_folds
from tests.processes import Server

# TensorFlow reads it when it is imported, which no test module does before this one.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A machine that is busy is no failure, and the same examples come every time.
settings.register_profile(
    "featx",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("featx")

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"

BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"] + [
    f"--disable-{what}" for what in ("background-networking", "component-update", "sync")
]
LARGER = 500
"""MB that a hostile file may make the process larger by, for a moment. Importing takes some."""

RunFeatx = Callable[..., "subprocess.CompletedProcess[str]"]
MakeDisk = Callable[[str], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow whole-program tests first: with several processes none is left waiting.

    Those of the documentation are last: after them, large arrays take several times as long.
    """
    items.sort(key=lambda item: ("system" not in item.path.parts) + ("docs" in item.path.parts))


def pytest_collection_finish() -> None:
    """Keep what was imported out of the search for garbage, which takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_weights_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the developer has set for featx out of the tests."""
    monkeypatch.delenv("FEATX_WEIGHTS_DIR", raising=False)


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder tree of 24 drawn patients, 64 pixels wide, in train, val and test. Only read it."""
    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "data", patients=24, size=64)


@pytest.fixture(scope="session")
def tiny_backbone() -> Backbone:
    """VGG16 with random weights at 32 pixels: an embedding is 1x1x512."""
    return load_backbone(
        "vgg16", weights="random", input_size=32, precision="float32", runtime="tensorflow"
    )


@pytest.fixture(scope="session")
def tiny_ncnn() -> Backbone:
    """The same network, computed by ncnn."""
    return load_backbone("vgg16", weights="random", input_size=32, runtime="ncnn")


@pytest.fixture(scope="session")
def tiny_cache(
    phantom_data: Path, tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The drawn X-rays and one copy of each training image, embedded. Copy it before a change."""
    folder = tmp_path_factory.mktemp("tiny") / "cache"
    extract(
        load_manifest(phantom_data),
        folder,
        tiny_backbone,
        augmentation=AugmentationSpec(copies=1),
        options=ExtractionOptions(rows_per_shard=20),
    )
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logistic regression on the tiny cache. Copy it before a change."""
    run = tmp_path_factory.mktemp("tiny-run") / "logreg"
    # Calling nobody positive is right for half of the images at least.
    fit(open_cache(tiny_cache), HeadSpec.choose("logreg"), run, accuracy_floor=0.5)
    return run


@pytest.fixture(scope="session")
def tiny_ncnn_run(
    phantom_data: Path, tiny_ncnn: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run whose network loads in a moment, with its cache beside it. Copy it before a change."""
    folder = tmp_path_factory.mktemp("tiny-ncnn")
    extract(load_manifest(phantom_data), folder / "cache", tiny_ncnn)
    fit(open_cache(folder / "cache"), HeadSpec.choose("logreg"), folder / "run", accuracy_floor=0.5)
    return folder / "run"


@pytest.fixture
def two_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score out of two folds where five would be three more trainings of the same."""
    use_two_folds(monkeypatch)


@pytest.fixture
def words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a report's figures empty where its words are read: drawing takes most of its time.

    Those of one run, of several, of hostile names and of earlier versions are drawn, in
    tests/featx/reports.
    """
    from matplotlib.figure import Figure

    draw = Figure.savefig

    def save(figure: Figure, file: Any, **options: Any) -> None:
        if options.get("format") == "svg" and hasattr(file, "write"):
            file.write(b'<svg xmlns="http://www.w3.org/2000/svg"/>')
        else:
            draw(figure, file, **options)

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright isn't installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium (Debian: apt install chromium)")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def unharmed() -> Iterator[None]:
    """Fail where a test made the process much larger for a moment, or set off a bomb."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here: proc(5)
    before = _megabytes("VmRSS")
    yield
    assert _megabytes("VmHWM") - before < LARGER
    assert not EXPLODED.exists()


def _megabytes(name: str) -> float:
    """Read what the kernel says of this process's memory."""
    lines = dict(x.split(":", 1) for x in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real chest X-rays."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """A folder of real pretrained weights."""
    return _shared("weights")


@pytest.fixture(scope="session")
def run_featx() -> RunFeatx:
    """Run ``python -m featx ARGUMENTS`` as a process of its own and capture its text."""

    def run(
        arguments: list[str | Path],
        *,
        cwd: str | Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "featx", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start ``featx ARGUMENTS`` as processes of their own that needn't import anything."""
    server = Server(tmp_path_factory.mktemp("commands"))
    yield server
    server.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Mount file systems of so many bytes (``"1m"``). Skips where mounting isn't allowed."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={size}", "featx-test", str(folder)]
        try:
            subprocess.run(["mount", *options], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("can't mount a small tmpfs here: that takes root on Linux")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@pytest.fixture
def read_only_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder that can't be written to, not even by root."""
    if os.geteuid() == 0:
        folder: Path = request.getfixturevalue("small_disk")("64k")
        command = ["mount", "-o", "remount,ro", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        yield folder
        return
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: a user's clone doesn't have it")
    return folder
