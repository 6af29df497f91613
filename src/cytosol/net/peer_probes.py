"""The doctor's probes of one peer: dial its gateway, be greeted, ask, and send something large.

Nothing of it changes the peer or this device: the one request that could, `connect`, is made only
of paired peers that are not connected, and what comes of it is not used.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cytosol.crypto.keys import KeyPair, make_key_pair
from cytosol.errors import RemoteProtocolError
from cytosol.model.ids import PeerId
from cytosol.model.json import JsonValue
from cytosol.net.evidence import PeerSeen, Reach, Reply
from cytosol.protocol.effects import Send
from cytosol.protocol.rpc import CallFailed, CallReturned, Notified
from cytosol.protocol.session import Session
from cytosol.wire.fields import encode_base64
from cytosol.wire.framing import GATEWAY
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.messages import ConnectParams, HelloParams

__all__ = ["Caller", "Visit", "ask_to_connect", "is_port_closed", "look_at", "visit"]

DIAL_S: Final = 3.6  # the system takes three seconds to find that nobody has an address
TALK_S: Final = 3.0  # for the greeting, and for each answer
SLOW_S: Final = 0.9  # a lost first packet is sent again after a second
DIAL_ROUNDS: Final = 4
DIALS_AT_ONCE: Final = 4  # as many half-open ones as a peer lets one address have
LARGE_S: Final = 4.0  # for a large message: less than a gateway waits for the first one
LARGE_BYTES: Final = 24_000  # many packets, and below the limit of a gateway
ICMP_S: Final = 0.3
PROBE_METHOD: Final = "cytosol.doctor.probe"  # no peer knows it, and each says so

_NO_HOST: Final = {errno.EHOSTUNREACH, errno.EHOSTDOWN}
_NO_ROUTE: Final = {errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who we are on a visit."""

    peer_id: PeerId
    keys: KeyPair


class Visit:
    """One stream to a gateway; `open` dials, `greeted` and `ask` talk, `close` ends it."""

    def __init__(self, caller: Caller, peer_id: PeerId, peer_key: bytes) -> None:
        self._caller, self._peer_id, self._peer_key = caller, peer_id, peer_key
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._session: Session
        self._answers: dict[int, CallReturned | CallFailed] = {}
        self._challenge: bytes | None = None
        self._first = b""

    async def open(self, address: tuple[str, int]) -> Reach:
        """Dial, and say what came of it; only after OPEN there is something to close."""
        reach, streams = await _dial(address, DIAL_S)
        if streams is None:
            return reach
        self._reader, self._writer = streams
        self._session = Session(
            1,
            own_id=self._caller.peer_id,
            limits=GATEWAY,
            keys_for=lambda _: (self._caller.keys.secret, self._peer_key),
            random_bytes=os.urandom,
            expected=self._peer_id,
        )
        self._session.open_to(self._peer_id)
        self._pump()
        return reach

    async def is_strange(self) -> bool:
        """Tell whether the other side is no Cytosol peer, or another one: its id comes first.

        Who hangs up without a word may just be busy.
        """
        await self._read_until(lambda: len(self._first) >= 16)
        has_hung_up = not self._first and self._session.is_closed
        return self._first[:16] != self._peer_id and not has_hung_up

    async def greeted(self) -> bool:
        """Tell whether the gateway knows us, and proves to be the one we dialled."""
        await self._read_until(lambda: self._challenge is not None)
        return self._challenge is not None

    async def ask(
        self, method: str, params: dict[str, JsonValue], timeout_s: float = TALK_S
    ) -> CallReturned | CallFailed:
        """Make a call with the challenge of the greeting; code 0 says that no answer came."""
        assert self._challenge is not None
        params = {"challenge": encode_base64(self._challenge), **params}
        call_id = self._session.call(method, params, timeout_s, 0.0)
        self._pump()
        await self._read_until(lambda: call_id in self._answers, timeout_s)
        return self._answers.get(call_id) or CallFailed(call_id, 0, "there was no answer")

    def close(self) -> None:
        """End the visit."""
        self._writer.transport.abort()

    async def _read_until(self, is_done: Callable[[], bool], timeout_s: float = TALK_S) -> None:
        """Read until something is so, or the time is over, or nothing sensible comes any more."""
        with suppress(OSError, TimeoutError, RemoteProtocolError):
            async with asyncio.timeout(timeout_s):
                while not is_done() and not self._session.is_closed:
                    data = await self._reader.read(65_536)
                    if not data:
                        self._session.lost("the peer closed the connection")
                    if len(self._first) < 16:
                        self._first += data
                    self._session.receive(data)
                    self._pump()

    def _pump(self) -> None:
        for effect in self._session.take_effects():
            match effect:
                case Send():
                    self._writer.write(effect.data)
                case Notified(method=HelloParams.METHOD):
                    self._challenge = HelloParams.from_json(effect.params).challenge
                case CallReturned() | CallFailed():
                    self._answers[effect.call_id] = effect


async def _dial(
    address: tuple[str, int], timeout_s: float
) -> tuple[Reach, tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]:
    try:
        async with asyncio.timeout(timeout_s):
            return Reach.OPEN, await asyncio.open_connection(*address)
    except TimeoutError:
        return Reach.SILENT, None
    except OSError as error:
        if error.errno in _NO_HOST:
            return Reach.NO_HOST, None
        if error.errno in _NO_ROUTE:
            return Reach.NO_ROUTE, None
        return (Reach.REFUSED if isinstance(error, ConnectionError) else Reach.SILENT), None


async def visit(caller: Caller, seen: PeerSeen, key: bytes) -> None:
    """Try a peer's addresses, newest first, and note how far we come."""
    ranks = list(Reach)
    for address in list(seen.addresses):
        reach = await _visit_address(caller, seen, key, address)
        if seen.reach is None or ranks.index(reach) > ranks.index(seen.reach):
            seen.reach = reach
        if reach in (Reach.OPEN, Reach.STRANGE) or (reach is Reach.SILENT and seen.is_heard):
            await _measure_loss(seen, address)
        if reach is Reach.OPEN:
            return


async def _visit_address(
    caller: Caller, seen: PeerSeen, key: bytes, address: tuple[str, int]
) -> Reach:
    trip = Visit(caller, seen.peer_id, key)
    reach = await trip.open(address)
    if reach is not Reach.OPEN:
        return reach
    try:
        if await trip.is_strange():
            return Reach.STRANGE
        seen.is_greeted = await trip.greeted()
        if seen.is_greeted:
            answer = await trip.ask(PROBE_METHOD, {"padding": "x" * LARGE_BYTES}, LARGE_S)
            if isinstance(answer, CallFailed) and answer.code in (0, ErrorCode.METHOD_NOT_FOUND):
                seen.takes_large = answer.code != 0
    finally:
        trip.close()
    return reach


async def _measure_loss(seen: PeerSeen, address: tuple[str, int]) -> None:
    """Dial many times: one packet each way, and whichever is lost is sent a second later."""

    async def dial_once() -> None:
        reach, streams = await _dial(address, SLOW_S)
        seen.dials += 1
        seen.slow_dials += reach is Reach.SILENT
        if streams is not None:
            streams[1].transport.abort()

    for _ in range(DIAL_ROUNDS):
        await asyncio.gather(*(dial_once() for _ in range(DIALS_AT_ONCE)))


async def ask_to_connect(caller: Caller, seen: PeerSeen, key: bytes) -> None:
    """Ask a paired peer to connect, as the network does, and note what it says."""
    for address in list(seen.addresses):
        trip = Visit(caller, seen.peer_id, key)
        if await trip.open(address) is not Reach.OPEN:
            continue
        try:
            if await trip.is_strange() or not await trip.greeted():
                continue
            fresh = make_key_pair(os.urandom(32)).public
            params: dict[str, JsonValue] = {"publicKey": encode_base64(fresh)}
            seen.reply = _reply(await trip.ask(ConnectParams.METHOD, params))
            return
        finally:
            trip.close()


def _reply(answer: CallReturned | CallFailed) -> Reply | None:
    if isinstance(answer, CallReturned):
        return Reply.WELCOME
    match answer.code:
        case ErrorCode.NOT_PAIRED | ErrorCode.NO_HEARTBEAT:
            return Reply.NOT_PAIRED
        case ErrorCode.UNPAIRED:
            return Reply.UNPAIRED
        case ErrorCode.NOT_NOW:
            # One code for two reasons; only the sentence tells them apart.
            return Reply.SYNC_OFF if "switched off" in answer.message else Reply.WELCOME
        case ErrorCode.METHOD_NOT_FOUND | ErrorCode.INVALID_PARAMS:
            return Reply.OTHER_VERSION
    return None


async def look_at(seen: PeerSeen, port: int) -> None:
    """See whether there is a host at an address where no peer of ours is known.

    A host that is up refuses a connection to a port that nobody has.
    """
    ip_address = seen.addresses[0][0]
    seen.reach, streams = await _dial((ip_address, port), DIAL_S)
    if streams is not None:
        streams[1].transport.abort()
    seen.port_is_closed = await is_port_closed(ip_address, port)


async def is_port_closed(ip_address: str, port: int) -> bool:
    """Tell whether a host says that nobody listens on a UDP port of it.

    Hosts that drop what nobody wants say nothing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect((ip_address, port))
            for _ in range(2):  # the second one fails if the first was refused
                sock.send(b"\0")
                await asyncio.sleep(ICMP_S)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
