"""One plain write as bytes: what live sync sends most often, with as little work as possible.

A batch that is a single `Set` of a primitive at a key needs no columns. Its bytes are the byte 03
and one MessagePack array, the members of `Single` in their order. Every bound is checked while
reading; what is taken here, the columns could have said as well.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

import msgspec

from cytosol.errors import ActionError
from cytosol.limits import DOCUMENT_PLACES_MAX, LAMPORT_MAX, SINGLE_BYTES_MAX
from cytosol.model.ids import PeerId
from cytosol.model.op import Body, Kind, Name, Op

__all__ = ["SINGLE", "Single", "decode_single", "encode_single", "name_of", "op_of"]

SINGLE: Final = b"\x03"

_Author = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
_Lamport = Annotated[int, msgspec.Meta(ge=1, le=LAMPORT_MAX)]
_Offset = Annotated[int, msgspec.Meta(ge=0, lt=DOCUMENT_PLACES_MAX)]


class Single(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A `Set` at a key: of the root, if `place` is None, or of the object with that name."""

    author: _Author
    index: _Lamport
    previous: Annotated[int, msgspec.Meta(ge=0, le=LAMPORT_MAX)]
    time: Annotated[int, msgspec.Meta(ge=0, le=LAMPORT_MAX)]
    place: tuple[_Author | None, _Lamport, _Offset] | None
    """Author (None: the op's own), index and offset."""
    key: str
    payload: str | int | float | bool | None
    seen: list[tuple[_Author, _Lamport]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Single)


def encode_single(
    author: PeerId,
    index: int,
    previous: int,
    time: int,
    place: tuple[PeerId, int, int] | None,
    key: str,
    payload: Any,
    seen: tuple[tuple[PeerId, int], ...],
) -> bytes | None:
    """Return the bytes of a plain write, None if it is too long to be sent this way."""
    if type(payload) is str and len(payload) > SINGLE_BYTES_MAX:
        return None  # do not even encode it
    if place is not None and place[0] == author:
        place = (None, place[1], place[2])  # type: ignore[assignment]  # as it travels
    data = _encoder.encode((author, index, previous, time, place, key, payload, seen))
    return SINGLE + data if len(data) < SINGLE_BYTES_MAX else None


def decode_single(data: bytes) -> Single:
    """Return the write in a batch that begins with `SINGLE`.

    Raises ActionError for anything that is none.
    """
    if len(data) > SINGLE_BYTES_MAX:
        raise _damaged(f"a single write takes at most {SINGLE_BYTES_MAX} bytes")
    try:
        single = _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _damaged("it cannot be unpacked") from None
    if single.previous >= single.index:
        raise _damaged("a number is out of range")
    for _, known in single.seen:
        if known >= single.index:
            raise _damaged("what an op has seen is wrong")
    payload = single.payload
    if type(payload) is float and not math.isfinite(payload):
        raise _damaged("a number is not finite")
    return single


def name_of(single: Single) -> Name | None:
    """Return the name of the object that is written to, None for the root."""
    place = single.place
    return None if place is None else Name(place[0] or single.author, place[1], place[2])


def op_of(single: Single) -> Op:
    """Return the op that a write is."""
    body = Body(Kind.SET, name_of(single), single.key, payload=single.payload)
    seen = tuple(single.seen)
    return Op(single.index, single.author, single.previous, single.time, body, seen)


def _damaged(what: str) -> ActionError:
    return ActionError(f"a batch of ops is damaged: {what}")
