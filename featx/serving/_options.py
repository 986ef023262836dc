"""Options of a service, checked before anything is started."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from featx._addresses import is_loopback
from featx.dicomnet._libraries import require_libraries
from featx.errors import InputError
from featx.runs import read_record
from featx.serving._listening import require_port, resolve
from featx.serving._station import STATE_SUFFIX, ServeOptions
from featx.serving._tokens import read_tokens
from featx.worklist import Limits, RunSettings
from featx_cache._text import printable


def make_options(
    runs: str | Path | Sequence[str | Path],
    *,
    state: str | Path | None = None,
    watch: str | Path | None = None,
    token_file: str | Path | None = None,
    limits: Limits | None = None,
    weights: str | None = None,
    runtime: Literal["tensorflow", "ncnn"] | None = None,
    **others: Any,
) -> ServeOptions:
    """Make the options of a service from what `featx.serve` takes.

    Raises
    ------
    InputError
        If one of them can't be used.
    """
    paths = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if not paths:
        raise InputError("no run is given", "Give one or more.", parameter="runs")
    options = ServeOptions(
        runs=RunSettings(tuple(map(str, paths)), runtime=runtime, weights=weights),
        state=Path(state) if state is not None else _beside(paths[0]),
        watch=None if watch is None else Path(watch),
        token_file=None if token_file is None else Path(token_file),
        limits=limits or Limits(),
        **others,
    )
    for parameter, given in (
        ("runs", paths),
        ("state", [options.state]),
        ("watch", [options.watch]),
        ("results", options.results),
        ("weights", [weights]),
    ):
        _require_text(parameter, given)
    _check(options)
    _check_runs(paths)
    return options


def _check(options: ServeOptions) -> None:
    require_port(options.port, "port")
    if not (math.isfinite(options.keep_days) and options.keep_days >= 0):
        raise InputError(
            f"{options.keep_days} is no number of days", "Give 0 or more.", parameter="keep_days"
        )
    options.node()
    if options.dicom_port is not None or options.results:
        require_libraries()
    if options.watch is not None and not options.watch.is_dir():
        raise InputError(f"there is no folder {options.watch}", "Make it first.", parameter="watch")
    if options.dicom_peers and options.dicom_port is None:
        raise InputError(
            "nodes are given that may send DICOM images, and no port at which they can",
            "Give `dicom_port`, too.",
            parameter="dicom_peers",
        )
    if options.heat_maps and not options.results:
        raise InputError(
            "heat maps are delivered with results, and no place for these is given",
            "Give `results`, too.",
            parameter="heat_maps",
        )
    if options.allowed_hosts and options.token_file is None:
        raise InputError(
            "other names are given so that others can reach the server, and it has no tokens",
            "Give `token_file`, too.",
            parameter="allowed_hosts",
        )


def _require_text(parameter: str, names: Iterable[Path | str | None]) -> None:
    """Refuse a name that isn't text: pages, the database and commands have it."""
    for name in names:
        try:
            str(name).encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"the name {printable(str(name))!r} isn't UTF-8", "Rename it.", parameter=parameter
            ) from error


def _check_runs(paths: Sequence[Path]) -> None:
    """Refuse what isn't a run, a run that is there twice, and runs of other classes."""
    records = [read_record(path) for path in paths]
    places = [path.resolve() for path in paths]
    for number, (path, record) in enumerate(zip(paths, records, strict=True)):
        if places[number] in places[:number]:
            raise InputError(f"the run {path} is given twice", "Name each run once.")
        if record.classes != records[0].classes:
            raise InputError(
                f"the runs {paths[0]} and {path} have other classes: "
                f"{' and '.join(records[0].classes)}, {' and '.join(record.classes)}",
                "Serve runs that tell the same classes apart.",
            )


def require_tokens(options: ServeOptions) -> None:
    """Check the tokens of a server. One that others can reach must have some.

    Raises
    ------
    InputError
        If it has none, or their file can't be used.
    """
    _, address = resolve(options.host, options.port)
    if options.token_file is not None:
        read_tokens(options.token_file)
    elif not is_loopback(address):
        raise InputError(
            f"others can reach {options.host or address}, and the server has no tokens",
            "Give `token_file`, a file with one token a line. What is sent isn't encrypted: put a "
            "proxy with TLS in front of it.",
            parameter="host",
        )


def _beside(run: Path) -> Path:
    run = run.resolve()
    return run.with_name(run.name + STATE_SUFFIX)
