"""A real PostgreSQL server on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port

PASSWORD = "s3cret-word"


def find_binary(name: str) -> str | None:
    """Find a program of PostgreSQL, which Debian keeps off the PATH."""
    found = shutil.which(name)
    others = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return found or (str(others[0]) if others else None)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Run a server while the block does. Gives the URL of an empty database with a password."""
    pytest.importorskip("psycopg", reason="psycopg isn't installed: pip install 'featx[postgres]'")
    initdb, postgres = find_binary("initdb"), find_binary("postgres")
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL's server isn't installed (Debian: apt install postgresql)")
    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="featx-postgres-"))
    process = None
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user is not None:
            for path in (folder, data, secret):
                shutil.chown(path, user)
        subprocess.run(
            [initdb, "-D", data, "-U", "featx", "--auth=scram-sha-256", f"--pwfile={secret}"],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder,
        )
        port = free_port()
        process = subprocess.Popen(
            [postgres, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            cwd=folder,
        )
        url = f"postgresql+psycopg://featx:{PASSWORD}@127.0.0.1:{port}/postgres"
        _wait(url, process)
        yield url
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # SIGTERM would wait for clients to leave
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url.replace("+psycopg", ""), connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)
