"""Serving a run to the readers and the machines of a hospital."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from featx.errors import FeatxError
from featx.serving._listening import listen, url_of
from featx.serving._options import make_options, require_tokens
from featx.serving._station import Station
from featx.worklist import Limits
from featx.worklist._worklist import KEEP_DAYS


def serve(  # noqa: PLR0913
    runs: str | Path | Sequence[str | Path],
    *,
    watch: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    dicom_port: int | None = None,
    dicom_host: str = "127.0.0.1",
    dicom_peers: Sequence[str] = (),
    ae_title: str = "FEATX",
    results: Sequence[str] = (),
    heat_maps: bool = False,
    token_file: str | Path | None = None,
    allowed_hosts: Sequence[str] = (),
    state: str | Path | None = None,
    keep_days: float = KEEP_DAYS,
    limits: Limits | None = None,
    weights: str | None = None,
    runtime: Literal["tensorflow", "ncnn"] | None = None,
    report: Callable[[str], None] = lambda _: None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a worklist page, a REST API and a DICOM receiver until it is interrupted.

    Parameters
    ----------
    runs
        Directory of a run, or of several that are compared side by side. The first one orders the
        worklist.
    watch
        Folder whose images are taken in as they appear.
    host, port
        Address to listen at. Port 0 takes a free one. Any address but this machine's own needs
        `token_file`.
    dicom_port
        Port at which DICOM images are received (C-STORE). None receives none.
    dicom_host
        Address to listen at for DICOM images. DICOM has no passwords, so any address but this
        machine's own needs `dicom_peers`.
    dicom_peers
        Nodes that may send DICOM images, ``AE_TITLE@HOST`` each. If there are none, every program
        on this machine may.
    ae_title
        Name of this node in the DICOM network.
    results
        Places that the results of DICOM images are delivered to, as Structured Reports: a folder,
        a node (``dicom://AE_TITLE@HOST:PORT``), or the address of a DICOMweb service (STOW-RS).
    heat_maps
        Whether a secondary capture with the heat map is delivered, too.
    token_file
        File with the tokens that open the page and the API, one a line.
    allowed_hosts
        Further names of this server, such as that of a proxy that forwards requests to it. They
        need `token_file`, too.
    state
        Folder for the images and the database. None takes the run's name with ``.worklist``,
        beside the run.
    keep_days
        Days after which images are removed. Scores and readings stay.
    limits
        Limits of what is taken.
    weights, runtime
        See `featx.load_run`.
    report
        Function that is told in a line what goes wrong.
    ready
        Function that is told the address once it answers.

    Raises
    ------
    InputError
        If a run isn't one, an address can't be listened at, or it needs a token.

    Examples
    --------
    >>> featx.serve("runs/logreg", watch="incoming/")  # doctest: +SKIP
    """
    with Service(
        runs,
        report=report,
        watch=watch,
        host=host,
        port=port,
        dicom_port=dicom_port,
        dicom_host=dicom_host,
        dicom_peers=tuple(dicom_peers),
        ae_title=ae_title,
        results=results,
        heat_maps=heat_maps,
        token_file=token_file,
        allowed_hosts=allowed_hosts,
        state=state,
        keep_days=keep_days,
        limits=limits,
        weights=weights,
        runtime=runtime,
    ) as service:
        ready(service.url)
        service.wait()


class Service:
    """A service that answers while a block runs, from threads and processes of its own.

    Parameters
    ----------
    runs
        Directory of a run, or of several. See `featx.serve`.
    report
        Function that is told in a line what goes wrong.
    **options
        Options of `featx.serve`. Port 0 is usual in a notebook or a test.

    Attributes
    ----------
    url : str
        Address of the page. It ends with a slash.
    station : Station
        What is served: the worklist, and the process that scores.

    Raises
    ------
    InputError
        If a run isn't one, an address can't be listened at, or it needs a token.

    Examples
    --------
    >>> with featx.serving.Service("runs/logreg", port=0) as service:  # doctest: +SKIP
    ...     httpx.get(f"{service.url}api/v1/predictions").json()
    []
    """

    url: str
    station: Station

    def __init__(
        self,
        runs: str | Path | Sequence[str | Path],
        *,
        report: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> None:
        self._report = report
        self._options = make_options(runs, **options)
        self._stack = contextlib.ExitStack()
        self._thread: threading.Thread

    def __enter__(self) -> Self:
        from featx.serving._app import make_app
        from featx.serving._server import answering

        options = self._options
        with contextlib.ExitStack() as stack:
            require_tokens(options)
            # What can't be listened at is known before a network is loaded, which takes longer.
            sock = stack.enter_context(listen(options.host, options.port))
            options = replace(options, port=sock.getsockname()[1])
            self.station = stack.enter_context(Station(options, self._report))
            self._thread = stack.enter_context(answering(make_app(self.station), sock))
            stack.callback(self.station.changes.end)  # who waits has an answer before the end
            self.url = url_of(options.host, options.port)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    def __repr__(self) -> str:
        return f"Service({getattr(self, 'url', 'not started')})"

    def _repr_html_(self) -> str:
        url = getattr(self, "url", None)
        return repr(self) if url is None else f'Service: <a href="{url}">{url}</a>'

    def wait(self) -> None:
        """Wait until the program is interrupted.

        Raises
        ------
        FeatxError
            If a run or its network can't be loaded, which takes longer than the start, or if
            nothing answers any more.
        """
        while self._thread.is_alive():
            self._thread.join(0.5)
            if self.station.loop.failure is not None:
                raise self.station.loop.failure
        raise FeatxError("the HTTP server ended by itself", "Start it again. Images are kept.")
