"""What a router remembers over a restart: who its graph is, and what each peer must still get.

It stands in the notes of the storage (`storage.notes`, with `get(name)` and `put(name, json)`,
plain or async); without them it lasts as long as the graph. A peer's note carries its graph's id
and, where the server knows one, who it proved to be: nobody can spoil the note of another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Any

from cytosol.errors import ActionError
from cytosol.graph.awaiting import is_awaitable
from cytosol.graph.channels import Peer
from cytosol.graph.connection import report
from cytosol.graph.delivery import Outbox
from cytosol.graph.transports.authors import new_author
from cytosol.limits import PEERS_REMEMBERED_MAX
from cytosol.model.ids import format_id, parse_id
from cytosol.model.json import JsonValue

__all__ = ["Notes"]


class Notes:
    """The peers that are known, oldest first, and their notes."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.graph_id = new_author()
        self.peers: dict[str, Peer] = {}
        self.is_kept = store is not None
        self._saving: dict[str, bool] = {}  # name -> whether it must be saved once more
        self._loading: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Read nothing more: the storage is about to be closed."""
        if self._loading is not None:
            self._loading.cancel()

    async def ready(self) -> None:
        """Wait until what was noted is read."""
        if self.is_kept:
            if self._loading is None:
                self._loading = asyncio.get_running_loop().create_task(self._load())
            await asyncio.shield(self._loading)

    async def _load(self) -> None:
        """Read what was noted; what is not there, or is no note of ours, counts as new."""
        note = await self._get("router")
        try:
            self.graph_id = parse_id(note["graph"])
            names = [str(name) for name in note["peers"]]
        except (ActionError, KeyError, TypeError):
            await self._put_list()
            return
        for name in names:
            self.peers[name] = Peer(name, Outbox.from_json(await self._get(name)))

    async def peer_of(self, graph: bytes, identity: Any) -> Peer:
        """Return the peer with this graph; one that is not known yet gets all there is."""
        proof = "" if identity is None else hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
        name = f"router/{format_id(graph)}/{proof}"
        peer = self.peers.pop(name, None)
        if peer is not None:
            self.peers[name] = peer  # the latest stands last
            return peer
        peer = self.peers[name] = Peer(name)
        away = [known for known in self.peers.values() if not known.channels and known is not peer]
        for forgotten in away[: max(0, len(self.peers) - PEERS_REMEMBERED_MAX)]:
            assert forgotten.name is not None
            del self.peers[forgotten.name]
            await self._put(forgotten.name, None)
        await self._put_list()
        return peer

    async def save(self, peer: Peer) -> None:
        """Write the note of a peer; it never says more than is true when it is durable."""
        name = peer.name
        if not self.is_kept or name is None or self.peers.get(name) is not peer:
            return
        if name in self._saving:
            self._saving[name] = True
            return
        self._saving[name] = True
        try:
            while self._saving[name]:
                self._saving[name] = False
                peer.unsaved = 0
                await self._put(name, peer.outbox.to_json(peer.on_their_way()))
        finally:
            del self._saving[name]

    async def save_now(self, peers: Iterable[Peer]) -> None:
        """Write the notes of several peers before going on."""
        for peer in peers:
            if self.is_kept and peer.name is not None and peer.name in self.peers:
                await self._put(peer.name, peer.outbox.to_json(peer.on_their_way()))

    async def _put_list(self) -> None:
        if self.is_kept:
            names = list(self.peers)
            await self._put("router", {"graph": format_id(self.graph_id), "peers": names})

    async def _get(self, name: str) -> Any:
        try:
            value = self._store.get(name)
            return await value if is_awaitable(value) else value
        except Exception as error:  # then it is new to us: everything is sent once more
            report(error, f"the storage could not read the note {name!r}")
            return None

    async def _put(self, name: str, note: JsonValue) -> None:
        if not self.is_kept:
            return
        try:
            done = self._store.put(name, note)
            if is_awaitable(done):
                await done
        except Exception as error:  # the old note stays: more is sent than must be
            report(error, f"the storage could not write the note {name!r}")
