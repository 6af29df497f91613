"""The heartbeat: the UDP packet by which devices find each other (seed: Discovery).

```text
magic (4) | app id (16) | peer id (16) | public key (32) | gateway port (2) | name length (1) | name
```

Numbers are big-endian, the name is UTF-8. Whoever can send a packet can send any heartbeat: what
it claims is checked only when its key is used.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from struct import Struct
from typing import Final

from cytosol.crypto.primitives import check_public_key
from cytosol.errors import LocalProtocolError, RemoteProtocolError
from cytosol.limits import (
    GATEWAY_PORT_MIN,
    HEARTBEAT_BYTES_MAX,
    PEER_NAME_BYTES_MAX,
    PEER_NAME_CODE_POINTS_MAX,
)
from cytosol.model.ids import PeerId

__all__ = [
    "HEARTBEAT_BYTES_MIN",
    "KEY",
    "MAGIC",
    "PEER_ID",
    "Heartbeat",
    "clean_peer_name",
    "encode_heartbeat",
    "heartbeat_port",
    "heartbeat_prefix",
    "is_of_other_version",
    "parse_heartbeat",
]

MAGIC: Final = 0x054D0515
_FIXED: Final = Struct(">I16s16s32sHB")
HEARTBEAT_BYTES_MIN: Final = _FIXED.size
PEER_ID: Final = slice(20, 36)  # where the id stands in a packet, and after it the key
KEY: Final = slice(36, 68)

# Characters that turn the direction of the text around them (Unicode, Bidi_Control).
_BIDIRECTIONAL: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Controls, lone surrogates, and the separators that break lines.
_CONTROL_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a device says about itself; ids of 16 bytes, a key of 32, a TCP port."""

    app_id: bytes
    peer_id: PeerId
    public_key: bytes
    port: int
    name: str


def heartbeat_port(app_id: bytes) -> int:
    """Return the UDP port on which the devices of an app listen (seed: Discovery)."""
    return app_id[0] | app_id[1] << 8 | 0x8000


def heartbeat_prefix(app_id: bytes) -> bytes:
    """Return the bytes with which all heartbeats of an app begin."""
    return MAGIC.to_bytes(4, "big") + app_id


def is_of_other_version(data: bytes, app_id: bytes) -> bool:
    """Tell whether what cannot be parsed seems to be a heartbeat of an app in another format.

    The last byte of the magic number is what a new format would change, or its length.
    """
    return data[:3] == MAGIC.to_bytes(4, "big")[:3] and data[4:20] == app_id


def clean_peer_name(name: str) -> str:
    """Return a name that is safe to show: at most 64 code points and 255 bytes of UTF-8.

    Control and bidirectional characters go, and white space around it; what is too long is cut
    (spec: network, Discovery).
    """
    # Cut first, so that a huge name costs nothing; twice the room leaves some to the removed.
    name = "".join(filter(_is_harmless, name[: 2 * PEER_NAME_CODE_POINTS_MAX])).strip()
    name = name[:PEER_NAME_CODE_POINTS_MAX]
    encoded = name.encode()
    if len(encoded) > PEER_NAME_BYTES_MAX:
        name = encoded[:PEER_NAME_BYTES_MAX].decode(errors="ignore")
    return name.rstrip()


def _is_harmless(character: str) -> bool:
    return (
        character not in _BIDIRECTIONAL
        and unicodedata.category(character) not in _CONTROL_CATEGORIES
    )


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Return the packet; the name is cleaned. Raises LocalProtocolError for a value of ours
    that no peer would accept.
    """
    if len(heartbeat.app_id) != 16 or len(heartbeat.peer_id) != 16:
        raise LocalProtocolError("a heartbeat needs an app id and a peer id of 16 bytes each")
    if not GATEWAY_PORT_MIN <= heartbeat.port <= 0xFFFF:
        raise LocalProtocolError(
            f"a gateway port lies in {GATEWAY_PORT_MIN} .. 65535, not {heartbeat.port}"
        )
    if len(heartbeat.public_key) != 32:
        raise LocalProtocolError("a heartbeat needs a public key of 32 bytes")
    name = clean_peer_name(heartbeat.name).encode()
    return (
        _FIXED.pack(
            MAGIC,
            heartbeat.app_id,
            heartbeat.peer_id,
            heartbeat.public_key,
            heartbeat.port,
            len(name),
        )
        + name
    )


def parse_heartbeat(data: bytes) -> Heartbeat:
    """Return what a packet says, its name cleaned; raise RemoteProtocolError if it is none."""
    if not _FIXED.size <= len(data) <= HEARTBEAT_BYTES_MAX:
        raise RemoteProtocolError(
            f"a heartbeat has {_FIXED.size} to {HEARTBEAT_BYTES_MAX} bytes, this has {len(data)}"
        )
    magic, app_id, peer_id, public_key, port, name_bytes = _FIXED.unpack_from(data)
    if magic != MAGIC:
        raise RemoteProtocolError(f"a heartbeat begins with {MAGIC:08x}, this with {magic:08x}")
    if len(data) != _FIXED.size + name_bytes:
        raise RemoteProtocolError(
            f"a heartbeat announces a name of {name_bytes} bytes and brings "
            f"{len(data) - _FIXED.size}"
        )
    if port < GATEWAY_PORT_MIN:
        raise RemoteProtocolError(
            f"a heartbeat names port {port}; a gateway port is at least {GATEWAY_PORT_MIN}"
        )
    check_public_key(public_key)
    try:
        name = data[_FIXED.size :].decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("the name in a heartbeat is not UTF-8") from None
    return Heartbeat(app_id, peer_id, public_key, port, clean_peer_name(name))
