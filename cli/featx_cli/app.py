"""The commands, put together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import typer

from featx_cache._errors import StorageError
from featx_cache._text import first_line
from featx_cli.commands import (
    backbones,
    cache,
    calibrate,
    dashboard,
    data,
    demo,
    distill,
    doctor,
    evaluate,
    explain,
    export,
    extract,
    fit,
    heads,
    predict,
    report,
    serve,
    tune,
)
from featx_cli.console import Verbosity, set_serving, set_verbosity
from featx_cli.interruptions import Leaving, interruption_of
from featx_cli.options import use_options_of

HELP = """Chest X-ray classifiers on frozen embeddings.

A frozen VGG19 runs once over every image and its augmented copies. Its embeddings are cached in
HDF5. Heads train on that cache in seconds. The threshold has the highest recall above an accuracy
floor that you choose.

The usual order:

\b
  featx data check DATA
  featx extract DATA --cache CACHE
  featx fit CACHE --head logreg --run RUN
  featx evaluate RUN
  featx report RUN --out report.html
  featx predict RUN IMAGES
  featx explain RUN IMAGES --out DIR

Exit codes: 0 success, 1 failure, 2 misuse or unusable input, 3 some images could not be scored,
130 interrupted.

Research software, not a medical device.
"""

SHARED_OPTIONS = ("quiet", "verbose", "debug")
"""Options that are accepted before a command and after it."""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("extract", epilog=extract.EPILOG)(extract.extract)
app.command("fit", epilog=fit.EPILOG)(fit.fit)
app.command("calibrate", epilog=calibrate.EPILOG)(calibrate.calibrate)
app.command("tune", epilog=tune.EPILOG)(tune.tune)
app.command("dashboard", epilog=dashboard.DASHBOARD_EPILOG)(dashboard.dashboard)
app.command("tensorboard", epilog=dashboard.TENSORBOARD_EPILOG)(dashboard.tensorboard)
app.command("heads", epilog=heads.EPILOG)(heads.heads)
app.command("evaluate", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("report", epilog=report.EPILOG)(report.report)
app.command("explain", epilog=explain.EPILOG)(explain.explain)
app.command("predict", epilog=predict.EPILOG)(predict.predict)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("export", epilog=export.EPILOG)(export.export)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.command("backbones", epilog=backbones.EPILOG)(backbones.backbones)
app.command("distill", epilog=distill.EPILOG)(distill.distill)
app.command("doctor", epilog=doctor.EPILOG)(doctor.doctor)
app.command("demo", epilog=demo.EPILOG)(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(importlib.metadata.version("featx"))
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what is chosen and why.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show Python's traceback with an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,  # otherwise a missing command is an error first
            help="Print the version and stop.",
        ),
    ] = False,
) -> None:
    """Read the options that all commands share."""
    del debug, version  # read by featx_cli.__main__ before anything is parsed, and by its callback
    set_serving(False)
    set_verbosity(Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.NORMAL)


def make_command() -> Any:
    """Return the command line as one callable command."""
    root: Any = typer.main.get_command(app)
    shared = []
    for option in root.params:
        if option.name in SHARED_OPTIONS:
            # Commands get no argument for it. Its callback acts when it is read.
            option = copy.copy(option)
            option.expose_value, option.callback = False, _after_the_command
            shared.append(option)
        elif option.name == "install_completion":
            option.callback = partial(_install_completion, option.callback)
    commands = list(_below(root))
    for command in commands:
        command.params = [*command.params, *shared]
        command.invoke = partial(_invoke, command, commands, command.invoke)
    return root


def _install_completion(install: Callable[..., Any], context: Any, option: Any, wanted: Any) -> Any:
    """Install completion into the shell's settings, which may not be writable."""
    try:
        return install(context, option, wanted)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        raise StorageError(
            f"can't write the settings of your shell: {first_line(error)}",
            "`featx --show-completion` prints what belongs there.",
        ) from error


def _below(group: Any) -> Iterator[Any]:
    """Yield the commands of a group, and the commands of the groups among them."""
    for command in group.commands.values():
        yield command
        yield from _below(command) if hasattr(command, "commands") else ()


def _invoke(command: Any, others: list[Any], invoke: Callable[[Any], Any], context: Any) -> Any:
    """Run a command. Messages speak of its options from now on."""
    use_options_of(command, others)
    try:
        return invoke(context)
    except BaseException as error:
        if interruption_of(error) is not None:
            Leaving.error = error
        raise


def _after_the_command(_: Any, option: Any, given: bool) -> None:
    if given and option.name != "debug":
        set_verbosity(Verbosity[option.name.upper()])
