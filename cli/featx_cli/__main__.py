"""Start of ``featx`` and ``python -m featx``: every error is one line and an exit code."""

from __future__ import annotations

import atexit
import itertools
import os
import re
import signal
import sys
import warnings
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from featx._memory_limit import LIBRARIES_BYTES, require_address_space
from featx_cache._errors import FeatxError
from featx_cache._text import first_line, printable
from featx_cache.files._outputs import ReaderLeftError
from featx_cli.app import make_command
from featx_cli.console import is_serving
from featx_cli.interruptions import HUNG_UP, INTERRUPTED, TERMINATED, Leaving, interruption_of
from featx_cli.memory_errors import lacks_memory
from featx_cli.options import option_of, with_options
from featx_cli.output_streams import guard_standard_streams


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 for success, 1 for a failure, 2 for misuse."""
    _open_closed_streams()
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever keras.json says
    # Pillow warns at half of the size that it refuses. Such an image is just large.
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    # Its warnings about damaged tags name no file, and the image is read or refused in any case.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    arguments = sys.argv[1:] if arguments is None else arguments
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP, and nohup ignores it
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _terminate)
    guard_standard_streams()
    leaving = Leaving()
    atexit.register(leaving)  # the first to be registered is the last to be called
    try:
        code = _run(arguments)
    except SystemExit as stop:  # of `_terminate`
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException as error:  # with --debug, or when Ctrl-C is pressed twice
        leaving.code = interruption_of(error)
        raise
    if code in (INTERRUPTED, TERMINATED, HUNG_UP):
        leaving.code = code
    sys.exit(code)


def _open_closed_streams() -> None:
    """Open the null device for standard streams that are closed.

    Otherwise the next opened files get their numbers, and what a library prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken.
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _run(arguments: list[str]) -> int:
    # Everything after `--` is a name.
    debug = "--debug" in itertools.takewhile(lambda word: word != "--", arguments)
    try:
        require_address_space(LIBRARIES_BYTES, "featx")
        result = make_command().main(arguments, prog_name="featx", standalone_mode=False)
        if result == INTERRUPTED:  # Typer returns this for Ctrl-C
            raise KeyboardInterrupt
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except FeatxError as error:
        if debug:
            raise
        return _ended(error) or _complain(_message(error), error.exit_code)
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # private to Typer; it holds the help page
            print(error.format_message(), file=sys.stderr)  # noqa: T201
            return error.exit_code
        command = next((f"{a} " for a in arguments if not a.startswith("-")), "")
        message = error.format_message().rstrip(".").replace("Value error, ", "")
        if message.startswith("No such command"):
            command = ""
        return _complain(f"{message}. See `featx {command}--help`.", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except (ReaderLeftError, BrokenPipeError):
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except Exception as error:
        if debug:
            raise
        if code := _ended(error):
            return code
        if lacks_memory(error):
            return _complain(
                "there isn't enough memory. Close other programs or raise the limit "
                "(`ulimit -v`), and run the same command again. Finished work is kept.",
                1,
            )
        return _complain(
            f"unexpected {type(error).__name__}: {first_line(error)}. Run it again with --debug "
            "and report what it prints.",
            1,
        )


def _message(error: FeatxError) -> str:
    """Return what an error says, with the options of the command that runs."""
    message = with_options(" ".join([str(error), *getattr(error, "__notes__", ())]))
    option = option_of(error.parameter or "")
    said = not option or re.search(rf"{option}(?![\w-])", message)
    return message if said else f"{option}: {message}"


def _interrupted() -> int:
    if is_serving():
        return INTERRUPTED
    return _complain(
        "interrupted. Finished work is kept. Run the same command again to go on (`featx fit` "
        "with --resume).",
        INTERRUPTED,
    )


def _ended(error: BaseException) -> int | None:
    """Return the exit code if an interruption caused an error, else None."""
    code = interruption_of(error)
    return _interrupted() if code == INTERRUPTED else code


def _complain(message: str, exit_code: int) -> int:
    one_line = " ".join(line.strip() for line in message.splitlines() if line.strip())
    print(f"featx: error: {printable(one_line)}", file=sys.stderr)  # noqa: T201
    return exit_code


def _terminate(signum: int, frame: object) -> NoReturn:  # noqa: ARG001
    """Leave by an exception, so that temporary files are removed."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    main()
