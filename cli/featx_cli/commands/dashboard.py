"""``featx dashboard`` and ``featx tensorboard``: look at a search, or at a training."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from featx_cli.guard import guarded
from featx_cli.serving import LOCALHOST, Details, announce, serve, warn_if_open

DASHBOARD_EPILOG = "\b\nExample:  featx dashboard runs/tuned --open"
TENSORBOARD_EPILOG = "\b\nExample:  featx tensorboard runs/keras --open"

Host = Annotated[
    str, typer.Option(help="Address or name to listen at, and to answer to. There is no log-in.")
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def dashboard(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]", help="Run that `featx tune` made, or is making.", show_default=False
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="FEATX_STORAGE",
            help="Database of the study, if it isn't in the run. What the run says isn't followed.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8080,
    host: Host = LOCALHOST,
    open_browser: Open = False,
) -> None:
    """Serve optuna-dashboard on the trials of a search, while it goes on or afterwards.

    Besides Optuna's own plots, trials that were the best when they finished show their ROC curve,
    recall and accuracy against the threshold, and their confusion matrix.
    """
    from featx.fitting._tune import find_study
    from featx.tuning._dashboard import dashboard as make

    logging.getLogger("optuna_dashboard").addHandler(logging.StreamHandler(Details()))
    place, artifacts = find_study(run, storage)
    application, path = make(place, artifacts)
    warn_if_open(host, "the dashboard")
    serve(application, host, port, path, title="Dashboard", open_browser=open_browser)


def tensorboard(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run of a Keras head, also while it is trained.")
    ],
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 6006,
    host: Host = LOCALHOST,
    open_browser: Open = False,
) -> None:
    """Serve TensorBoard on the trainings of a Keras head."""
    import tensorboard.program as program

    from featx.errors import InputError
    from featx.runs._unfinished import training_logs

    logs = training_logs(run)
    warn_if_open(host, "TensorBoard")

    def server(wsgi_app: Any, flags: Any) -> Any:
        return program.WerkzeugServer(guarded(wsgi_app, host), flags)

    board = program.TensorBoard(server_class=program.with_port_scanning(server))
    board.configure(logdir=str(logs), host=host, port=port)
    try:
        url = board.launch()
    except program.TensorBoardServerException as error:
        raise InputError(
            f"TensorBoard can't listen at {host}:{port}: {str(error).splitlines()[0]}",
            "Give another --port; 0 takes a free one.",
        ) from error
    announce(url, "TensorBoard", open_browser)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
