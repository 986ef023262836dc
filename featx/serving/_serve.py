"""Serving a run to the readers and the machines of a hospital."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from featx.serving._station import STATE_SUFFIX, ServeOptions, Station
from featx.worklist import Limits, RunSettings
from featx.worklist._worklist import KEEP_DAYS


def serve(  # noqa: PLR0913
    runs: str | Path | Sequence[str | Path],
    *,
    watch: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    dicom_port: int | None = None,
    ae_title: str = "FEATX",
    results: Sequence[str] = (),
    heat_maps: bool = False,
    token_file: str | Path | None = None,
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
    ae_title
        Name of this node in the DICOM network.
    results
        Places that the results of DICOM images are delivered to, as Structured Reports: a folder,
        a node (``dicom://AE_TITLE@HOST:PORT``), or the address of a DICOMweb service (STOW-RS).
    heat_maps
        Whether a secondary capture with the heat map is delivered, too.
    token_file
        File with the tokens that open the page and the API, one a line.
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
    import uvicorn

    from featx.serving._app import make_app

    paths = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    options = ServeOptions(
        runs=RunSettings(tuple(map(str, paths)), runtime=runtime, weights=weights),
        state=Path(state) if state is not None else _beside(paths[0]),
        watch=None if watch is None else Path(watch),
        host=host,
        port=port,
        dicom_port=dicom_port,
        ae_title=ae_title,
        results=tuple(results),
        heat_maps=heat_maps,
        token_file=None if token_file is None else Path(token_file),
        keep_days=keep_days,
        limits=limits or Limits(),
    )
    with Station(options, report) as station:
        app = make_app(station)
        config = uvicorn.Config(app, host=host, port=port, log_level="critical", access_log=False)
        server = uvicorn.Server(config)
        ready(f"http://{host}:{port}/")
        station.failed = lambda: setattr(server, "should_exit", True)
        if station.loop.failure is None:  # or meanwhile
            server.run()
        if station.loop.failure is not None:
            raise station.loop.failure


def _beside(run: Path) -> Path:
    run = run.resolve()
    return run.with_name(run.name + STATE_SUFFIX)
