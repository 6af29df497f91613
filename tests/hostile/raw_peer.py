"""A peer that a test drives by hand, byte by byte, against a machine in a PeerWorld."""

from __future__ import annotations

import base64
import json
from typing import Any

from cytosol.crypto.keys import KeyPair, make_key_pair, peer_id_for_key
from cytosol.crypto.pake import Pake, Role
from cytosol.crypto.primitives import shared_key
from cytosol.errors import RemoteProtocolError
from cytosol.model.ids import PeerId, format_id
from cytosol.protocol.seams import PairedPeer
from cytosol.wire.fields import encode_base64
from cytosol.wire.framing import CONNECTION, GATEWAY, FrameReader, FramingLimits, Opener, Sealer
from cytosol.wire.heartbeat import Heartbeat, encode_heartbeat
from cytosol.wire.messages import ConnectResult, HelloParams, PairResult
from tests.simulation.peer_machines import End, PeerWorld, SimPeer


class RawStream:
    """One stream to a peer, with the keys to speak on it."""

    moment_s = 0.05  # what the other side needs to react

    def __init__(
        self, world: PeerWorld, end: End, key: bytes, limits: FramingLimits, prefix: bytes
    ) -> None:
        self.world = world
        self.end = end
        self.sealer = Sealer(key, prefix, limits)
        self._opener = Opener(key, prefix, limits)
        self._reader = FrameReader(limits)
        self._read = 0
        self.sent: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self.challenge = b""
        self.unreadable = 0  # frames that were sealed for somebody else

    @property
    def is_open(self) -> bool:
        return self.end.is_open

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are and wait for what comes of it."""
        self.world.send_raw(self.end, data)
        self.settle()

    def send_text(self, text: bytes) -> None:
        """Seal and send any plaintext."""
        frame = self.sealer.seal(text)
        self.sent.append(frame)
        self.send_bytes(frame)

    def send(self, **message: Any) -> None:
        """Send a JSON-RPC message."""
        self.send_text(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def call(self, method: str, params: Any, call_id: int = 7) -> dict[str, Any] | None:
        """Call and return the answer, None if there is none within a moment."""
        self.send(method=method, params=params, id=call_id)
        return self.answer(call_id)

    def answer(self, call_id: int = 7) -> dict[str, Any] | None:
        """Return the answer to a call if it has come."""
        for message in self.messages:
            if message.get("id") == call_id and ("result" in message or "error" in message):
                return message
        return None

    def settle(self, seconds: float | None = None) -> None:
        """Let a moment pass and read what has come."""
        self.world.run(self.moment_s if seconds is None else seconds)
        data = bytes(self.end.received[self._read :])
        self._read += len(data)
        for frame in self._reader.feed(data):
            try:
                self.messages.append(json.loads(self._opener.open(frame)))
            except RemoteProtocolError:
                self.unreadable += 1

    def stay(self, seconds: float) -> None:
        """Answer pings for so long, and say nothing else; what else came is forgotten."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.settle(5.0)
            for message in self.messages:
                if message.get("method") == "cytosol.net.ping":
                    self.send(id=message["id"], result={})
            self.messages.clear()

    def close(self) -> None:
        """Close the stream."""
        self.world.close_raw(self.end)
        self.world.run(0.05)


class RawPeer:
    """An identity without a machine."""

    def __init__(self, world: PeerWorld, ip_address: str = "10.0.9.1", port: int = 40_000) -> None:
        self.world = world
        self.ip_address = ip_address
        self.port = port
        self.keys: KeyPair = make_key_pair(world.random_bytes(32))
        self.peer_id: PeerId = peer_id_for_key(self.keys.public)

    @property
    def id(self) -> str:
        return format_id(self.peer_id)

    def heartbeat(self, name: str = "Mallory", key: bytes | None = None) -> bytes:
        """Return a heartbeat of this peer."""
        public = self.keys.public if key is None else key
        return encode_heartbeat(Heartbeat(self.world.app_id, self.peer_id, public, self.port, name))

    def appear_to(self, peer: SimPeer) -> None:
        """Become visible to a peer."""
        self.world.datagram(peer, self.heartbeat(), (self.ip_address, 50_000))

    def pair_with(self, peer: SimPeer) -> None:
        """Be paired with a peer without ado."""
        peer.pairings.add(PairedPeer(self.peer_id, "Mallory", self.keys.public), True)

    def dial(self, peer: SimPeer) -> RawStream:
        """Open a gateway stream and send our id; the greeting is read if there is one."""
        stream = RawStream(
            self.world,
            self.world.dial_raw(peer, self.ip_address),
            shared_key(self.keys.secret, peer.keys.public),
            GATEWAY,
            self.world.random_bytes(16),
        )
        stream.send_bytes(self.peer_id)
        for message in stream.messages:
            if message.get("method") == HelloParams.METHOD:
                stream.challenge = HelloParams.from_json(message["params"]).challenge
        return stream

    def params(self, stream: RawStream, **params: Any) -> dict[str, Any]:
        """Return params with the stream's challenge."""
        return {"challenge": encode_base64(stream.challenge), **params}

    def open_gateway(self) -> None:
        """Let dials to our address arrive, to be taken with `take_caller`."""
        self.world.raw_hosts[self.ip_address] = []

    def take_caller(self, peer: SimPeer, *, greet: bool = True) -> RawStream:
        """Take the next call of a peer at our gateway, greet it, and read what it asks."""
        self.world.run(0.05)
        stream = RawStream(
            self.world,
            self.world.raw_hosts[self.ip_address].pop(0),
            shared_key(self.keys.secret, peer.keys.public),
            GATEWAY,
            self.world.random_bytes(16),
        )
        stream.send_bytes(self.peer_id)
        if greet:
            stream.challenge = self.world.random_bytes(16)
            stream.send(method=HelloParams.METHOD, params=HelloParams(stream.challenge).to_json())
        return stream

    def begin_proof(self, role: Role, code: str, peer: SimPeer) -> Pake:
        """Return what proves to a peer that we know the code."""
        return Pake.start(
            role,
            code,
            self.world.random_bytes(32),
            app_id=self.world.app_id,
            own_id=self.peer_id,
            own_key=self.keys.public,
            peer_id=peer.peer_id,
        )

    def be_asked(self, peer: SimPeer, code: str) -> tuple[RawStream, dict[str, Any]]:
        """Let a peer that sees us ask us to pair; return the stream and its request."""
        self.open_gateway()
        peer.command("request_pair", self.id, code)
        stream = self.take_caller(peer)
        request = stream.messages[-1]
        assert "osmosis.net.pair" == request["method"]
        return stream, request

    def answer_rightly(
        self, peer: SimPeer, stream: RawStream, request: dict[str, Any], code: str
    ) -> None:
        """Answer a pair request as who knows the code does."""
        pake = self.begin_proof(Role.RESPONDER, code, peer)
        pake.receive(base64.b64decode(request["params"]["pake"]), peer.keys.public)
        result = PairResult("Raw", self.keys.public, pake.message, pake.confirmation())
        stream.send(id=request["id"], result=result.to_json())

    def ask_to_connect(self, peer: SimPeer) -> tuple[int, KeyPair, bytes]:
        """Call `connect`; return the port, our fresh keys and the peer's fresh key."""
        stream = self.dial(peer)
        fresh = make_key_pair(self.world.random_bytes(32))
        params = self.params(stream, publicKey=encode_base64(fresh.public))
        answer = stream.call("osmosis.net.connect", params)
        assert answer is not None, stream.end.close_reason
        result = ConnectResult.from_json(answer["result"])
        stream.close()
        return result.port, fresh, result.public_key

    def connect(self, peer: SimPeer) -> RawStream:
        """Connect as a paired peer does, up to and including the first frame."""
        port, fresh, their_key = self.ask_to_connect(peer)
        stream = RawStream(
            self.world,
            self.world.dial_raw(peer, self.ip_address, port),
            shared_key(fresh.secret, their_key),
            CONNECTION,
            self.world.random_bytes(16),
        )
        stream.send_bytes(self.peer_id)
        stream.send(method="osmosis.net.sharePeers", params=[])
        assert stream.is_open
        return stream
