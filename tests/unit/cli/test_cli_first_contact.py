"""What a newcomer sees who types the bare command."""

from __future__ import annotations

from click.testing import CliRunner

from cytosol.cli.commands import program


def test_the_bare_command_shows_its_help() -> None:
    """On several lines, and as no error."""
    shown = CliRunner().invoke(program, [], standalone_mode=True)
    assert 0 == shown.exit_code
    assert shown.output.startswith("Usage: ")
    assert any(line.strip().startswith("demo") for line in shown.output.splitlines())
