"""The reliable link that all shipped transports share, as a state machine without I/O.

A link lives longer than the connections under it. A connection, whatever carries it, must
keep frames in order and may end at any moment, losing what was on its way; the link sends that
again over the next one and drops what comes twice: nothing is lost, nothing is doubled, while
both sides live. It reads no clock and no randomness: the same calls give the same frames.

Frames are JSON texts:

```text
{"hello": LINK, "of": LINK | null, "seen": N, "v": 1, "name": TEXT}   once, first, both sides
{"n": N, "m": MESSAGE}     a message; N counts from 1
{"a": N}                   everything up to N was taken by the app
{"bye": REASON}            this link ends for good; do not come back with it
```

Each side has a link id, random and secret, made when its `Link` is made; a restarted program has
another one. `of` is the link id that the sender knows the other side by. If both know each
other, the numbering goes on behind `seen`; otherwise one of them is new, and both count from 1
again: what is not acknowledged is sent in the new numbering. So a side that restarted gets what
its predecessor had not acknowledged, and nothing that it had.

How a transport uses it (`linked.LinkedConnection` does all of this for it):

* for each new connection `connect()`, before anything is received, and `lost()` when it ends;
* every frame that comes goes into `receive(frame)`, in order; if that returns a text, the
  connection must be closed with this text as the reason (`refused` keeps it);
* after each of these calls, and after `send`, hand out `next_frame()` until it is None;
  frames are made when asked for, so that a slow connection does not fill memory;
* `take()` what was received, when somebody is there to read it: only that is acknowledged;
* a server waits for the first frame of a client, finds the link by `read_hello(frame)`, and then
  calls `connect()` and `receive(frame)` with this frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from cytosol.errors import ActionError, GraphError
from cytosol.limits import (
    DEPTH_MAX,
    INTEGER_MAX,
    INTEGER_MIN,
    JSON_VALUES_MAX,
    LINK_MESSAGE_BYTES_MAX,
    LINK_NAME_LENGTH_MAX,
    LINK_UNACKNOWLEDGED_BYTES_MAX,
    LINK_UNACKNOWLEDGED_MAX,
)
from cytosol.model.json import JsonValue, copy_json

__all__ = ["VERSION", "Hello", "Link", "encode_message", "read_hello"]

VERSION: Final = 1
NUMBER_MAX: Final = 2**53 - 1  # exact in every JSON reader
FRAME_BYTES_MAX: Final = LINK_MESSAGE_BYTES_MAX + 64  # what stands around a message

_UNSURE: Final = frozenset({dict, list, int})  # the decoder lets no other value be wrong

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of each side; `name` is what the peer calls itself, "" for nothing."""

    link_id: str
    of: str | None
    seen: int
    name: str = ""


class _Refused(Exception):
    """A frame that no honest peer sends; the text is the reason for closing."""


class _Phase(Enum):
    DOWN = "no connection"
    GREETING = "connected, the hello of the peer has not come"
    UP = "messages may flow"
    REFUSED = "the connection must be closed"


class Link:
    """One side of a link; see the module for how it is driven.

    `link_id` must be random (128 bits) and new for every `Link`: whoever knows it can take the
    link over. `name` is told to the peer and may be the same after a restart.
    """

    __slots__ = (
        "_acked", "_acked_told", "_closing", "_cursor", "_ended", "_hello", "_highest", "_inbox",
        "_inbox_bytes", "_last", "_out", "_out_bytes", "_peer", "_peer_name", "_phase",
        "_received", "_refused", "_session", "_taken", "link_id", "name",
    )  # fmt: skip

    def __init__(self, link_id: str, name: str = "") -> None:
        if not (isinstance(link_id, str) and 1 <= len(link_id) <= LINK_NAME_LENGTH_MAX):
            raise GraphError(
                f"a link id must be a text of 1 to {LINK_NAME_LENGTH_MAX} characters, "
                f"not {_brief(link_id)}"
            )
        if not (isinstance(name, str) and len(name) <= LINK_NAME_LENGTH_MAX):
            raise GraphError(
                f"the name of a link must be a text of at most {LINK_NAME_LENGTH_MAX} "
                f"characters, not {_brief(name)}"
            )
        self.link_id = link_id
        self.name = name
        self._phase = _Phase.DOWN
        self._refused: str | None = None
        self._ended: str | None = None  # why the link is over: for good, without reconnecting
        self._closing: str | None = None  # a bye that is due, when all messages are out
        self._hello: bytes | None = None
        self._peer: str | None = None
        self._peer_name = ""
        # Outgoing. The number of _out[i] is _acked + 1 + i; a new numbering costs nothing.
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._acked = 0
        self._cursor = 0  # of _out, how many were handed to this connection
        self._highest = 0  # the greatest number ever handed out in this session
        # Incoming. Received is what is in the inbox or was taken; only that is acknowledged.
        self._session = 0
        self._inbox: deque[tuple[int, int, int, JsonValue]] = deque()  # session, number, size
        self._inbox_bytes = 0
        self._received = 0
        self._last = 0  # number of the last message on this connection
        self._taken = 0
        self._acked_told = 0

    # --- For the app's side ------------------------------------------------------------------

    def send(self, message: JsonValue) -> None:
        """Queue a message for the peer, connected or not; it is kept until acknowledged.

        Raises GraphError, and queues nothing, if the message is not JSON or larger than 16 MiB,
        if 10,000 messages or 64 MiB wait to be acknowledged, or if the link has ended.
        """
        self.send_encoded(encode_message(message))

    def send_encoded(self, encoded: bytes) -> None:
        """Queue what `encode_message` returned: one encoding serves many links."""
        if self._ended is not None or self._closing is not None:
            raise GraphError(
                f"nothing can be sent: the link has ended ({self._ended or self._closing})"
            )
        if (
            len(self._out) >= LINK_UNACKNOWLEDGED_MAX
            or self._out_bytes + len(encoded) > LINK_UNACKNOWLEDGED_BYTES_MAX
        ):
            raise GraphError(
                f"nothing more can be sent: {len(self._out)} messages ({self._out_bytes} bytes) "
                "wait for the other side to read them; it is away, or too slow: send again later"
            )
        self._out.append(encoded)
        self._out_bytes += len(encoded)

    def take(self, count_max: int = LINK_UNACKNOWLEDGED_MAX) -> list[JsonValue]:
        """Return messages that have come, in order, at most so many, and acknowledge them."""
        taken: list[JsonValue] = []
        while self._inbox and len(taken) < count_max:
            session, number, size, message = self._inbox.popleft()
            self._inbox_bytes -= size
            if session == self._session:
                self._taken = number
            taken.append(message)
        return taken

    def close(self, reason: str = "closed") -> None:
        """End the link for good: what is queued goes out first, then a `bye`."""
        if self._ended is None and self._closing is None:
            self._closing = reason[:LINK_NAME_LENGTH_MAX]

    def end(self, reason: str) -> None:
        """End the link for good and at once: nothing is said, and what is queued is dropped."""
        if self._ended is None:
            self._end(reason)

    @property
    def is_up(self) -> bool:
        """Whether both sides have greeted each other over a connection that is not lost."""
        return self._phase is _Phase.UP

    @property
    def has_messages(self) -> bool:
        """Whether `take` would return something."""
        return bool(self._inbox)

    @property
    def unacknowledged(self) -> int:
        """How many messages the peer has not acknowledged."""
        return len(self._out)

    @property
    def peer_name(self) -> str:
        """What the peer calls itself, as it claims; "" before the first hello."""
        return self._peer_name

    @property
    def peer_id(self) -> str | None:
        """The link id of the other side, None before its first hello; another after a restart."""
        return self._peer

    @property
    def ended(self) -> str | None:
        """Why the link is over for good, None while it lives."""
        return self._ended

    @property
    def refused(self) -> str | None:
        """Why this connection must be closed, None while there is no reason."""
        return self._refused

    # --- For the transport's side ------------------------------------------------------------

    def connect(self) -> None:
        """Begin a new connection; one that was there before is forgotten."""
        self.lost()
        if self._ended is not None:
            self._refuse(f"the link has ended ({self._ended})")
            return
        self._phase = _Phase.GREETING
        hello = {"hello": self.link_id, "of": self._peer, "seen": self._taken, "v": VERSION}
        if self.name:
            hello["name"] = self.name
        # Now, not when it is asked for: it must say what we knew before the peer's hello.
        self._hello = _encoder.encode(hello)
        self._acked_told = self._taken

    def lost(self) -> None:
        """End the connection; what is not acknowledged waits for the next one."""
        self._phase = _Phase.DOWN
        self._refused = None
        self._hello = None
        self._cursor = 0
        self._last = 0

    def next_frame(self) -> str | None:
        """Return the next frame for this connection, None when there is nothing to send now."""
        if self._hello is not None:
            frame, self._hello = self._hello, None
            return frame.decode()
        if self._phase is not _Phase.UP:
            return None
        if self._taken > self._acked_told:
            self._acked_told = self._taken
            return f'{{"a":{self._taken}}}'
        if self._cursor < len(self._out):
            message = self._out[self._cursor]
            self._cursor += 1
            number = self._acked + self._cursor
            self._highest = max(self._highest, number)
            return f'{{"n":{number},"m":{message.decode()}}}'
        if self._closing is not None:
            frame = _encoder.encode({"bye": self._closing})
            self._end(f"closed by us: {self._closing}")
            return frame.decode()
        return None

    def receive(self, frame: str | bytes) -> str | None:
        """Take in the next frame; return why the connection must be closed, None if it goes on.

        Whatever the peer sends, nothing is raised.
        """
        if self._phase in (_Phase.REFUSED, _Phase.DOWN) or self._ended is not None:
            return self._refused  # rests of a connection that is being closed
        try:
            data = _data(frame)
            self._receive(_parsed(data), len(data))
        except _Refused as refusal:
            self._refuse(str(refusal))
        return self._refused

    def _receive(self, frame: dict[str, Any], size: int) -> None:
        if self._phase is _Phase.GREETING:
            self._greet(_hello_of(frame))
        elif "m" in frame:
            self._accept(_number(frame, "n"), frame["m"], size)
        elif "a" in frame:
            self._acknowledge(_number(frame, "a"))
        elif "bye" in frame:
            reason = frame["bye"]
            if not (type(reason) is str and len(reason) <= LINK_NAME_LENGTH_MAX):
                raise _Refused("the reason of a bye must be a short text")
            self._end(f"closed by the other side: {reason}")
            self._refuse(reason)
        else:
            raise _Refused('a frame must be one of {"n", "m"}, {"a"} and {"bye"}, after one hello')

    def _greet(self, hello: Hello) -> None:
        if hello.link_id == self.link_id:
            raise _Refused("the other side greets with our own link id: this is an echo")
        if hello.link_id == self._peer and hello.of == self.link_id:
            if not self._acked <= hello.seen <= self._highest:
                raise _Refused(
                    f"the hello claims to have seen message {hello.seen}, but of this link "
                    f"{self._acked} were acknowledged before and {self._highest} sent"
                )
            self._drop_acknowledged(hello.seen)
        else:
            # One of us is new to the other, so nothing of this pair was ever delivered.
            self._peer = hello.link_id
            self._session += 1
            self._acked = self._highest = 0
            self._received = self._taken = self._acked_told = 0
        self._peer_name = hello.name
        self._phase = _Phase.UP

    def _accept(self, number: int, message: JsonValue, size: int) -> None:
        # A repetition may skip what we took after our hello, never what we have not received.
        if not self._last < number <= self._received + 1:
            raise _Refused(
                f"message {number} is out of order: {self._last} came last on this connection, "
                f"{self._received} in all"
            )
        self._last = number
        if number <= self._received:
            return
        if (
            len(self._inbox) >= LINK_UNACKNOWLEDGED_MAX
            or self._inbox_bytes + size > LINK_UNACKNOWLEDGED_BYTES_MAX + FRAME_BYTES_MAX
        ):
            raise _Refused("more messages were sent than may wait to be acknowledged")
        if not _is_plain(message):
            try:  # slower, exact, and it says what is wrong
                copy_json(message)
            except ActionError as error:
                raise _Refused(f"message {number} is refused: {error}") from None
        self._received = number
        self._inbox.append((self._session, number, size, message))
        self._inbox_bytes += size

    def _acknowledge(self, number: int) -> None:
        if number > self._highest:
            raise _Refused(f"message {number} is acknowledged, but only {self._highest} were sent")
        if number > self._acked:
            count = number - self._acked
            self._drop_acknowledged(number)
            self._cursor = max(0, self._cursor - count)

    def _drop_acknowledged(self, number: int) -> None:
        for _ in range(number - self._acked):
            self._out_bytes -= len(self._out.popleft())
        self._acked = number

    def _end(self, reason: str) -> None:
        self._ended = reason
        self._closing = None
        self._out.clear()
        self._out_bytes = 0
        self._cursor = 0

    def _refuse(self, reason: str) -> None:
        self._phase = _Phase.REFUSED
        self._refused = reason
        self._hello = None

    def check_invariants(self) -> None:
        """Assert what must hold between any two calls."""
        assert 0 <= self._cursor <= len(self._out) <= LINK_UNACKNOWLEDGED_MAX
        assert self._out_bytes == sum(map(len, self._out)) <= LINK_UNACKNOWLEDGED_BYTES_MAX
        assert self._acked <= self._highest <= self._acked + len(self._out) or self._ended
        assert self._acked_told <= self._taken <= self._received
        assert self._inbox_bytes == sum(size for _, _, size, _ in self._inbox)
        assert len(self._inbox) <= LINK_UNACKNOWLEDGED_MAX
        ours = [number for session, number, _, _ in self._inbox if session == self._session]
        assert ours == list(range(self._taken + 1, self._received + 1))


def encode_message(message: JsonValue) -> bytes:
    """Return the JSON text of a message; raises GraphError if it cannot be sent as it is."""
    try:
        encoded = _encoder.encode(copy_json(message))
    except ActionError as error:
        raise GraphError(f"this message cannot be sent: {error}") from None
    if len(encoded) > LINK_MESSAGE_BYTES_MAX:
        raise GraphError(
            f"this message cannot be sent: it has {len(encoded)} bytes, "
            f"{LINK_MESSAGE_BYTES_MAX} are allowed; send it in parts"
        )
    if _marks(encoded) > JSON_VALUES_MAX:
        raise GraphError(
            f"this message cannot be sent: it has more than {JSON_VALUES_MAX} values; "
            "send it in parts"
        )
    return encoded


def read_hello(frame: str | bytes) -> Hello:
    """Return the hello in the first frame of a connection, for a server that looks for the link.

    Raises GraphError with the reason to close the connection with. The link id is a secret and
    the name a claim: look the name up together with who the client has proved to be.
    """
    try:
        return _hello_of(_parsed(_data(frame)))
    except _Refused as refusal:
        raise GraphError(str(refusal)) from None


def _marks(text: bytes) -> int:
    """Bound the values in a JSON text by its punctuation; both sides must count alike."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _is_plain(message: JsonValue) -> bool:
    """Tell whether a decoded message surely keeps the limits of values; level by level, fast."""
    below: list[JsonValue] = [message]
    for _ in range(DEPTH_MAX):
        level = [value for value in below if type(value) in _UNSURE]
        if not level:
            return True
        below = []
        for value in level:
            if type(value) is dict:
                below += value.values()
            elif type(value) is list:
                below += value
            elif not INTEGER_MIN <= value <= INTEGER_MAX:
                return False
    return False


def _data(frame: str | bytes) -> bytes:
    if len(frame) > FRAME_BYTES_MAX:  # before it is copied
        raise _Refused(f"a frame has {len(frame)} bytes, {FRAME_BYTES_MAX} are allowed")
    try:
        data = frame.encode() if isinstance(frame, str) else frame
    except UnicodeEncodeError:
        raise _Refused("a frame is not Unicode text") from None
    if len(data) > FRAME_BYTES_MAX:
        raise _Refused(f"a frame has {len(data)} bytes, {FRAME_BYTES_MAX} are allowed")
    return data


def _parsed(data: bytes) -> dict[str, Any]:
    if _marks(data) > JSON_VALUES_MAX + 2:  # the frame around a message has two marks
        raise _Refused(f"a frame has more than {JSON_VALUES_MAX} values")
    try:
        parsed = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(f"a frame is not JSON: {error}") from None
    if type(parsed) is not dict:
        raise _Refused("a frame must be a JSON object")
    return parsed


def _hello_of(frame: dict[str, Any]) -> Hello:
    link_id = frame.get("hello")
    if link_id is None:
        raise _Refused("the first frame of a connection must be a hello")
    if frame.get("v") != VERSION:
        raise _Refused(
            f"the other side speaks version {_brief(frame.get('v'))} of the link, "
            f"we speak version {VERSION}: update the older side"
        )
    of, name = frame.get("of"), frame.get("name", "")
    for text in (link_id, "" if of is None else of, name):
        if type(text) is not str or len(text) > LINK_NAME_LENGTH_MAX:
            raise _Refused("the ids and the name in a hello must be short texts")
    if not link_id:
        raise _Refused("the link id in a hello is empty")
    return Hello(link_id, of, _number(frame, "seen"), name)


def _number(frame: dict[str, Any], key: str) -> int:
    number = frame.get(key)
    if type(number) is not int or not 0 <= number <= NUMBER_MAX:
        raise _Refused(f"{key!r} in a frame must be an integer from 0 to 2^53 - 1")
    return number


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
