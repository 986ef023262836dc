"""A real Orthanc on free loopback ports: a small PACS with C-STORE, STOW-RS and a REST API."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

PROGRAM = "Orthanc"
TITLE = "ORTHANC"
PLUGIN = "libOrthancDicomWeb.so"
_FOLDERS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))


@dataclass(frozen=True)
class Orthanc:
    """A server that runs."""

    port: int
    dicom_port: int

    @property
    def node(self) -> str:
        """Where results go to by C-STORE."""
        return f"dicom://{TITLE}@127.0.0.1:{self.dicom_port}"

    @property
    def service(self) -> str:
        """Where results go to by STOW-RS."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def ask(self, path: str, content: Any = None) -> Any:
        """Ask the REST API."""
        url = f"http://127.0.0.1:{self.port}/{path}"
        body = content
        if content is not None and not isinstance(content, bytes):
            body = json.dumps(content).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, body), timeout=20) as answer:
            found = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return json.loads(found) if is_json else found

    def instances(self) -> list[dict[str, Any]]:
        """Return the main tags of all instances, with those of their series."""
        found = []
        for instance in self.ask("instances?expand"):
            series = self.ask(f"series/{instance['ParentSeries']}")
            study = self.ask(f"studies/{series['ParentStudy']}")
            tags = instance["MainDicomTags"] | series["MainDicomTags"] | study["MainDicomTags"]
            found.append(tags | study["PatientMainDicomTags"] | {"id": instance["ID"]})
        return found

    def file(self, instance: dict[str, Any], folder: Path) -> Path:
        """Fetch the file of an instance."""
        path = folder / f"{instance['id']}.dcm"
        path.write_bytes(self.ask(f"instances/{instance['id']}/file"))
        return path


@contextlib.contextmanager
def orthanc(folder: Path, featx_port: int = 1, dicom_port: int = 0) -> Iterator[Orthanc]:
    """Run a server while the block does. It knows featx at a port. Skips if there is none."""
    program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/sbin")
    plugin = next((f / PLUGIN for f in _FOLDERS if (f / PLUGIN).exists()), None)
    if program is None or plugin is None:
        pytest.skip("Orthanc isn't installed (Debian: apt install orthanc orthanc-dicomweb)")
    folder.mkdir(exist_ok=True)
    server = Orthanc(free_port(), dicom_port or free_port())
    configuration = {
        "Name": "featx-test",
        "StorageDirectory": str(folder / "files"),
        "IndexDirectory": str(folder / "files"),
        "Plugins": [str(plugin)],
        "HttpPort": server.port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": TITLE,
        "DicomCheckCalledAet": True,
        "DicomPort": server.dicom_port,
        "DicomModalities": {"featx": ["FEATX", "127.0.0.1", featx_port]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder
        )
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                server.ask("system")
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)
