"""Frames cut into pieces for a data channel, and put together again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.errors import GraphError
from cytosol.graph.transports.link import FRAME_BYTES_MAX
from cytosol.graph.transports.pieces import PIECE_BYTES, Assembler, pieces

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def _joined(frame: str) -> str:
    assembler = Assembler()
    whole = [made for piece in pieces(frame) if (made := assembler.feed(piece)) is not None]
    assert len(whole) == 1
    return whole[0] if isinstance(whole[0], str) else whole[0].decode()


@given(texts, st.integers(min_value=1, max_value=3_000))
def test_a_frame_of_any_size_arrives_as_it_was_sent(text: str, times: int) -> None:
    """Also when a character of several bytes is cut in two."""
    frame = text * times
    assert frame == _joined(frame)


@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_no_piece_is_larger_than_a_channel_can_take(size: int) -> None:
    """At the edges of one piece and beyond."""
    made = list(pieces("x" * size))
    assert all(len(piece) <= PIECE_BYTES for piece in made)
    assert "x" * size == _joined("x" * size)


def test_a_short_frame_goes_as_text() -> None:
    """So that it can be read where a browser shows what comes in."""
    assert ["é" * 8_192] == list(pieces("é" * 8_192))
    assert [bytes, bytes] == [type(piece) for piece in pieces("é" * 8_193)]


def test_several_frames_follow_each_other() -> None:
    """Long and short, through one assembler."""
    assembler = Assembler()
    got = []
    for frame in ("a", "b" * 40_000, "", "c" * 20_000, "d"):
        got += [made for piece in pieces(frame) if (made := assembler.feed(piece)) is not None]
    assert ["a", b"b" * 40_000, "", b"c" * 20_000, "d"] == got


def test_a_frame_between_the_pieces_of_another_is_refused() -> None:
    """The channel keeps messages in order, so this is no honest end."""
    assembler = Assembler()
    assert assembler.feed(b"\x00begun") is None
    with pytest.raises(GraphError, match="before the last piece"):
        assembler.feed("{}")


@pytest.mark.parametrize("message", [b"", b"\x02rest", b"{}"])
def test_a_binary_message_without_its_mark_is_refused(message: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(GraphError, match="byte 0 or 1"):
        Assembler().feed(message)


def test_a_frame_that_never_ends_is_refused_at_the_limit() -> None:
    """The limit is FRAME_BYTES_MAX of the link; memory does not grow beyond it."""
    assembler = Assembler()
    piece = b"\x00" + b"x" * (1024 * 1024)
    for _ in range(FRAME_BYTES_MAX // (1024 * 1024)):
        assert assembler.feed(piece) is None
    with pytest.raises(GraphError, match=f"{FRAME_BYTES_MAX} are allowed"):
        assembler.feed(piece)
