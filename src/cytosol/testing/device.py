"""One device of a world: a real database, and what can happen to the machine that it runs on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cytosol.crdt.actions import DataAction
from cytosol.database.database import Database
from cytosol.database.network_actions import NetworkAction
from cytosol.database.opening import open_in
from cytosol.database.surroundings import Surroundings
from cytosol.database.transaction import TransactionContext
from cytosol.errors import DatabaseClosedError, DatabaseError
from cytosol.limits import HISTORY_DEFAULT_MAX
from cytosol.model.json import JsonValue
from cytosol.savestates import SaveState
from cytosol.testing.clock import EPOCH_S
from cytosol.testing.disk import PowerCut, VirtualDisk, VirtualSaveState
from cytosol.testing.files import RealFiles
from cytosol.testing.host import VirtualCaller, VirtualService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cytosol.testing.world import World

__all__ = ["Backup", "Device"]

PASSED_ON: Final = frozenset(
    {
        "check", "dismiss_failures", "get", "on", "query_once", "query_once_meta", "subscribe",
        "subscribe_meta",
    }
)  # fmt: skip
"""Of `Database`; the signatures stand there."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a device's disk, and how many writes the ledger had from the device by then."""

    disk: VirtualDisk | RealFiles
    writes: int


class Device:
    """A database whose disk, network, clock and chance are virtual; made by `World.device`.

    It reads and writes as `Database` does, and `db` is one, made anew at each start. `app`, if the
    world was given one, is what it made of that database.
    """

    def __init__(
        self,
        world: World,
        name: str,
        ip_address: str,
        disk: VirtualDisk | RealFiles,
        app: Callable[[Database], Any] | None,
        options: Mapping[str, Any],
    ) -> None:
        self.world = world
        self.name = name
        self.ip_address = ip_address
        self.disk = disk
        self.writes = 0
        """How many writes the ledger knows from here."""
        self.clock_error_s = 0.0
        self.app: Any = None
        self.callback_errors: list[Exception] = []
        """What callbacks of the app have raised; `World.settle` and `World.check` want it empty."""
        self._app_factory = app
        self._options = {
            "min_history": 0,
            "max_history": HISTORY_DEFAULT_MAX,
            "visible_to_peers": True,
            "sync_enabled": True,
            "trust_shared_peers": True,
            **options,
        }
        self._chance = random.Random(world.chance.getrandbits(64))
        self._db: Database | None = None
        self._service: VirtualService | None = None
        self._caller: VirtualCaller | None = None
        self._past_problems: list[str] = []

    def __repr__(self) -> str:
        return f"<Device {self.name}, {'up' if self.is_up else 'down'}>"

    # --- What the database takes from its world ------------------------------------------

    def wall_clock_s(self) -> float:
        """Return what this device's wall clock says, in seconds since 1970."""
        return EPOCH_S + self.world.clock.now + self.clock_error_s

    def random_bytes(self, count: int) -> bytes:
        """Return bytes that depend on the world's seed only."""
        return self._chance.randbytes(count)

    def note_written(self) -> None:
        """Take note that a dispatch that changed something is durable."""
        self.world.written(self)

    def _make_network(self, **settings: Any) -> VirtualService:
        self._service = VirtualService(self, self.world.network, **settings)
        return self._service

    def _make_caller(self, name: str) -> VirtualCaller:
        self._caller = VirtualCaller(self.world.clock)
        return self._caller

    # --- Life ----------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether the program runs."""
        return self._db is not None

    @property
    def db(self) -> Database:
        """The real database; raises DatabaseClosedError while the device is down."""
        if self._db is None:
            raise DatabaseClosedError(f"the device {self.name} is down; start it first")
        return self._db

    def start(self) -> Device:
        """Start the program with what is on the disk; does nothing if it runs."""
        if self._db is not None:
            return self
        surroundings = Surroundings(
            now_ms=lambda: int(self.wall_clock_s() * 1000),
            random_bytes=self.random_bytes,
            network=self._make_network,
            caller=self._make_caller,
        )
        with self._dying():
            self._db = open_in(
                surroundings,
                self._save_state(),
                app_id=self.world.app_id,
                peer_name=self.name,
                network=True,
                loopback=False,
                durability="full",
                **self._options,
            )
            self._db.on("callback_error", lambda event: self.callback_errors.append(event.error))
            self.world.started(self)
            if self._app_factory is not None:
                self.app = self._app_factory(self._db)
        return self

    def _save_state(self) -> SaveState:
        disk = self.disk
        return disk.save_state() if isinstance(disk, RealFiles) else VirtualSaveState(disk)

    def stop(self) -> None:
        """End the program in order; does nothing if it is down."""
        db = self._db
        if db is not None:
            self.world.ending(self)
            with self._dying():
                db.close()
            self._keep_problems()
            self._db = self._service = self._caller = None

    def crash(self, *, power: bool = True) -> None:
        """End the program at once: writes that were not flushed are lost, or torn.

        In a power cut the others notice only silence; if just the program dies (`power=False`) the
        system resets its connections, and nothing that was written is lost. Nor is it in a power
        cut if the device has real files.
        """
        if self._service is not None:
            self._service.vanish(silently=power)
        if self._caller is not None:
            self._caller.vanish()
        self._keep_problems()
        if self._db is not None:
            self.world.ending(self)
            if isinstance(self.disk, RealFiles):
                self.disk.let_go()
            elif power:
                self.disk.crash(self._chance)
        self._db = self._service = self._caller = None

    def restart(self) -> Device:
        """Start again, after stopping in order if it runs."""
        self.stop()
        return self.start()

    @contextmanager
    def _dying(self) -> Iterator[None]:
        """Let the device die of a power cut, which goes on to the caller."""
        try:
            yield
        except PowerCut:
            self.crash()
            raise

    # --- What may happen to it -----------------------------------------------------------

    def cut_power_at_write(self, count: int = 1) -> None:
        """Cut the power in the middle of the n-th write to the disk from now on.

        A dispatch in which that happens raises PowerCut; whether it is on the disk is not known.
        """
        self.virtual_disk.cut_power_after(count)

    def fill_disk(self, free_bytes: int = 0) -> None:
        """Leave no more than some bytes free on the disk."""
        self.virtual_disk.capacity = self.virtual_disk.used_bytes() + free_bytes

    def free_disk(self) -> None:
        """Let there be space on the disk again."""
        if isinstance(self.disk, VirtualDisk):
            self.disk.capacity = None

    def mend_disk(self) -> None:
        """End all faults of the disk, also those that have not happened yet."""
        if isinstance(self.disk, VirtualDisk):
            self.disk.mend()

    @property
    def has_real_files(self) -> bool:
        """Whether its database is a real file and not on a virtual disk."""
        return isinstance(self.disk, RealFiles)

    @property
    def virtual_disk(self) -> VirtualDisk:
        """The disk, for faults; raises ValueError for a device that has real files."""
        if isinstance(self.disk, RealFiles):
            raise ValueError(
                f"the device {self.name} has real files, whose disk does not fail; make it "
                "without `files` to let its disk be full or its power fail while it writes"
            )
        return self.disk

    def move_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or back with a negative number."""
        self.clock_error_s += seconds

    def move_to(self, ip_address: str | None = None) -> None:
        """Get another address, as on joining another network; it is noticed within 10 s."""
        self.ip_address = ip_address or self.world.free_address()

    def backup(self) -> Backup:
        """Return a copy of the disk."""
        return Backup(self.disk.copy(), self.writes)

    def restore(self, backup: Backup) -> None:
        """Go on with an older copy of the disk, in a way that the program cannot notice.

        Nobody promised what was written here after the backup was made, unless another device
        has it.
        """
        self.crash()
        self.disk.put_back(backup.disk)  # type: ignore[arg-type]  # a device keeps its kind
        self.world.restored(self, backup.writes)
        self.start()

    def clone(self, name: str | None = None) -> Device:
        """Start another device with a copy of this disk: same keys, same pairings, same ids."""
        return self.world._clone(self, name)

    # --- The database --------------------------------------------------------------------

    def dispatch(
        self, action: DataAction | NetworkAction | Mapping[str, Any], return_failures: bool = False
    ) -> list[dict[str, JsonValue]] | None:
        """As `Database.dispatch`; raises PowerCut if the device dies of it."""
        with self._dying():
            return self.db.dispatch(action, return_failures)

    def transaction(self) -> TransactionContext:
        """As `Database.transaction`; ends as `dispatch` does."""
        return TransactionContext(self.db._document, self.dispatch)

    def __getattr__(self, name: str) -> Any:
        """Pass on what only reads, or listens until the program ends."""
        if name in PASSED_ON:
            return getattr(self.db, name)
        raise AttributeError(f"a device has no {name!r}; its database, `db`, may have it")

    @property
    def peer_id(self) -> str:
        """This device's id, a UUID."""
        return self.db.peer_id

    @property
    def document(self) -> Any:
        """A copy of the whole document."""
        return self.db.query_once("$")[0]

    @property
    def failures(self) -> list[JsonValue]:
        """The ops that could not be applied."""
        return self.db.query_once_meta("$.failures[*]")

    def state_hash(self) -> str:
        """As `Database.state_hash`."""
        return self.db.state_hash()

    # --- Whom it knows -------------------------------------------------------------------

    def peers(self) -> list[dict[str, Any]]:
        """Return the rows of `$.peers` as the network machine has them now."""
        return [] if self._service is None else self._service.machine.peers()

    def sees(self, other: Device) -> bool:
        """Tell whether the other device is visible from here."""
        return self.address_of(other) is not None

    def address_of(self, other: Device) -> tuple[str, int] | None:
        """Return the IP address and the port at which the other device is visible from here."""
        rows = (row for row in self.peers() if row["id"] == other.peer_id)
        return next(((row["ipAddress"], row["port"]) for row in rows), None)

    def is_connected(self, other: Device) -> bool:
        """Tell whether the other device is paired and connected, as seen from here."""
        return any(row["id"] == other.peer_id and row["connected"] for row in self.peers())

    def is_paired(self, other: Device) -> bool:
        """Tell whether the other device is paired, as seen from here."""
        wanted = other.peer_id
        return any(row == wanted for row in self.query_once_meta("$.pairings[*].id"))

    def open_streams(self) -> int:
        """Return how many streams are open to and from other devices."""
        return 0 if self._service is None else self._service.open_streams()

    def problems(self) -> list[str]:
        """Return what ever went wrong that ought not to happen: mistakes in Cytosol."""
        now = [] if self._service is None else self._service.problems()
        return [*self._past_problems, *now]

    def _keep_problems(self) -> None:
        """Keep what the network of this run of the program leaves, as nobody may have looked."""
        if self._service is not None:
            self._past_problems += self._service.problems()

    def _abandon(self) -> None:
        """End at the end of the world, whatever state the device is in."""
        with suppress(DatabaseError, PowerCut):
            self.free_disk()
            self.stop()
