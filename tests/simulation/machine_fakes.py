"""Stand-ins for the data side: pairings in memory, a replica of numbers, and a tiny sync."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cytosol.model.ids import OpId, PeerId
from cytosol.model.version import ZERO_HASH, News, StateSummary
from cytosol.protocol.effects import Answer, AnswerError, Call, Emit, Notify, SyncEffect
from cytosol.protocol.seams import PairedPeer, Refusal, Relation
from cytosol.protocol.sync_link import OpsReceived


class MemoryPairings:
    """The pairings seam without a disk; keep the object to play a restart."""

    def __init__(self) -> None:
        self._paired: dict[PeerId, PairedPeer] = {}
        self._refused: dict[PeerId, Refusal] = {}
        self._addresses: dict[PeerId, list[tuple[str, int]]] = {}
        self._wrong = (0, 0.0)

    def paired(self) -> Mapping[PeerId, PairedPeer]:
        return dict(self._paired)

    def refused(self) -> Mapping[PeerId, Refusal]:
        return dict(self._refused)

    def add(self, peer: PairedPeer, by_hand: bool) -> None:
        if by_hand:
            self._refused.pop(peer.peer_id, None)
        elif peer.peer_id in self._refused:
            return
        self._paired[peer.peer_id] = peer

    def refuse(
        self, refusals: Mapping[PeerId, Refusal], forgotten: Collection[PeerId] = ()
    ) -> None:
        for peer_id in refusals:
            self._paired.pop(peer_id, None)
        self._refused.update(refusals)
        for peer_id in forgotten:
            del self._refused[peer_id]

    def forget(self, peer_id: PeerId) -> None:
        self._paired.pop(peer_id, None)

    def addresses(self, peer_id: PeerId) -> Sequence[tuple[str, int]]:
        return tuple(self._addresses.get(peer_id, ()))

    def remember_address(self, peer_id: PeerId, ip_address: str, port: int) -> None:
        self._addresses[peer_id] = [(ip_address, port)]

    def wrong_codes(self) -> tuple[int, float]:
        return self._wrong

    def set_wrong_codes(self, count: int, last_s: float) -> None:
        self._wrong = (count, last_s)


class NumbersReplica:
    """A replica whose only content is how many ops each author has made."""

    def __init__(self, own_id: PeerId) -> None:
        self.own_id = own_id
        self.counts: dict[PeerId, int] = {}

    def write(self) -> None:
        self.counts[self.own_id] = self.counts.get(self.own_id, 0) + 1

    def merge(self, counts: Mapping[PeerId, int]) -> bool:
        news = {who: n for who, n in counts.items() if n > self.counts.get(who, 0)}
        self.counts.update(news)
        return bool(news)

    def summary(self, told: Mapping[PeerId, int] | None = None) -> StateSummary:
        return StateSummary(ZERO_HASH, dict(self.counts))

    def held(self, since: object) -> tuple[bytes, News]:
        raise NotImplementedError

    def news(self, since: object) -> News:
        raise NotImplementedError

    def note_latest(self, latest: Mapping[PeerId, int]) -> None:
        """Nothing is trimmed by what peers hold here."""

    def note_news(self, news: Mapping[PeerId, int]) -> None:
        """Nor by what they hold anew."""

    def relation(self, theirs: StateSummary) -> Relation:
        return Relation.MERGE

    def export_missing(
        self, latest: Mapping[PeerId, int], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        raise NotImplementedError

    def export_news(
        self, latest: Mapping[PeerId, int], behind: Collection[PeerId], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        raise NotImplementedError

    def export_after(
        self, shared: OpId | None, skip: int, max_bytes: int
    ) -> tuple[bytes, int] | None:
        raise NotImplementedError

    def import_batch(self, data: bytes, sender: PeerId) -> bool:
        raise NotImplementedError

    def save_points(self) -> Sequence[tuple[OpId, bytes]]:
        return ()

    def find_last_shared(self, points: Sequence[tuple[OpId, bytes]]) -> OpId | None:
        return None

    def snapshot(self) -> bytes:
        return b""

    def adopt(self, snapshot: bytes, sender: PeerId) -> None:
        raise NotImplementedError


class TinySync:
    """Sends all counts in one call whenever something is new; enough to test what carries it."""

    def __init__(self, replica: Any, own_id: PeerId, their_id: PeerId, snapshots: Any) -> None:
        self._replica = replica
        self._their_id = their_id
        self._effects: list[SyncEffect] = []
        self._calls = 0
        self.errors: list[tuple[int, int, str]] = []

    def start(self, now: float) -> None:
        self._effects.append(Notify("osmosis.sync.endSession", {"hello": True}))
        self.local_changes(now)

    def receive_part(self, now: float) -> None:
        pass

    def local_changes(self, now: float) -> None:
        counts = {who.hex(): n for who, n in self._replica.counts.items()}
        self._calls += 1
        self._effects.append(Call(self._calls, "osmosis.sync.liveUpdate", {"counts": counts}, 5.0))

    def receive_notification(self, method: str, params: Any, now: float) -> None:
        pass

    def receive_request(self, request_id: int | str, method: str, params: Any, now: float) -> None:
        if method != "osmosis.sync.liveUpdate":
            self._effects.append(AnswerError(request_id, -32601, f"no {method}"))
            return
        counts = {bytes.fromhex(who): n for who, n in params["counts"].items()}
        if self._replica.merge(counts):
            self._effects.append(Emit(OpsReceived(self._their_id.hex())))
        self._effects.append(Answer(request_id, {}))

    def receive_result(self, call_id: int, result: Any, now: float) -> None:
        pass

    def receive_error(self, call_id: int, code: int, message: str, now: float) -> None:
        self.errors.append((call_id, code, message))

    def handle_timer(self, now: float) -> None:
        pass

    def next_deadline(self) -> float | None:
        return None

    def take_effects(self) -> list[SyncEffect]:
        effects, self._effects = self._effects, []
        return effects
