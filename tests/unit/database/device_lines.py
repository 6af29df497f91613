"""Two groups of devices that are joined as by the network, in one thread: whole, or cut at will."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

from cytosol.database.connections import DeviceConnection, DeviceGroup
from cytosol.protocol.effects import Answer, AnswerError, Call, Emit, Notify
from cytosol.protocol.graph_channel import GraphChannel

IDS = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222")


class Side:
    """One device: its group, and what the network would keep for it."""

    def __init__(self, peer_id: str, other_id: str, chance: random.Random) -> None:
        self.peer_id = peer_id
        self.paired = [other_id]
        self.is_listening = False
        self.channel: GraphChannel | None = None
        self.told: list[tuple[Any, ...]] = []
        self.work: Callable[[], None] = lambda: None
        self.group = DeviceGroup(lambda: self.paired, self.tell, chance.randbytes)

    @property
    def connection(self) -> DeviceConnection:
        """The connection to the other device, in the group now."""
        [connection] = self.group
        assert isinstance(connection, DeviceConnection)
        return connection

    def tell(self, name: str, *args: Any) -> None:
        """Take what the group tells the network."""
        self.told.append((name, *args))
        if name == "graph_listen":
            [self.is_listening] = args
            if self.channel is not None:
                self.channel.listen(self.is_listening)
        elif self.channel is not None:
            getattr(self.channel, name.removeprefix("graph_"))(*args[1:])
        self.work()


class Line:
    """What lies between two devices."""

    def __init__(self, seed: int = 0) -> None:
        chance = random.Random(seed)
        self.sides = (Side(IDS[0], IDS[1], chance), Side(IDS[1], IDS[0], chance))
        self.in_flight: list[tuple[Side, Any]] = []
        self.is_held = False
        self._connection_ids = itertools.count(1)
        self._is_busy = False
        for side in self.sides:
            side.work = self.work

    def connect(self) -> None:
        """Let both devices have a new connection."""
        for side, other in (self.sides, self.sides[::-1]):
            side.channel = GraphChannel(next(self._connection_ids), other.peer_id)
        for side in self.sides:
            assert side.channel is not None
            side.channel.listen(side.is_listening)
        self.work()

    def disconnect(self) -> None:
        """Cut the line; what was on its way is lost."""
        self.in_flight.clear()
        for side in self.sides:
            channel, side.channel = side.channel, None
            closed = None if channel is None else channel.lost()
            if closed is not None:
                side.group.receive(closed.event)  # type: ignore[arg-type]  # of a channel

    def work(self) -> None:
        """Carry what is to be carried, unless it is held."""
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._collect() or (self.in_flight and not self.is_held):
                if self.in_flight and not self.is_held:
                    self._deliver(*self.in_flight.pop(0))
        finally:
            self._is_busy = False

    def carry(self, count: int) -> None:
        """Deliver so many things of what is held."""
        for _ in range(count):
            if self.in_flight:
                self._deliver(*self.in_flight.pop(0))
            self._collect()

    def _collect(self) -> bool:
        """Take the effects of both channels; tell whether there were any."""
        found = False
        for side, other in (self.sides, self.sides[::-1]):
            for effect in [] if side.channel is None else side.channel.take_effects():
                found = True
                if isinstance(effect, Emit):
                    side.group.receive(effect.event)  # type: ignore[arg-type]  # of a channel
                else:
                    self.in_flight.append((other, effect))
        return found

    def _deliver(self, side: Side, effect: Any) -> None:
        channel = side.channel
        assert channel is not None
        match effect:
            case Notify():
                channel.receive_notification(effect.method, effect.params)
            case Call():
                channel.receive_request(effect.call_id, effect.method, effect.params)
            case Answer():
                channel.receive_result(int(effect.request_id))
            case AnswerError():
                channel.receive_error(int(effect.request_id))
