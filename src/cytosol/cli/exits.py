"""Exit codes, and how every error becomes one sentence on stderr and one of them.

The codes are documented in docs/how-to/command-line.md and are a promise to scripts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import click

from cytosol.errors import (
    CytosolError,
    DatabaseCorruptError,
    DatabaseLockedError,
    NetworkError,
    PathLimitError,
    SaveError,
    SealError,
)

__all__ = [
    "DAMAGED",
    "FOUND",
    "INTERRUPTED",
    "LOCKED",
    "NETWORK",
    "NO_FILE",
    "OK",
    "REFUSED",
    "SEALED",
    "USAGE",
    "CommandError",
    "Program",
    "exit_code",
    "sentence",
]

OK: Final = 0
REFUSED: Final = 1  # a bad action, path or value; or the demo did not succeed
DAMAGED: Final = 2  # the file is damaged, or is no Cytosol file
LOCKED: Final = 3  # another program has the file open
NO_FILE: Final = 4  # the file is not there, or the disk refuses; or the output does
NETWORK: Final = 5  # no socket, or pairing was refused
FOUND: Final = 6  # the doctor found why devices do not see each other
SEALED: Final = 7  # a sealed file, and no passphrase or key, or a wrong one; or it is not sealed
USAGE: Final = 64  # the command line itself is wrong (2 would be usual, and means damage here)
INTERRUPTED: Final = 130  # as shells do for Ctrl-C


class CommandError(Exception):
    """Say in one sentence why a command cannot do what it was asked; `code` is the exit code."""

    def __init__(self, message: str, code: int = REFUSED) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: Exception) -> int:
    """Return the exit code for an error."""
    match error:
        case CommandError():
            return error.code
        case DatabaseLockedError():
            return LOCKED
        case DatabaseCorruptError():
            return DAMAGED
        case SealError():
            return SEALED
        case SaveError():
            return NO_FILE
        case NetworkError():
            return NETWORK
        case click.UsageError():
            return USAGE
        case click.ClickException():
            return error.exit_code
    return REFUSED


def sentence(error: Exception) -> str:
    """Return what an error tells the user, on one line."""
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    if isinstance(error, PathLimitError) and not text:
        text = "the path takes too many steps; narrow it"
    return " ".join(text.split())


class Program(click.Group):
    """A group of commands whose errors are sentences and whose exit codes are ours."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run and exit, as click's own `main` does, with our exit codes."""

        def run() -> Any:
            return super(Program, self).main(args, prog_name, complete_var, False, **extra)

        if not standalone_mode:
            return run()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a character that a terminal lacks is no crash
                stream.reconfigure(errors="backslashreplace")
        if hasattr(sys.stdin, "reconfigure"):  # nor is a byte that is no text
            sys.stdin.reconfigure(errors="replace")
        try:
            code = run()
            sys.stdout.flush()
        except (click.exceptions.Abort, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())  # a newcomer's first command
            sys.exit(OK)
        except click.UsageError as error:
            click.echo(f"cytosol: {sentence(error)}", err=True)
            where = error.ctx.command_path if error.ctx else "cytosol"
            click.echo(_where_to_look(error, where), err=True)
            sys.exit(USAGE)
        except (CommandError, CytosolError, click.ClickException) as error:
            click.echo(f"cytosol: {sentence(error)}", err=True)
            sys.exit(exit_code(error))
        except OSError as error:  # database files have errors of their own
            _discard_output()
            reason = f"the input or the output failed ({error.strerror or error})"
            with suppress(OSError):
                click.echo(f"cytosol: {reason}; not all may have been printed", err=True)
            sys.exit(NO_FILE)
        sys.exit(code if isinstance(code, int) else OK)


def _where_to_look(error: click.UsageError, where: str) -> str:
    options_of_the_program = ("--passphrase-file", "--keyring")
    if isinstance(error, click.NoSuchOption) and error.option_name in options_of_the_program:
        return f"It stands before the command: cytosol {error.option_name} ..."
    return f"'{where} --help' tells how to use it."


def _discard_output() -> None:
    """Let what is left in the buffer go nowhere, so that Python does not fail on it once more."""
    with suppress(OSError, ValueError):
        number = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
