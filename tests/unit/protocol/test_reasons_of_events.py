"""What a peer has a part in can be shown: it obeys no terminal and fills no screen."""

from __future__ import annotations

from cytosol.protocol.events import SyncFailed


def test_a_reason_is_left_as_it_is_if_it_can_be_shown() -> None:
    """Sentences of ours are not touched."""
    reason = "both hold ops up to the same numbers, but Zoë’s state hashes differ"
    assert reason == SyncFailed("id", reason).reason


def test_a_reason_holds_no_characters_that_a_terminal_obeys() -> None:
    """Escapes, new lines and marks that turn the direction of a text become spaces."""
    assert "red [31m and turned" == SyncFailed("id", "red\x1b[31m\r\nand\u202eturned\x00").reason


def test_a_reason_is_not_longer_than_it_can_be_read() -> None:
    """A peer may send a message of megabytes."""
    assert "x" * 500 == SyncFailed("id", "x" * 1_000_000).reason
