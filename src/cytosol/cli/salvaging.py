"""Write down what can still be read of a damaged file."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import click

from cytosol.cli.exits import DAMAGED, NO_FILE, OK, CommandError
from cytosol.cli.secrets import secret_for
from cytosol.cli.text import count_of, json_text, printable
from cytosol.database.salvage import salvage_file
from cytosol.database.sealing import secret_of
from cytosol.document.salvage import Salvaged
from cytosol.savestates.files import log_without_file
from cytosol.savestates.sealkeys import Secret

__all__ = ["salvage_to"]

_SHOWN_MAX = 20


def salvage_to(file: Path, out: Path, as_json: bool) -> int:
    """Write a new JSON file; returns 2 if something is missing in it."""
    is_there = file.exists() or file.is_symlink()
    if not is_there and log_without_file(file) is None:
        raise CommandError(f"there is no file '{file}'", NO_FILE)
    if os.path.lexists(out):
        raise CommandError(f"'{out}' is there already, and is not overwritten; choose another name")

    def ask() -> Secret:
        return secret_of(**secret_for(file))(False)

    found = salvage_file(file, ask)
    text = json.dumps(found.to_json(), ensure_ascii=False, indent=2) + "\n"
    _write_new(out, text.encode("utf-8", "surrogatepass"))
    if as_json:
        summary = {"ok": not found.problems, "ops": found.ops, "problems": list(found.problems)}
        click.echo(json_text(summary))
    else:
        for line in _lines(file, out, found):
            click.echo(printable(line))
    return DAMAGED if found.problems else OK


def _write_new(out: Path, data: bytes) -> None:
    """Write a file that is not there yet, whole or not at all; raises CommandError."""
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
        except OSError:  # half of it would stand in the way of the next try
            with suppress(OSError):
                out.unlink()
            raise
    except OSError as error:
        raise CommandError(f"'{out}' could not be written ({error.strerror})", NO_FILE) from None


def _lines(file: Path, out: Path, found: Salvaged) -> list[str]:
    count = count_of(found.ops, "op")
    lines = [f"what could be read of {file} is in {out}: the document after {count}"]
    if found.failures or found.left_out:
        lines.append(
            f"  {count_of(len(found.failures), 'op')} failed, "
            f"{count_of(len(found.left_out), 'thing')} could not be used; both are listed there"
        )
    if not found.problems:
        return [*lines, "  nothing is missing"]
    lines += [f"  - {problem}" for problem in found.problems[:_SHOWN_MAX]]
    more = len(found.problems) - _SHOWN_MAX
    return [*lines, f"  and {more:,} more"] if more > 0 else lines
