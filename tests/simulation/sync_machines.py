"""SyncMachines of protocol/ on fake replicas, joined by virtual connections.

A fake replica is a set of ops without a document: enough to see who holds what. It adopts a base
by joining it to its own ops, and never re-issues any. Everything happens in one thread in
virtual time, from one seed.

This is not `cytosol.testing.World`, and cannot be: there nobody can tamper with a message, forget
an op as only a bug could, refuse a batch at one side, or count the calls of a full sync. What the
sync has to hold with real documents and connections is tested in worlds.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cytosol.errors import RemoteProtocolError, SaveError
from cytosol.model.ids import OpId, PeerId
from cytosol.model.version import ZERO_HASH, News, StateSummary, fold_hash
from cytosol.protocol.effects import Answer, AnswerError, Call, Emit, Fail, Notify
from cytosol.protocol.seams import Relation
from cytosol.protocol.snapshot import SnapshotCache
from cytosol.protocol.sync import SyncMachine
from cytosol.protocol.sync_link import OpsReceived

FakeOp = tuple[int, str, int, str]  # index, author in hex, index of the author's previous op, text


def peer(number: int) -> PeerId:
    """Return the id of the n-th peer; greater numbers are greater ids."""
    return bytes([number]) * 16


class FakeReplica:
    """A set of ops `(author, index) -> text`, with trimming and adoption as the seam wants them."""

    def __init__(self, own_id: PeerId) -> None:
        self.own_id = own_id
        self.ops: dict[PeerId, dict[int, FakeOp]] = {}
        self.trimmed: set[OpId] = set()
        self.disk_is_full = False
        self.waiting: dict[tuple[PeerId, int], FakeOp] = {}
        self.adopted = 0
        self.imports = 0

    # --- For tests

    def write(self, text: str) -> OpId:
        """Add an op of our own."""
        index = 1 + max(self.latest().values(), default=0)
        mine = self.ops.setdefault(self.own_id, {})
        mine[index] = (index, self.own_id.hex(), max(mine, default=0), text)
        return OpId(index, self.own_id)

    def texts(self) -> set[str]:
        """Return what was written anywhere and is known here."""
        return {op[3] for op in self._sorted()}

    def trim(self) -> None:
        """Forget how to send anything that is there now."""
        self.trimmed.update(OpId(*op_id) for op_id in self._ids())

    def forget(self, op_id: OpId) -> None:
        """Lose an op as only a bug could: there is a hole in what `latest` promises."""
        del self.ops[op_id.author][op_id.index]

    def _sorted(self) -> list[FakeOp]:
        return sorted(op for ops in self.ops.values() for op in ops.values())

    def _ids(self) -> list[tuple[int, PeerId]]:
        return [(op[0], bytes.fromhex(op[1])) for op in self._sorted()]

    def _is_trimmed(self, op: FakeOp) -> bool:
        return (op[0], bytes.fromhex(op[1])) in self.trimmed

    # --- ReplicaSeam

    def note_latest(self, latest: Mapping[PeerId, int]) -> None:
        """Nothing is trimmed by what peers hold here."""

    def note_news(self, news: Mapping[PeerId, int]) -> None:
        """Nor by what they hold anew."""

    def latest(self) -> Mapping[PeerId, int]:
        return {author: max(ops) for author, ops in self.ops.items() if ops}

    def summary(self, told: Mapping[PeerId, int] | None = None) -> StateSummary:
        gone = sorted(self.trimmed)
        trimmed = {op_id.author: op_id.index for op_id in gone}
        return StateSummary(
            state_hash=fold_hash(ZERO_HASH, self._ids()),
            latest=dict(self.latest()),
            trim=gone[-1] if gone else None,
            trim_hash=fold_hash(ZERO_HASH, gone),
            trimmed=trimmed,
        )

    def news(self, since: object) -> News:
        """Compare with what was held at the mark, which is simply that."""
        held = dict(self.latest())
        if not isinstance(since, dict) or any(held.get(a, 0) < i for a, i in since.items()):
            return News(dict(held), True, held)
        return News({a: i for a, i in held.items() if since.get(a) != i}, False, held)

    def held(self, since: object = None) -> tuple[bytes, News]:
        return fold_hash(ZERO_HASH, self._ids()), self.news(since)

    def relation(self, theirs: StateSummary) -> Relation:
        ours = self.summary()
        they_lack = any(theirs.latest.get(a, 0) < i for a, i in ours.trimmed.items())
        we_lack = any(ours.latest.get(a, 0) < i for a, i in theirs.trimmed.items())
        if they_lack and we_lack:
            assert ours.trim is not None
            assert theirs.trim is not None
            we_win = (ours.trim, ours.trim_hash) > (theirs.trim, theirs.trim_hash)
            return Relation.THEY_ADOPT if we_win else Relation.WE_ADOPT
        if they_lack:
            return Relation.THEY_ADOPT
        return Relation.WE_ADOPT if we_lack else Relation.MERGE

    @staticmethod
    def _pack(ops: Sequence[FakeOp], max_bytes: int) -> tuple[bytes, list[FakeOp]]:
        taken: list[FakeOp] = []
        size = 0
        for op in ops:
            size += len(op[3]) + 40
            if taken and size > max_bytes:
                break
            taken.append(op)
        return json.dumps(taken).encode(), taken

    def export_missing(
        self, latest: Mapping[PeerId, int], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        lacking = [
            op
            for op in self._sorted()
            if op[0] > latest.get(bytes.fromhex(op[1]), 0) and not self._is_trimmed(op)
        ]
        if not lacking:
            return None
        data, taken = self._pack(lacking, max_bytes)
        after = dict(latest)
        for op in taken:
            after[bytes.fromhex(op[1])] = op[0]
        return data, after

    def export_news(
        self, latest: Mapping[PeerId, int], behind: Collection[PeerId], max_bytes: int
    ) -> tuple[bytes, dict[PeerId, int]] | None:
        held = self.latest()
        assert set(behind) == {a for a, i in held.items() if latest.get(a, 0) < i}
        out = self.export_missing(latest, max_bytes)
        if out is None:
            return None
        return out[0], {a: i for a, i in out[1].items() if latest.get(a) != i}

    def export_after(
        self, shared: OpId | None, skip: int, max_bytes: int
    ) -> tuple[bytes, int] | None:
        ops = [op for op in self._sorted() if not self._is_trimmed(op)]
        if shared is not None:
            ops = [op for op in ops if (op[0], bytes.fromhex(op[1])) > shared]
        if len(ops) <= skip:
            return None
        data, taken = self._pack(ops[skip:], max_bytes)
        return data, skip + len(taken)

    def import_batch(self, data: bytes, sender: PeerId) -> bool:
        try:
            ops = [(int(i), str(a), int(p), str(t)) for i, a, p, t in json.loads(data)]
            keys = [(bytes.fromhex(op[1]), op[0]) for op in ops]
        except (ValueError, TypeError):
            raise RemoteProtocolError("the batch is damaged") from None
        if self.disk_is_full:
            raise SaveError("the disk is full")
        self.imports += 1
        self.waiting.update(zip(keys, ops, strict=True))
        while True:
            ready = [
                key
                for key, op in self.waiting.items()
                if op[2] == 0 or op[2] <= self.latest().get(key[0], 0)
            ]
            if not ready:
                return True
            for key in ready:
                self.ops.setdefault(key[0], {})[key[1]] = self.waiting.pop(key)

    def save_points(self) -> Sequence[tuple[OpId, bytes]]:
        points = []
        state_hash = ZERO_HASH
        for number, (index, author) in enumerate(self._ids(), 1):
            state_hash = fold_hash(state_hash, [(index, author)])
            if number % 4 == 0:
                points.append((OpId(index, author), state_hash))
        return points

    def find_last_shared(self, points: Sequence[tuple[OpId, bytes]]) -> OpId | None:
        hashes = {}
        state_hash = ZERO_HASH
        for index, author in self._ids():
            state_hash = fold_hash(state_hash, [(index, author)])
            hashes[OpId(index, author)] = state_hash
        shared = [op_id for op_id, point_hash in points if hashes.get(op_id) == point_hash]
        return shared[-1] if shared else None

    def snapshot(self) -> bytes:
        gone = [[op_id.index, op_id.author.hex()] for op_id in sorted(self.trimmed)]
        return json.dumps([gone, self._sorted()]).encode()

    def adopt(self, snapshot: bytes, sender: PeerId) -> None:
        try:
            gone, raw = json.loads(snapshot)
            trimmed = {OpId(int(index), bytes.fromhex(author)) for index, author in gone}
            theirs = [(int(i), str(a), int(p), str(t)) for i, a, p, t in raw]
        except (ValueError, TypeError):
            raise RemoteProtocolError("the snapshot is damaged") from None
        if self.disk_is_full:
            raise SaveError("the disk is full")
        self.adopted += 1
        self.trimmed = trimmed  # what was only ours can be sent again, as if re-issued
        for op in theirs:
            self.ops.setdefault(bytes.fromhex(op[1]), {})[op[0]] = op


class SyncWorld:
    """Peers, the connections between them, and the clock."""

    def __init__(self, count: int, seed: int = 0, delay_s: float = 0.01) -> None:
        self.random = random.Random(seed)
        self.delay_s = delay_s
        self.now = 1_000.0
        self.replicas = [FakeReplica(peer(number + 1)) for number in range(count)]
        self.machines: dict[tuple[int, int], SyncMachine] = {}
        self.caches = defaultdict[int, SnapshotCache](SnapshotCache)
        self.events: list[tuple[int, object]] = []
        self.failures: list[str] = []
        self.sent: list[str] = []  # the method of every message
        self.tamper: Callable[[str, Any], Any] | None = None  # changes params and results
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._epoch = 0
        self._arrival: dict[tuple[int, int], float] = {}

    # --- What happens to the peers

    def connect(self, one: int, other: int) -> None:
        """Connect two peers that are not connected."""
        self._epoch += 1
        for a, b in ((one, other), (other, one)):
            machine = SyncMachine(self.replicas[a], peer(a + 1), peer(b + 1), self.caches[a])
            machine.epoch = self._epoch  # type: ignore[attr-defined]  # which connection it is
            machine.calls = {}  # type: ignore[attr-defined]  # which method a request was
            self.machines[a, b] = machine
            self._arrival.pop((a, b), None)
        for a, b in ((one, other), (other, one)):
            self.machines[a, b].start(self.now)
            self._obey(a, b)

    def disconnect(self, one: int, other: int) -> None:
        """Lose a connection and everything on its way."""
        self.machines.pop((one, other), None)
        self.machines.pop((other, one), None)

    def connect_all(self) -> None:
        """Connect every pair that is not connected."""
        for one, other in itertools.combinations(range(len(self.replicas)), 2):
            if (one, other) not in self.machines:
                self.connect(one, other)

    def write(self, who: int, text: str) -> OpId:
        """Let a peer write, and tell its machines."""
        op_id = self.replicas[who].write(text)
        self.changed(who)
        return op_id

    def changed(self, who: int, but: int | None = None) -> None:
        """Tell a peer's machines that its replica has something new."""
        for a, b in list(self.machines):
            if a == who and b != but:
                self.machines[a, b].local_changes(self.now)
                self._obey(a, b)

    # --- The network

    def _send(self, a: int, b: int, act: Callable[[SyncMachine], None]) -> None:
        """Let `act` happen at the other end, in order, unless the connection is lost."""
        epoch = self.machines[a, b].epoch  # type: ignore[attr-defined]  # see connect
        delay = self.delay_s * self.random.uniform(0.5, 1.5)
        at = max(self.now + delay, self._arrival.get((a, b), 0.0))
        self._arrival[a, b] = at

        def arrive() -> None:
            machine = self.machines.get((b, a))
            if machine is not None and machine.epoch == epoch:  # type: ignore[attr-defined]  # see connect
                act(machine)
                self._obey(b, a)

        heapq.heappush(self._queue, (at, next(self._order), arrive))

    def _tell(self, a: int, b: int, what: str, *args: Any) -> None:
        """Let the other end receive a notification, a result or an error."""
        self._send(a, b, lambda machine: getattr(machine, f"receive_{what}")(*args, self.now))

    def _json(self, method: str, value: Any) -> Any:
        value = json.loads(json.dumps(value))
        return value if self.tamper is None else self.tamper(method, value)

    def _obey(self, a: int, b: int) -> None:
        machine = self.machines[a, b]
        relay = False
        for effect in machine.take_effects():
            match effect:
                case Notify(method, params):
                    self.sent.append(method)
                    self._tell(a, b, "notification", method, self._json(method, params))
                case Call():
                    self._call(a, b, effect)
                case Answer(request_id, result):
                    method = machine.calls[request_id]  # type: ignore[attr-defined]  # see connect
                    result = self._json("result of " + method, result)
                    self._tell(a, b, "result", request_id, result)
                case AnswerError(request_id, code, message):
                    self._tell(a, b, "error", request_id, code, message)
                case Fail(reason):
                    self.failures.append(reason)
                    self.disconnect(a, b)
                    return
                case Emit(event):
                    self.events.append((a, event))
                    relay = relay or isinstance(event, OpsReceived)
        if relay:
            self.changed(a)

    def _call(self, a: int, b: int, call: Call) -> None:
        self.sent.append(call.method)
        params = self._json(call.method, call.params)
        caller = self.machines[a, b]

        def receive(machine: SyncMachine) -> None:
            machine.calls[call.call_id] = call.method  # type: ignore[attr-defined]  # see connect
            machine.receive_request(call.call_id, call.method, params, self.now)

        self._send(a, b, receive)

        def time_out() -> None:
            if self.machines.get((a, b)) is caller:
                caller.receive_error(call.call_id, -32004, "no answer in time", self.now)
                self._obey(a, b)

        heapq.heappush(self._queue, (self.now + call.timeout_s, next(self._order), time_out))

    # --- Time

    def step(self) -> bool:
        """Let the next thing happen; False when nothing is left to happen."""
        deadlines = [
            (deadline, pair)
            for pair, machine in self.machines.items()
            if (deadline := machine.next_deadline()) is not None
        ]
        if deadlines and (not self._queue or min(deadlines)[0] <= self._queue[0][0]):
            deadline, (a, b) = min(deadlines)
            self.now = max(self.now, deadline)
            self.machines[a, b].handle_timer(self.now)
            self._obey(a, b)
            return True
        if not self._queue:
            return False
        at, _, act = heapq.heappop(self._queue)
        self.now = max(self.now, at)
        act()
        return True

    def run(self, seconds: float) -> None:
        """Let some time pass."""
        end = self.now + seconds
        while self._next() <= end and self.step():
            pass
        self.now = end

    def _next(self) -> float:
        times = [self._queue[0][0]] if self._queue else []
        times += [t for m in self.machines.values() if (t := m.next_deadline()) is not None]
        return min(times, default=float("inf"))

    def settle(self, steps: int = 20_000) -> None:
        """Run until nothing is left to happen, which must come soon."""
        for _ in range(steps):
            if not self.step():
                return
        raise AssertionError(f"the machines are still talking after {steps} steps")

    # --- What must hold

    def check_equal(self) -> None:
        """Check that all hold the same, and that nobody has anything more to say."""
        first = self.replicas[0].summary()
        for replica in self.replicas[1:]:
            summary = replica.summary()
            assert first.latest == summary.latest
            assert first.state_hash == summary.state_hash
        assert self.failures == []
        self.check_idle()

    def check_idle(self) -> None:
        """Check that machines which are done do nothing when asked to."""
        for machine in self.machines.values():
            assert machine.next_deadline() is None
            machine.handle_timer(self.now + 1_000)
            machine.local_changes(self.now)
            assert machine.take_effects() == []
