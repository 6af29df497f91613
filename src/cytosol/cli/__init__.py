"""The command `cytosol`: a demo, a peer in the terminal, and tools for database files.

It needs click and rich, which the extra `cli` installs; without them `main` says so.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; always ends in SystemExit with a code of `cytosol.cli.exits`."""
    try:
        import click  # noqa: F401  # only whether it is there
        import rich  # noqa: F401  # only whether it is there
    except KeyboardInterrupt:  # as below
        sys.exit(130)
    except ModuleNotFoundError as error:
        print(
            f"cytosol: the command line needs the package {error.name!r}, which is not installed; "
            "install it with: pip install 'cytosol[cli]'",
            file=sys.stderr,
        )
        sys.exit(1)
    try:
        from cytosol.cli.commands import program
    except KeyboardInterrupt:  # loading takes a moment; afterwards the program sees to it
        sys.exit(130)
    program.main(prog_name="cytosol")
