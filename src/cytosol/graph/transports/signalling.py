"""How two ends agree on a WebRTC connection: offer, answer, and who yields.

WebRTC needs another way first, over which the ends tell each other where they can be reached
and which certificates they will show. Any `Connection` or `ConnectionGroup` will do: signals are
ordinary messages `{"signal": {...}}` beside whatever else it carries. Candidates stand in the
offer and the answer (RFC 8829, 3.5.1), so there is no third kind of message for them.

The certificates' fingerprints come through here too: whoever can change signals can stand in
the middle. A WebRTC connection is as trustworthy as the connection that it was arranged over.

    offer    "I would like to be connected, here I am"      session names the attempt
    answer   "Very well, here I am"                         of the same session
    refused  "No, because ..."                              never answered
    bye      "I am gone for good"                           nobody need call me again
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, TypeGuard

from cytosol.errors import GraphError
from cytosol.graph.connection import Connection, ConnectionGroup
from cytosol.graph.events import Subscription
from cytosol.graph.transports.pieces import PIECE_BYTES
from cytosol.limits import (
    SIGNAL_CANDIDATES_MAX,
    SIGNAL_DESCRIPTION_LENGTH_MAX,
    SIGNAL_NAME_LENGTH_MAX,
    SIGNAL_REASON_LENGTH_MAX,
)
from cytosol.model.json import JsonValue

__all__ = [
    "Malformed",
    "Negotiation",
    "Signal",
    "SignalRelay",
    "Signalling",
    "Step",
    "checked_description",
    "is_signal",
    "parse_signal",
]

VERSION: Final = 1
KINDS: Final = frozenset({"offer", "answer", "refused", "bye"})


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal: `text` is the description (SDP) of an offer or answer, or the reason."""

    kind: str
    sender: str
    to: str | None
    session: str
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the message that carries the signal."""
        body: dict[str, Any] = {"v": VERSION, "kind": self.kind, "from": self.sender}
        if self.to is not None:
            body["to"] = self.to
        body["session"] = self.session
        if self.kind != "bye":
            body["reason" if self.kind == "refused" else "sdp"] = self.text
        return {"signal": body}


@dataclass(frozen=True, slots=True)
class Malformed:
    """What came in instead of a signal: why it is refused, and the answer where one is due."""

    reason: str
    answer: Signal | None


def is_signal(message: object) -> TypeGuard[dict[str, Any]]:
    """Tell signals, well formed or not, from what else the connection carries."""
    return type(message) is dict and "signal" in message


def parse_signal(message: object) -> Signal:
    """Read a signal from a message.

    Raises GraphError with the reason for whatever no honest end sends.
    """
    body = message.get("signal") if isinstance(message, dict) else None
    if not isinstance(body, dict):
        raise GraphError(f"a signal must be an object, not {type(body).__name__}")
    if body.get("v") != VERSION:
        raise GraphError(
            f"the signal has version {_shown(body.get('v'))}, this program knows {VERSION}: "
            "update the older of the two programs"
        )
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise GraphError(f"a signal of the unknown kind {_shown(kind)}; known are {known}")
    to = body.get("to")
    name = None if to is None else _checked_name(to, "to")
    sender = _checked_name(body.get("from"), "from")
    session = _checked_name(body.get("session"), "session")
    text = ""
    if kind == "refused":
        reason = body.get("reason")
        text = (
            reason[:SIGNAL_REASON_LENGTH_MAX] if isinstance(reason, str) else "no reason was given"
        )
    elif kind != "bye":
        text = checked_description(body.get("sdp"))
    return Signal(kind, sender, name, session, text)


def refusal_of(body: object, reason: str, me: str) -> Signal | None:
    """Return the answer to a malformed signal, None if there is nobody to answer."""
    if not isinstance(body, dict) or body.get("kind") == "refused":  # or it would never end
        return None
    sender, session = body.get("from"), body.get("session")
    if not _is_name(sender) or not _is_name(session) or sender == me:
        return None
    return Signal("refused", me, sender, session, reason)


def checked_description(sdp: object) -> str:
    """Return a session description (RFC 8866) that asks for one data channel and nothing else.

    The library would make room for every medium that an offer lists and send packets to every
    address: what we would not use is refused before the library sees it.
    """
    if not isinstance(sdp, str):
        raise GraphError(f"a session description must be text, not {type(sdp).__name__}")
    if len(sdp) > SIGNAL_DESCRIPTION_LENGTH_MAX:
        raise GraphError(
            f"the session description has {len(sdp)} characters, "
            f"{SIGNAL_DESCRIPTION_LENGTH_MAX} are allowed"
        )
    if not sdp.isascii():
        raise GraphError("the session description contains characters other than ASCII")
    lines = sdp.splitlines()
    media = [line for line in lines if line.startswith("m=")]
    if len(media) != 1 or not media[0].startswith("m=application "):
        raise GraphError(
            "the session description must ask for one data channel and nothing else, "
            f"it lists {len(media)} media"
        )
    attributes = _attributes(lines)
    for needed in ("ice-ufrag", "ice-pwd", "fingerprint", "setup", "sctp-port"):
        if needed not in attributes:
            raise GraphError(f"the session description lacks a={needed}")
    _check_number(attributes["sctp-port"], "sctp-port", 1, 65_535)
    # RFC 8841, 6.1: 0 stands for any size.
    size = attributes.get("max-message-size", ["0"])
    if size != ["0"]:
        _check_number(size, "max-message-size", PIECE_BYTES, 2**53)
    if len(attributes.get("candidate", ())) > SIGNAL_CANDIDATES_MAX:
        raise GraphError(
            f"the session description lists more than {SIGNAL_CANDIDATES_MAX} candidates"
        )
    return sdp


def _attributes(lines: list[str]) -> dict[str, list[str]]:
    attributes: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            attributes.setdefault(name, []).append(value)
    return attributes


def _check_number(values: list[str], name: str, low: int, high: int) -> None:
    value = values[0]
    if len(values) != 1 or not value.isdecimal() or len(value) > 16:
        raise GraphError(f"a={name} of the session description must be one number")
    if not low <= int(value) <= high:
        raise GraphError(f"a={name} of the session description is {value}, at least {low} is due")


def _is_name(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and 0 < len(name) <= SIGNAL_NAME_LENGTH_MAX


def _checked_name(name: object, field: str) -> str:
    if not _is_name(name):
        raise GraphError(
            f'"{field}" of a signal must be text of 1 to {SIGNAL_NAME_LENGTH_MAX} characters, '
            f"it is {_shown(name)}"
        )
    return name


def _shown(value: object) -> str:
    """Return a short form of what an outsider sent, safe to print."""
    text = ascii(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}..."


class Step(Enum):
    """What an end has to do about a signal."""

    ANSWER = "drop what there is and answer this offer"
    CONNECT = "take this answer to our offer"
    REPEAT = "send our last description once more: theirs shows that they lack it"
    IGNORE = "nothing: it belongs to an attempt that is over"
    LEAVE = "drop what there is, the other end is gone for good"
    RENEW = "offer anew: they wait for an attempt of ours that is over, and for nothing else"
    FAIL = "drop the attempt, the other end refused it"


class Negotiation:
    """Decide what a signal means, for one end.

    `me` must be unlike the other end's name. `nonce` is random text that no other end has; the
    names of our sessions begin with it, so that we know our own signals when a group echoes them.
    """

    __slots__ = ("_answered", "_attempts", "_nonce", "_pending", "me", "session")

    def __init__(self, me: str, nonce: str) -> None:
        self.me = _checked_name(me, "from")
        self.session: str | None = None  # of the attempt that is under way or succeeded
        self._nonce = nonce
        self._attempts = 0
        self._pending = False  # our offer of this session has no answer yet
        self._answered: str | None = None  # the last offer whose answer was sent

    def offer(self) -> str:
        """Begin an attempt of ours and return its session."""
        self._attempts += 1
        self.session = f"{self._nonce}-{self._attempts}"
        self._pending = True
        return self.session

    def answered(self) -> None:
        """Note that the offer has its answer, on its way: repetitions of it need no other."""
        self._answered = self.session

    def drop(self) -> None:
        """Forget the attempt: what still comes in for it is ignored."""
        self.session = None
        self._pending = False

    def farewell(self) -> str:
        """Return the session for a bye: none, but one that is known as ours."""
        return f"{self._nonce}-0"

    def receive(self, signal: Signal) -> Step:
        """Return what to do about a signal from the other end.

        Raises GraphError if the other end has the same name as this one.
        """
        if signal.sender == self.me:
            if signal.kind == "offer" and not signal.session.startswith(f"{self._nonce}-"):
                raise GraphError(
                    f"both ends of the WebRTC connection call themselves {_shown(self.me)}: "
                    "give each a name of its own"
                )
            return Step.IGNORE  # our own echo
        if signal.kind == "offer":
            return self._receive_offer(signal)
        if signal.kind == "bye":
            return Step.LEAVE
        if signal.session != self.session:
            return self._receive_late(signal)
        if signal.kind == "refused":
            return Step.FAIL
        if not self._pending:
            return Step.IGNORE
        self._pending = False
        return Step.CONNECT

    def _receive_late(self, signal: Signal) -> Step:
        """Look at what belongs to another attempt than the one under way.

        Their answer to an offer that we have forgotten says that they gave up their own for it:
        an end that was made anew finds in its signals what its predecessor was sent.
        """
        is_ours = signal.kind == "answer" and signal.session.startswith(f"{self._nonce}-")
        return Step.RENEW if is_ours and not self._pending else Step.IGNORE

    def _receive_offer(self, signal: Signal) -> Step:
        if signal.session == self.session:
            return Step.REPEAT
        if signal.session == self._answered:
            return Step.IGNORE  # a repetition that crossed our own new offer
        if self._pending and self.me > signal.sender:
            return Step.REPEAT  # both offered: the lower name yields, and that is the other
        self.session = signal.session
        self._pending = False
        return Step.ANSWER


class Signalling:
    """Send and hear signals over a connection, or over a group of them.

    In a group that has a member with the other end's id, only that member is used and believed.
    Otherwise all members get the signal, for a server among them to pass on (`SignalRelay`).
    """

    def __init__(self, over: Connection | ConnectionGroup, me: str, to: str | None = None) -> None:
        self._group = ConnectionGroup.ensure(over)
        self._me = me
        self._to = None if to is None else _checked_name(to, "to")

    @property
    def offline(self) -> bool:
        """Tell whether a signal would reach nobody now."""
        return not self._reachable()

    async def send(self, signal: Signal) -> None:
        """Send a signal to whoever can be reached; raises what the connections raise."""
        await ConnectionGroup(*self._reachable()).send(signal.to_json())

    def listen(self, callback: Callable[[Signal | Malformed], None]) -> Subscription:
        """Call back for every signal to this end, and for what is malformed."""

        def hear(heard: tuple[JsonValue, Connection]) -> None:
            message, sender = heard
            if sender.id != self._to and self._to in self._group:
                return  # nobody else speaks for a member
            if is_signal(message) and self._concerns_us(message["signal"]):
                callback(self._read(message))

        return self._group.messages.listen(hear)

    def _reachable(self) -> list[Connection]:
        member = None if self._to is None else self._group.get(self._to)
        members = list(self._group) if member is None else [member]
        # Offline ones would keep the signal until it is worthless. (One of them may be the very
        # connection that is being arranged.)
        return [one for one in members if not getattr(one, "offline", False)]

    def _concerns_us(self, body: object) -> bool:
        """Tell whether a signal is for this end and from the other; garbage concerns everybody."""
        if not isinstance(body, dict):
            return True
        if isinstance(to := body.get("to"), str) and to != self._me:
            return False
        sender = body.get("from")
        return self._to is None or not isinstance(sender, str) or sender in (self._to, self._me)

    def _read(self, message: dict[str, Any]) -> Signal | Malformed:
        try:
            return parse_signal(message)
        except GraphError as error:
            return Malformed(str(error), refusal_of(message["signal"], str(error), self._me))


class SignalRelay:
    """Pass signals between the members of a group by their ids, as a meeting point for many.

    A signal reaches the member that it names in "to". "from" becomes the id of the connection
    that it came in by, so nobody can speak in another's name.
    """

    def __init__(self, group: ConnectionGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Future[Any]] = set()
        self._subscription = group.messages.listen(self._hear)

    async def close(self) -> None:
        """Pass on nothing more."""
        self._subscription.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, heard: tuple[JsonValue, Connection]) -> None:
        message, sender = heard
        if not is_signal(message):
            return
        try:
            signal = parse_signal(message)
        except GraphError as error:
            if answer := refusal_of(message["signal"], str(error), "relay"):
                self._send(sender, answer)
            return
        target = None if signal.to is None else self._group.get(signal.to)
        if target is None or target is sender:
            return
        if not getattr(target, "offline", False):
            self._send(target, replace(signal, sender=sender.id))

    def _send(self, target: Connection, signal: Signal) -> None:
        # Nobody waits for the outcome: a caller whose signal is lost tries again by itself.
        with contextlib.suppress(Exception):
            sent = target.send(signal.to_json())
            if sent is not None:
                task = asyncio.ensure_future(_settled(sent))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)


async def _settled(sent: Awaitable[object]) -> None:
    with contextlib.suppress(Exception):
        await sent
