"""Starting and ending a service, and what it refuses to start with."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from featx.errors import FeatxError, InputError, StorageError
from featx.runs import read_record
from featx.runs._record import write_record
from featx.serving import Service
from featx.serving._listening import listen, url_of
from featx.worklist import Worklist, _state_folder
from tests.featx.serving.conftest import new_png

HOST = "::1" if socket.has_dualstack_ipv6() else "127.0.0.1"


def test_one_that_was_not_started_says_so(tiny_run: Path) -> None:
    assert repr(Service(tiny_run, port=0)) == "Service(not started)"


def test_one_whose_server_ended_says_so(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Thread()
    ended.start()
    monkeypatch.setattr(service, "_thread", ended)
    with pytest.raises(FeatxError, match="the HTTP server ended by itself"):
        service.wait()


@pytest.mark.long
def test_several_runs_answer_side_by_side(tiny_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_run, tmp_path / "other"))
    state = tmp_path / "state"
    with Service([tiny_run, copy], port=0, host=HOST, state=state, runtime="ncnn") as service:
        assert service.url == url_of(HOST, service.station.options.port)
        assert repr(service) == f"Service({service.url})"
        assert f'href="{service.url}"' in service._repr_html_()
        with httpx.Client(base_url=service.url, timeout=60) as client:
            answer = client.post(
                "/api/v1/predictions", content=new_png(), headers={"Content-Type": "image/png"}
            )
            assert [row["run"] for row in answer.json()] == [tiny_run.name, "other"]
            assert answer.json()[0]["score"] == answer.json()[1]["score"] is not None
            assert ends_while_somebody_waits(service, client) == 202
            process = service.station.process._process
            assert process is not None
            # Somebody else can't have the folder meanwhile.
            with pytest.raises(InputError, match="another featx is at work"):
                Service(tiny_run, port=0, state=state).__enter__()
        port = service.station.options.port
    assert process.poll() is not None
    listen(HOST, port).close()  # it is free again


def ends_while_somebody_waits(service: Service, client: httpx.Client) -> int:
    """Return the status of an answer to somebody who waits for a score when the service ends."""
    with service.station.process._in_turn(urgent=False), ThreadPoolExecutor() as pool:
        headers = {"Content-Type": "image/png"}
        answer = pool.submit(client.post, "/api/v1/predictions", content=new_png(), headers=headers)
        while not service.station.worklist.count_waiting():
            time.sleep(0.01)
        service.station.changes.end()
        return answer.result(60).status_code


class TestRefusals:
    """Each comes before a network is loaded, and names the parameter."""

    @pytest.mark.parametrize(
        ("options", "parameter"),
        [
            ({"port": 65536}, "port"),
            ({"port": -1}, "port"),
            ({"dicom_port": 70000}, "dicom_port"),
            ({"keep_days": -1.0}, "keep_days"),
            ({"keep_days": float("nan")}, "keep_days"),
            ({"keep_days": float("inf")}, "keep_days"),
            ({"ae_title": ""}, "ae_title"),
            ({"ae_title": " " * 3}, "ae_title"),
            ({"ae_title": "A" * 17}, "ae_title"),
            ({"ae_title": "A\\B"}, "ae_title"),
            ({"ae_title": "Ä"}, "ae_title"),
            ({"ae_title": "A\n"}, "ae_title"),
            ({"watch": "nowhere"}, "watch"),
            ({"allowed_hosts": ["x.example"]}, "allowed_hosts"),
            ({"token_file": "nowhere"}, "token_file"),
            ({"host": "0.0.0.0"}, "host"),
            ({"host": "::"}, "host"),
            ({"host": ""}, "host"),
        ],
    )
    def test_of_options(
        self, tiny_run: Path, tmp_path: Path, options: dict[str, Any], parameter: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            self.start(tiny_run, tmp_path, **options)
        assert caught.value.parameter == parameter
        assert not (tmp_path / "state").exists()

    @pytest.mark.parametrize("host", ["no.such.name.invalid", "192.0.2.1", "a" * 70, "\0"])
    def test_of_addresses(self, tiny_run: Path, tmp_path: Path, host: str) -> None:
        tokens = tmp_path / "tokens"
        tokens.write_text("correct-horse-battery-staple")
        tokens.chmod(0o600)
        with pytest.raises(InputError, match="can't listen at"):
            self.start(tiny_run, tmp_path, host=host, token_file=tokens)

    def test_of_a_port_in_use(self, tiny_run: Path, tmp_path: Path) -> None:
        with listen("127.0.0.1", 0) as sock:
            port = sock.getsockname()[1]
            with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is in use"):
                self.start(tiny_run, tmp_path, port=port)

    def test_of_runs(self, tiny_run: Path, tmp_path: Path) -> None:
        other = Path(shutil.copytree(tiny_run, tmp_path / "other"))
        write_record(other, read_record(other).model_copy(update={"classes": ("A", "B")}))
        for runs, said in (
            ([], "no run is given"),
            ([tmp_path / "none"], "there is no run at"),
            ([tmp_path], "is not a run"),
            ([tiny_run, tiny_run], "is given twice"),
            ([tiny_run, other], "have other classes"),
        ):
            with pytest.raises(InputError, match=said):
                self.start(runs, tmp_path)

    def test_of_names_that_are_no_text(self, tiny_run: Path, tmp_path: Path) -> None:
        name = os.fsdecode(b"a\xff")
        for parameter in ("runs", "state", "watch", "results", "weights"):
            given: Any = [name] if parameter == "results" else name
            with pytest.raises(InputError, match="isn't UTF-8") as caught:
                self.start(**{"runs": tiny_run, "folder": tmp_path, parameter: given})
            assert caught.value.parameter == parameter

    def test_of_folders(
        self,
        tiny_run: Path,
        tmp_path: Path,
        read_only_folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(_state_folder, "LOCK_WAIT_SECONDS", 0.1)
        with pytest.raises(StorageError):
            Service(tiny_run, port=0, state=read_only_folder / "state").__enter__()
        with pytest.raises(InputError, match="it is no worklist"):
            Service(tiny_run, port=0, state=tiny_run).__enter__()
        with Worklist(tmp_path / "state"), pytest.raises(InputError, match="another featx"):
            self.start(tiny_run, tmp_path)

    def start(self, runs: Any, folder: Path, **options: Any) -> None:
        with Service(runs, **{"port": 0, "state": folder / "state", **options}):
            pass
