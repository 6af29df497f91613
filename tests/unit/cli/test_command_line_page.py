"""The page on the command line tells what the command line does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import cytosol
from cytosol.cli import exits
from cytosol.cli.commands import program
from cytosol.cli.prompt import HELP

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "command-line.md").read_text("utf-8")
APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"


def examples() -> list[tuple[str, list[str]]]:
    """Return the commands on the page, each with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def fits(pattern: str, line: str) -> bool:
    """Tell whether a line is as the page shows it; `...` stands for anything."""
    return re.fullmatch(".+".join(map(re.escape, pattern.split("..."))), line) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="the page is written for a POSIX shell")
def test_the_examples_print_what_the_page_shows(tmp_path: Path) -> None:
    """From top to bottom, in one folder, in a shell."""
    with cytosol.open(tmp_path / "notes.cytosol", app_id=APP_ID, network=False):
        pass
    cli = shlex.join([sys.executable, "-m", "cytosol.cli"])
    assert len(examples()) >= 7
    for command, expected in examples():
        line = re.sub(r"(^|\| )cytosol ", lambda match: f"{match[1]}{cli} ", command)
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        shown = done.stdout.splitlines()
        assert len(expected) == len(shown), f"{command}\n{done.stdout}"
        for pattern, found in zip(expected, shown, strict=True):
            assert fits(pattern, found), f"{command}\n{pattern}\n{found}"


def test_the_page_has_every_command_and_exit_code() -> None:
    """Nothing that works is left out."""
    for name in program.commands:
        assert f"`cytosol {name} " in PAGE
    for usage, _ in HELP:
        assert re.search(rf"`{usage.split()[0]}\b", PAGE), usage
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.M)}
