"""``featx dashboard`` and ``featx tensorboard``: look at a search, or at a training."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from featx_cli.head_options import StorageOption
from featx_cli.serving import LOCALHOST, Details, announce, serve, warn_if_open
from featx_cli.web_guard import guarded

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
            metavar="[RUN]",
            help="Run that `featx fit` or `featx tune` made, or `featx tune` is making.",
            show_default=False,
        ),
    ] = None,
    storage: StorageOption = None,
    port: Annotated[int, typer.Option(help="Port to listen at. 0 takes a free one.")] = 8080,
    host: Host = LOCALHOST,
    open_browser: Open = False,
) -> None:
    """Serve optuna-dashboard on the study of a run: recall against accuracy.

    After `featx fit` the trials are thresholds. After `featx tune`, or while it runs, they are
    heads with settings and a threshold. Those that were the best when they finished show their ROC
    curve, recall and accuracy against the threshold, and their confusion matrix.
    """
    from featx.fitting._studies import find_study
    from featx.tuning._dashboard import make_dashboard

    logging.getLogger("optuna_dashboard").addHandler(logging.StreamHandler(Details()))
    study = find_study(run, storage)
    made = make_dashboard(study.location, study.artifacts)
    warn_if_open(host, "the dashboard")
    serve(made.application, host, port, made.path, title="Dashboard", open_browser=open_browser)


def tensorboard(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run of a Keras head, also while it is trained.")
    ],
    port: Annotated[int, typer.Option(help="Port to listen at. 0 takes a free one.")] = 6006,
    host: Host = LOCALHOST,
    open_browser: Open = False,
) -> None:
    """Serve TensorBoard on the trainings of a Keras head."""
    import tensorboard.program as program

    from featx.errors import InputError
    from featx.runs._unfinished import training_logs
    from featx_cache._text import first_line

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
            f"TensorBoard can't listen at {host}:{port}: {first_line(error)}",
            "Give another `port`. 0 takes a free one.",
        ) from error
    announce(url, "TensorBoard", open_browser)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
