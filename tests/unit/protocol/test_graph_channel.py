"""Who listens to messages of graphs on one connection, and how many pieces may be under way."""

from __future__ import annotations

from typing import Any

import pytest

from cytosol.limits import GRAPH_PIECE_LENGTH_MAX, GRAPH_PIECES_WAITING_MAX
from cytosol.protocol.effects import Answer, AnswerError, Call, Emit, Notify
from cytosol.protocol.events import GraphClosed, GraphOpened, GraphPiece, GraphTaken
from cytosol.protocol.graph_channel import GRAPH_CALLS_MAX, NO_TIMEOUT_S, GraphChannel
from cytosol.wire.jsonrpc import ErrorCode

PEER = "22222222-2222-2222-2222-222222222222"
LISTEN, MESSAGE = "cytosol.graph.listen", "cytosol.graph.message"
OPENING = (9, 1, 5)  # the connection, our first channel, and theirs


@pytest.fixture
def channel() -> GraphChannel:
    """A channel on which nobody listens."""
    return GraphChannel(9, PEER)


@pytest.fixture
def opened(channel: GraphChannel) -> GraphChannel:
    """A channel on which both sides listen."""
    channel.listen(True)
    they_listen(channel, 5)
    channel.take_effects()
    return channel


def they_listen(channel: GraphChannel, number: Any) -> None:
    channel.receive_notification(LISTEN, {"channel": number})


def piece(
    channel: GraphChannel, request_id: int, text: str = "x", number: int = 1, more: bool = False
) -> None:
    channel.receive_request(request_id, MESSAGE, {"channel": number, "text": text, "more": more})


def error_of(effect: object) -> tuple[int | str, int]:
    """Return request and code of a refusal."""
    assert isinstance(effect, AnswerError)
    return effect.request_id, effect.code


def test_it_opens_when_both_sides_listen(channel: GraphChannel) -> None:
    """Whoever begins."""
    channel.listen(True)
    assert [Notify(LISTEN, {"channel": 1})] == channel.take_effects()
    they_listen(channel, 5)
    assert [Emit(GraphOpened(PEER, OPENING))] == channel.take_effects()
    assert OPENING == channel.opening


def test_it_opens_also_when_they_were_first(channel: GraphChannel) -> None:
    """The announcement goes out before the program hears of the opening."""
    they_listen(channel, 5)
    assert [] == channel.take_effects()
    assert channel.opening is None
    channel.listen(True)
    assert [
        Notify(LISTEN, {"channel": 1}),
        Emit(GraphOpened(PEER, OPENING)),
    ] == channel.take_effects()


def test_to_listen_twice_is_to_listen(opened: GraphChannel) -> None:
    """And the same number again is nothing new."""
    opened.listen(True)
    they_listen(opened, 5)
    assert [] == opened.take_effects()


def test_not_to_listen_is_where_it_begins(channel: GraphChannel) -> None:
    """Nothing is said then: a program that never uses graphs looks like one that cannot."""
    channel.listen(False)
    they_listen(channel, 0)
    assert [] == channel.take_effects()


def test_a_piece_travels_and_is_answered_when_it_was_taken(opened: GraphChannel) -> None:
    """Not before."""
    piece(opened, 7, "half", more=True)
    assert [Emit(GraphPiece(PEER, OPENING, "half", True))] == opened.take_effects()
    opened.taken(OPENING)
    assert [Answer(7, {})] == opened.take_effects()
    opened.taken(OPENING)
    assert [] == opened.take_effects()


def test_our_pieces_are_calls_without_a_time_out(opened: GraphChannel) -> None:
    """A program may be busy; the answer says that it has taken the piece."""
    opened.send(OPENING, "hello", False)
    params = {"channel": 5, "text": "hello", "more": False}
    assert [Call(1, MESSAGE, params, NO_TIMEOUT_S)] == opened.take_effects()
    opened.receive_result(1)
    assert [Emit(GraphTaken(PEER, OPENING))] == opened.take_effects()


def test_a_refused_piece_closes_until_they_listen_again(opened: GraphChannel) -> None:
    """So it is with a peer that does not know the method."""
    opened.send(OPENING, "hello", False)
    opened.take_effects()
    opened.receive_error(1)
    assert [Emit(GraphClosed(PEER, OPENING))] == opened.take_effects()
    opened.send(OPENING, "again", False)
    assert [] == opened.take_effects()
    they_listen(opened, 6)
    assert [Emit(GraphOpened(PEER, (9, 1, 6)))] == opened.take_effects()


def test_what_is_said_about_an_earlier_opening_is_not_heard(opened: GraphChannel) -> None:
    """Answers, errors, and what the program still does in it."""
    opened.send(OPENING, "one", False)
    opened.send(OPENING, "two", False)
    piece(opened, 7)
    they_listen(opened, 6)
    effects = opened.take_effects()[3:]
    assert Emit(GraphClosed(PEER, OPENING)) == effects[0]
    assert (7, ErrorCode.NOT_NOW) == error_of(effects[1])
    assert [Emit(GraphOpened(PEER, (9, 1, 6)))] == effects[2:]
    opened.receive_result(1)
    opened.receive_error(2)
    opened.taken(OPENING)
    opened.shut(OPENING)
    assert [] == opened.take_effects()
    assert (9, 1, 6) == opened.opening


def test_ceasing_to_listen_refuses_what_waits_and_what_comes(opened: GraphChannel) -> None:
    """They hear of it, and a piece that was on its way is sent back."""
    piece(opened, 7)
    opened.take_effects()
    opened.listen(False)
    closed, refused, said = opened.take_effects()
    assert Emit(GraphClosed(PEER, OPENING)) == closed
    assert (7, ErrorCode.NOT_NOW) == error_of(refused)
    assert Notify(LISTEN, {"channel": 0}) == said
    piece(opened, 8)
    assert [(8, ErrorCode.NOT_NOW)] == [error_of(each) for each in opened.take_effects()]


def test_listening_anew_has_a_new_number(opened: GraphChannel) -> None:
    """What was meant for the old one is refused."""
    opened.listen(False)
    opened.listen(True)
    assert Emit(GraphOpened(PEER, (9, 2, 5))) == opened.take_effects()[-1]
    piece(opened, 7, number=1)
    assert [(7, ErrorCode.NOT_NOW)] == [error_of(each) for each in opened.take_effects()]
    piece(opened, 8, number=2)
    assert [Emit(GraphPiece(PEER, (9, 2, 5), "x", False))] == opened.take_effects()


def test_one_piece_too_many_ends_it_for_this_connection(opened: GraphChannel) -> None:
    """GRAPH_PIECES_WAITING_MAX; everybody else goes on."""
    for number in range(GRAPH_PIECES_WAITING_MAX):
        piece(opened, number)
    opened.take_effects()
    piece(opened, 99)
    refused, closed, *rest = opened.take_effects()
    assert (99, ErrorCode.INVALID_REQUEST) == error_of(refused)
    assert Emit(GraphClosed(PEER, OPENING)) == closed
    assert [*range(GRAPH_PIECES_WAITING_MAX)] == [error_of(each)[0] for each in rest[:-1]]
    assert Notify(LISTEN, {"channel": 0}) == rest[-1]
    opened.listen(True)
    they_listen(opened, 6)
    assert [] == opened.take_effects()


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"channel": 1},
        {"channel": 0, "text": "", "more": False},
        {"channel": 1, "text": 5, "more": False},
        {"channel": 1, "text": "x", "more": 1},
        {"channel": 1, "text": "x" * (GRAPH_PIECE_LENGTH_MAX + 1), "more": False},
    ],
    ids=["none", "empty", "no text", "channel 0", "number", "more is 1", "too long"],
)
def test_a_malformed_piece_ends_it_for_this_connection(opened: GraphChannel, params: Any) -> None:
    """GRAPH_PIECE_LENGTH_MAX among others: what is missing cannot be made up for."""
    opened.receive_request(7, MESSAGE, params)
    refused, closed, said = opened.take_effects()
    assert (7, ErrorCode.INVALID_PARAMS) == error_of(refused)
    assert Emit(GraphClosed(PEER, OPENING)) == closed
    assert Notify(LISTEN, {"channel": 0}) == said
    opened.listen(True)
    assert [] == opened.take_effects()


@pytest.mark.parametrize("params", [None, [], {}, {"channel": -1}, {"channel": "x"}], ids=repr)
def test_a_malformed_announcement_counts_as_not_listening(
    opened: GraphChannel, params: Any
) -> None:
    """Until there is a better one."""
    opened.receive_notification(LISTEN, params)
    assert [Emit(GraphClosed(PEER, OPENING))] == opened.take_effects()


def test_unknown_methods_are_refused_or_ignored(opened: GraphChannel) -> None:
    """As on every connection."""
    opened.receive_notification("cytosol.graph.new", {})
    assert [] == opened.take_effects()
    opened.receive_request(7, "cytosol.graph.new", {})
    assert [(7, ErrorCode.METHOD_NOT_FOUND)] == [error_of(each) for each in opened.take_effects()]
    assert OPENING == opened.opening


def test_a_peer_that_begins_anew_and_never_answers_is_given_up(channel: GraphChannel) -> None:
    """Its unanswered calls are bounded over all openings."""
    channel.listen(True)
    for number in range(GRAPH_CALLS_MAX):
        they_listen(channel, number + 1)
        channel.send((9, 1, number + 1), "x", False)
    channel.take_effects()
    last = (9, 1, GRAPH_CALLS_MAX)
    channel.send(last, "one too many", False)
    assert [
        Emit(GraphClosed(PEER, last)),
        Notify(LISTEN, {"channel": 0}),
    ] == channel.take_effects()
    they_listen(channel, 1_000)
    assert channel.opening is None


def test_the_program_can_shut_a_peer_out(opened: GraphChannel) -> None:
    """Until the next connection, which has another channel."""
    opened.shut(OPENING)
    assert [
        Emit(GraphClosed(PEER, OPENING)),
        Notify(LISTEN, {"channel": 0}),
    ] == opened.take_effects()
    opened.listen(True)
    assert [] == opened.take_effects()


def test_the_end_of_the_connection_is_told_once(opened: GraphChannel) -> None:
    """And nothing else is done any more."""
    piece(opened, 7)
    assert Emit(GraphClosed(PEER, OPENING)) == opened.lost()
    assert opened.lost() is None
    assert [] == opened.take_effects()
    opened.listen(True)
    assert [] == opened.take_effects()
