"""File systems without locks, such as some of NFS, and files that somebody else has open."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from featx.data import load_manifest
from featx.extraction import ExtractionOptions, extract
from featx.images import AugmentationSpec
from featx_cache import InputError, NotACacheError, open_cache
from tests.processes import Server

# Locks of a whole file and of parts of one fail with the number in NO_LOCKS.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
static int no(void) { errno = atoi(getenv("NO_LOCKS")); return -1; }
int flock(int fd, int how) { return no(); }
static int control(const char *name, int fd, int command, void *argument) {
    if (command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK) return no();
    int (*real)(int, int, void *) = dlsym(RTLD_NEXT, name);
    return real(fd, command, argument);
}
int fcntl(int fd, int command, ...) {
    va_list all; va_start(all, command); void *one = va_arg(all, void *); va_end(all);
    return control("fcntl", fd, command, one);
}
int fcntl64(int fd, int command, ...) {
    va_list all; va_start(all, command); void *one = va_arg(all, void *); va_end(all);
    return control("fcntl64", fd, command, one);
}
"""
ERRORS = {"ENOLCK": 37, "ENOSYS": 38}


@pytest.fixture(scope="module")
def commands_without_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start commands whose locks all fail, with the error number that ``NO_LOCKS`` is."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a C compiler on Linux is needed to take locks away")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    library = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "shim.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    server = Server(folder, env={"LD_PRELOAD": str(library), "NO_LOCKS": str(ERRORS["ENOLCK"])})
    yield server
    server.close()


@pytest.mark.long
@pytest.mark.parametrize("error", ERRORS)
def test_a_whole_job_runs_without_locks(
    error: str, commands_without_locks: Server, phantom_data: Path, tmp_path: Path
) -> None:
    environment = {"NO_LOCKS": str(ERRORS[error])}
    lock = "import fcntl; fcntl.flock(1, fcntl.LOCK_SH)"
    taken = commands_without_locks.start(program=lock, env=environment)
    assert taken.wait() == 1
    assert f"Errno {ERRORS[error]}" in taken.err
    cache, run = tmp_path / "cache", tmp_path / "run"
    backbone = ["--weights", "random", "--input-size", "32", "--copies", "0"]
    jobs: list[list[str | Path]] = [
        ["extract", phantom_data, "--cache", cache, "--backbone", "vgg16", *backbone],
        ["fit", cache, "--head", "logreg", "--run", run, "--accuracy-floor", "0.5"],
    ]
    for arguments in jobs:
        commands_without_locks.run("-q", *arguments, env=environment)


class TestOpenElsewhere:
    """Nothing is deleted, and nothing is called damaged, because another program is writing."""

    @pytest.fixture
    def cache(self, tiny_cache: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(tiny_cache, tmp_path / "cache"))

    @pytest.mark.parametrize("locking", [True, False])
    def test_an_index(self, cache: Path, locking: bool) -> None:
        with (
            h5py.File(cache / "index.h5", "r+", locking=locking),
            pytest.raises(NotACacheError, match=r"index.h5 is open for writing .* Close it there"),
        ):
            open_cache(cache)

    @pytest.mark.parametrize("locking", [True, False])
    def test_a_shard(self, cache: Path, locking: bool) -> None:
        opened = open_cache(cache)
        path = cache / "shards" / opened.shard_names[0]
        with h5py.File(path, "r+", locking=locking):
            with pytest.raises(InputError, match="is open for writing"):
                opened.read(np.arange(len(opened.rows)))
            errors = [error for _, error in opened.verify() if error is not None]
            assert len(errors) == 1
            assert path.exists()

    @pytest.mark.parametrize("locking", [True, False])
    def test_readers_are_not_in_the_way(self, cache: Path, locking: bool) -> None:
        with h5py.File(cache / "index.h5", locking=locking):
            assert len(open_cache(cache).images) > 0

    def test_extract_takes_no_shard_away(
        self, cache: Path, phantom_data: Path, tiny_backbone: object
    ) -> None:
        path = cache / "shards" / open_cache(cache).shard_names[0]
        with h5py.File(path, "r+"), pytest.raises(InputError, match="is open for writing"):
            extract(
                load_manifest(phantom_data),
                cache,
                tiny_backbone,  # type: ignore[arg-type]
                augmentation=AugmentationSpec(copies=1),
                options=ExtractionOptions(rows_per_shard=20),
            )
        assert path.exists()
