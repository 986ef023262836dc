"""``featx serve``: a worklist for readers, an API for programs, and a node of the DICOM network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from featx_cli.console import say, warn
from featx_cli.run_options import RuntimeOption, WeightsOption
from featx_cli.serving import LOCALHOST, announce

EPILOG = "\b\nExample:  featx serve runs/logreg --watch incoming/ --open"


def serve(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Run, or several to compare side by side. The first one orders the worklist.",
            show_default=False,
        ),
    ],
    watch: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder whose images are taken in as they appear.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen at. 0 takes a free one.")] = 8000,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at. Any but this machine's own needs --token-file."),
    ] = LOCALHOST,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the tokens that open the page and the API, one a line.",
            show_default=False,
        ),
    ] = None,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host",
            metavar="NAME",
            help="Further name of this server, such as that of a proxy in front of it. It needs "
            "--token-file. It can be given several times.",
            show_default=False,
        ),
    ] = None,
    dicom_port: Annotated[
        int | None,
        typer.Option(
            help="Port at which DICOM images are received (C-STORE). Default: none is.",
            show_default=False,
        ),
    ] = None,
    dicom_host: Annotated[
        str,
        typer.Option(
            help="Address to listen at for DICOM images. Any but this machine's own needs "
            "--dicom-peer."
        ),
    ] = LOCALHOST,
    dicom_peers: Annotated[
        list[str] | None,
        typer.Option(
            "--dicom-peer",
            metavar="AE_TITLE@HOST",
            help="Node that may send DICOM images. It can be given several times. Default: every "
            "program on this machine may.",
            show_default=False,
        ),
    ] = None,
    ae_title: Annotated[
        str, typer.Option(metavar="NAME", help="Name of this node in the DICOM network.")
    ] = "FEATX",
    results: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="Place that results of DICOM images are delivered to as Structured Reports: a "
            "folder, dicom://AE_TITLE@HOST:PORT, or the http address of a DICOMweb service. It can "
            "be given several times.",
            show_default=False,
        ),
    ] = None,
    heat_maps: Annotated[
        bool,
        typer.Option(
            "--heat-maps", help="Deliver a secondary capture with the heat map to --results, too."
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the images and the database. Default: the run's name with .worklist, "
            "beside the run.",
            show_default=False,
        ),
    ] = None,
    keep_days: Annotated[
        float,
        typer.Option(help="Days after which images are removed. Scores and readings stay."),
    ] = 30.0,
    weights: WeightsOption = None,
    runtime: RuntimeOption = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser.")
    ] = False,
) -> None:
    """Serve a worklist of X-rays, sorted by a run's score, until Ctrl-C.

    Images come by drag and drop, by the REST API, from a watched folder, or over the DICOM network.
    What came in is scored once, stays through a crash, and is removed after some days. A reader's
    own readings are exported as the CSV file that `featx calibrate` takes.
    Research software, not a medical device.
    """
    from featx.serving import serve as serve_runs

    say("Loading the run ...")
    serve_runs(
        runs,
        watch=watch,
        host=host,
        port=port,
        dicom_port=dicom_port,
        dicom_host=dicom_host,
        dicom_peers=dicom_peers or (),
        ae_title=ae_title,
        results=results or (),
        heat_maps=heat_maps,
        token_file=token_file,
        allowed_hosts=allowed_hosts or (),
        state=state,
        keep_days=keep_days,
        weights=weights,
        runtime=runtime,
        report=warn,
        ready=lambda url: announce(url, "Worklist", open_browser),
    )
