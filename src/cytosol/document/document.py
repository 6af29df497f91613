"""The document: a replica with a journal, subscriptions and metadata around it.

Every public method takes the lock for as long as memory is touched, and never while a callback is
waited for. The disk is waited for without it, except when the whole history is replaced in the
file (trimming, adoption), when nobody may write. What a method returns is the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from threading import get_ident
from typing import Any

from cytosol.crdt.actions import DataAction
from cytosol.crdt.bulk import Idents, merge_bulk
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.crdt.single import merge_single
from cytosol.crdt.tree import Place, Step
from cytosol.document.assigning import Assignment, assign, pass_by, reserve
from cytosol.document.checking import Progress, check_document
from cytosol.document.checkreport import CheckOutcome, CheckSection
from cytosol.document.frozen import copied, freeze, thaw
from cytosol.document.guard import Guard, refuse
from cytosol.document.history import History
from cytosol.document.interest import Location, Observer
from cytosol.document.journal import Journal, OpKey, Ticket
from cytosol.document.mending import decline, give_back
from cytosol.document.metadata import Metadata
from cytosol.document.picking import NOTHING, check_steps, locations, pick, pick_late
from cytosol.document.subscriptions import Subscription, Subscriptions
from cytosol.errors import ActionError, DatabaseError
from cytosol.model.ids import OpId, PeerId
from cytosol.model.json import JsonValue, brief
from cytosol.model.op import Op
from cytosol.model.opcodec import Columns, decode_columns
from cytosol.model.singlecodec import Single
from cytosol.path import Query, Variables, parse_path
from cytosol.savestates import SaveState

__all__ = ["Document"]

QUIET_NOTED_MAX = 16  # containers of one change that are looked at whether they are quiet
UNLOOKED_MIN = 4  # own writes between two looks that are logged one by one: few save nothing


class Document(Guard):
    """One replicated JSON object on this device.

    `now_ms` is the wall clock in milliseconds, `random_bytes` the system's generator, `report`
    hears of exceptions in callbacks, and `after_write` is called after each dispatch that changed
    something, once it is durable and before any callback: whoever it tells need not wait for those.
    """

    def __init__(
        self,
        state: SaveState | None,
        *,
        now_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        report: Callable[[Exception], None],
        after_write: Callable[[], None] | None = None,
        min_history: int = 0,
        max_history: int = 32_768,
    ) -> None:
        super().__init__()
        self.journal = Journal(state, self.lock, self._take_back)
        self._now_ms = now_ms
        self.random_bytes = random_bytes
        self.after_write = after_write
        self._replica = Replica(bytes(16))
        self.history = History(self, min_history, max_history)
        self._compiler = Compiler(self._replica)
        self._unlooked = 0  # own writes since somebody looked
        self._quick = self._compiler.quick.dispatch
        self._late = self._compiler.quick.late
        self.subscriptions = Subscriptions(self._read, report, self.lock)
        self.metadata = Metadata({})
        self.meta_subscriptions = Subscriptions(self._read_meta, report, self.lock)
        self._observers: tuple[Observer, ...] = ()
        self._shape = 0  # of the tree for which `subscriptions.quiet` was noted
        self._is_released = False

    @property
    def replica(self) -> Replica:
        """The replica, in whose log is all that was written; ask anew after letting the lock go."""
        self._unlooked = 0
        if self._alone is not None or self._late:
            self.settle()
        return self._replica

    def settle(self) -> None:
        """Log what own writes have left to be logged, and have them log for themselves."""
        with self.lock:
            if self._is_released:
                return
            if self._alone is refuse:
                refuse(None, 0)
            try:
                if self._tear.is_open:
                    self._mend()
                else:
                    self._log_alone()
                    self._late.settle()
            except BaseException as error:
                self.torn_by(error)
                raise

    def _log_alone(self) -> None:
        """Do the same with the lock held; inserts may still be late."""
        try:
            self._alone = refuse  # whoever comes in the middle of it, in this thread
            self._compiler.quick.settle()
            self._alone = None
        except BaseException:  # Ctrl-C: it is done the next time
            self._alone = decline
            raise

    def _mend(self) -> None:
        """Read the history anew, as it was before what was stopped, or after it."""
        self.journal.drain()
        old = self._replica
        if not self.journal.is_kept:
            self._compiler.quick.settle()
            self._tear.cut(old)
        self.history.reload(old)
        self._tear.is_open, self._is_barred, self._alone = False, self._closed, None
        self.touch_everything()

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who follows the document by place; replaced as a whole, with the lock held."""
        return self._observers

    @observers.setter
    def observers(self, observers: tuple[Observer, ...]) -> None:
        self.settle()
        self._observers = observers

    # --- opening and closing ------------------------------------------------------------

    def load(self, author: bytes, progress: Progress | None = None) -> None:
        """Read the document from the opened journal; new ops are written under `author`.

        Raises DatabaseCorruptError, and what `progress` raises.
        """
        with self.lock:
            if progress is None:
                self.history.load(author)
                return
            progress("history", 0.0)
            self.history.load(author, partial(progress, "history"))
            progress("done", 1.0)

    def set_sources(self, sources: Mapping[str, Callable[[], JsonValue]]) -> None:
        """Say where the metadata comes from, beside `actions` and `failures`."""
        own = {"actions": self.history.actions, "failures": self.history.failures}
        self.metadata = Metadata({**own, **sources})

    def use(self, replica: Replica) -> None:
        """Go on with another replica; call with the lock held."""
        if not self._tear.is_open:
            self.settle()
        self.subscriptions.quiet.clear()
        compiler = Compiler(replica)
        # Without a call in between Ctrl-C comes before all of this, or after it.
        self._replica, self._compiler = replica, compiler
        self._quick, self._late = compiler.quick.dispatch, compiler.quick.late

    def close(self) -> None:
        """Write what is queued and release the file; closing twice is harmless."""
        self.check_idle()
        with self.lock:
            self._closed = self._is_barred = True
            if self._is_released:
                return
            if not self._tear.is_open:
                self.settle()
            self.journal.drain()
            self.journal.close()
            self._is_released, self._alone = True, None

    # --- writing ------------------------------------------------------------------------

    def dispatch(self, action: DataAction | Mapping[str, Any]) -> int:
        """Log and apply a data action, all or nothing; return how many ops it became.

        Durable on return as the save state promises. Raises ActionError, FailureError,
        SaveError (nothing has changed then), DatabaseClosedError.
        """
        return 1 if self.write(action) else self.dispatch_any(action)

    def write(self, action: Any) -> bool:
        """Do the same if this is one of the most frequent actions; False: nothing was done.

        False also for what is no data action, and after `close`: `dispatch_any` says so.
        """
        if self._alone is None:
            return self._write_logged(action)
        if self._alone is refuse:
            self.check_idle()
        lock = self.lock
        try:
            # Inside, so that Ctrl-C right behind it gives it back; `with` takes twice as long.
            lock.acquire()
            alone = self._alone
            if alone is not None:
                self._alone = refuse  # whoever comes in the middle of it, in this thread
                is_done = alone(action, self._now_ms())
                if self._alone is refuse:
                    self._alone = alone
            else:
                is_done = False
        except BaseException as error:
            self._alone = decline  # nobody is alone any more; what was done is logged
            give_back(lock, partial(self.torn_by, error))
            raise
        lock.release()
        if not is_done:
            return self._write_logged(action)
        if self.after_write is not None:
            self.after_write()
        return True

    def _write_logged(self, action: Any) -> bool:
        """Do the same, and log it at once."""
        with self.lock:
            if self._is_barred:
                if self._closed:
                    return False
                self.check_open()
            if self._saving or self._alone is refuse:
                self.check_idle()
            if self._alone is not None:
                self._log_alone()
            try:
                self._changer, self._is_barred = get_ident(), True
                if not self._quick(action, self._now_ms(), True):
                    return False
                replica = self._replica
                touched = replica.applier.mutator.touched
                row = len(replica.log.indexes) - 1
                is_simple = not self.journal.is_kept and (
                    not (self.subscriptions.live or self.meta_subscriptions.live or self._observers)
                    or self._is_unheard(touched)
                )
                if not is_simple:
                    ticket, is_watched = self._queue_own(row)
                else:
                    touched.clear()
                    self._unlooked += 1
                    if self._unlooked > UNLOOKED_MIN and row < self.history.check_at:
                        self._go_alone(self.history.check_at - row - 1)
            except BaseException as error:
                self.torn_by(error)
                raise
            finally:
                self._changer, self._is_barred = 0, self._closed or self._tear.is_open
        if not is_simple:
            self._settle(row, ticket, is_watched)
            return True
        if self.after_write is not None:
            self.after_write()
        if row >= self.history.check_at:
            self._trim_if_due()
        return True

    def _go_alone(self, room: int) -> None:
        """Let up to so many own writes be logged together, until anybody looks at the log.

        Call with the lock held, where nobody listens or the last write was unheard.
        """
        subscriptions, quick = self.subscriptions, self._compiler.quick
        if quick.begin(room, subscriptions.quiet if subscriptions.live else None):
            self._alone = quick.write

    def dispatch_any(self, action: DataAction | Mapping[str, Any]) -> int:
        """Do what `dispatch` does, the general way."""
        return self._log(lambda: self._compiler.dispatch_any(action, self._now_ms()))

    def _log(self, write: Callable[[], int]) -> int:
        """Have own ops written and see to all that follows; return how many they are."""

        def logged() -> tuple[int, int, Ticket | None, bool]:
            replica = self.replica
            length = len(replica.log)
            try:
                count = write()
                return (count, length, *(self._queue_own(length) if count else (None, False)))
            except BaseException as error:
                replica.applier.mutator.touched.clear()  # all of it was undone
                self.torn_by(error, length)
                raise

        count, length, ticket, is_watched = self.changing(logged)
        if count:
            self._settle(length, ticket, is_watched)
        return count

    def _is_unheard(self, touched: list[tuple[Place, Step | None]]) -> bool:
        """Tell whether what was touched surely concerns nobody, and nobody waits for a call."""
        subscriptions = self.subscriptions
        if self._observers or self.meta_subscriptions.live or subscriptions.is_due:
            return False
        if self._shape != self._replica.tree.shape:
            self._shape = self._replica.tree.shape
            subscriptions.quiet.clear()
        return len(touched) == 1 and touched[0][0] in subscriptions.quiet

    def assign(self, assignments: Iterable[Assignment]) -> int:
        """Log and apply what was first written elsewhere, under ids that tell when; as `dispatch`.

        All of it or nothing; what is not newer than what stands is left out. Returns how
        many ops it became. Raises ActionError, also for an id too far ahead of our clock,
        FailureError, SaveError (nothing has changed then), DatabaseClosedError.
        """
        return self._log(lambda: assign(self._replica, self._compiler, assignments, self._now_ms()))

    def reserve_id(self) -> OpId:
        """Return an id of our own for an assignment that is to come; each is given once."""
        return self.changing(lambda: reserve(self.replica))

    def pass_by(self, index: int) -> None:
        """Let our ids be above `index` from now on. Raises ActionError if that is too far ahead."""
        self.changing(lambda: pass_by(self.replica, index))

    def _settle(self, length: int, ticket: Ticket | None, is_watched: bool) -> None:
        """Wait until own ops are durable, then tell of them; call without the lock."""
        try:
            self.flush(ticket)
        except DatabaseError:
            self.deliver()  # others may have been told of what was taken back
            raise
        if self.after_write is not None:
            self.after_write()
        if length >= self.history.check_at:
            self._trim_if_due()
        if is_watched:
            self.deliver()

    def _queue_own(self, start: int) -> tuple[Ticket | None, bool]:
        """Queue the own ops from a row on, and the deliveries that they cause, if anybody listens.

        Call with the lock held, and `_settle` afterwards without it.
        """
        replica = self._replica
        ticket = None
        if self.journal.is_kept:
            ticket = self.journal.add_rows(replica.log, start)
        is_watched = self._is_watched
        if is_watched:
            self.changed()
        else:
            replica.applier.mutator.touched.clear()
        return ticket, is_watched

    @property
    def _is_watched(self) -> bool:
        """Whether anybody wants to hear of changes."""
        return bool(self._observers or self.subscriptions.live or self.meta_subscriptions.live)

    def _trim_if_due(self) -> None:
        if self.history.is_due():
            # What asked for it is durable already. A history that the disk does not let us
            # shorten there is only longer, and it is tried again later.
            with suppress(DatabaseError):
                self.changing(self.history.trim)

    def _take_back(self, ids: list[OpKey]) -> None:
        """Forget ops that the disk refused; called with the lock held."""
        if self._tear.is_open:
            return  # what is read anew does not hold them
        try:
            self.replica.drop_ops(set(ids))
            self.history.took_back()
            self.changed()
        except BaseException as error:
            self.torn_by(error)
            raise

    def changed(self) -> None:
        """Queue deliveries for what the replica has touched; call with the lock held."""
        touched = self._replica.applier.mutator.touched
        if (
            touched
            and (self._observers or self.subscriptions.live)
            and not self._is_unheard(touched)
        ):
            above: dict[Place, Location | None] = {}
            found = locations(self._replica.tree, touched, above)
            for observer in self._observers:
                observer.touch(found)
            self.subscriptions.touch(found)
            for place, inside in islice(above.items(), QUIET_NOTED_MAX):
                if inside is not None:
                    self.subscriptions.note_quiet(place, inside)
        touched.clear()
        if self.meta_subscriptions.live:
            self.meta_subscriptions.touch([("actions",), ("failures",)])

    def touch_everything(self) -> None:
        """Queue deliveries to all whose list has changed; call with the lock held."""
        self.replica.applier.mutator.touched.clear()
        for observer in self._observers:
            observer.touch([()])
        self.subscriptions.touch_all()
        self.meta_subscriptions.touch_all()

    def deliver(self) -> None:
        """Call the callbacks that are due; call without the lock."""
        for observer in self._observers:
            observer.deliver()
        self.subscriptions.deliver()
        self.meta_subscriptions.deliver()

    # --- merging ------------------------------------------------------------------------

    def merge_batch(self, columns: Columns, batch: bytes) -> Collection[PeerId]:
        """Merge a batch of ops of other peers, given unpacked and as it came.

        Returns the author of each new one, durable on return. Deliveries are queued only: call
        `deliver` afterwards, from a thread that may wait. Raises ActionError for damage,
        RemoteProtocolError, SaveError; nothing has changed then.
        """

        def merged() -> tuple[Idents, Ticket | None]:
            # A batch of plain writes changes no container, so what is noted stays true.
            is_noted = not self._observers and self._shape == self.replica.tree.shape
            quiet: Collection[Hashable] = self.subscriptions.quiet if is_noted else ()
            ids = merge_bulk(self.replica, columns, is_watched=self._is_watched, quiet=quiet)
            ticket = None
            if ids:
                if self.journal.is_kept:
                    ticket = self.journal.add_batch(ids, batch)
                self.changed()
            return ids, ticket

        ids, ticket = self.changing(merged)
        if not ids:
            return [op.author for op in self.merge(decode_columns(columns))]
        self.flush(ticket)
        self._trim_if_due()
        return ids.authors

    def merge_single(self, single: Single, batch: bytes) -> bool:
        """Merge a plain write of another peer if it is new and simple, durable on return.

        As `merge_batch` does. False says that nothing has changed, and that it has to go that way.
        """

        def merged() -> tuple[bool, Ticket | None]:
            if not merge_single(self.replica, single):
                return False, None
            ticket = None
            if self.journal.is_kept:
                ticket = self.journal.add_batch([(single.index, single.author)], batch)
            self.changed()
            return True, ticket

        is_new, ticket = self.changing(merged)
        if not is_new:
            return False
        self.flush(ticket)
        if len(self.replica.log.indexes) >= self.history.check_at:
            self._trim_if_due()
        return True

    def merge(self, ops: Iterable[Op]) -> list[Op]:
        """Merge ops of other peers; return those that are new, durable on return.

        As `merge_batch` does.
        """

        def merged() -> tuple[list[Op], Ticket | None]:
            new = self.replica.merge(ops)
            ticket = self.journal.add(new) if new and self.journal.is_kept else None
            if new:
                self.changed()
            return new, ticket

        new, ticket = self.changing(merged)
        self.flush(ticket)
        if new:
            self._trim_if_due()
        return new

    # --- reading ------------------------------------------------------------------------

    def query(self, path: str, variables: Variables = ()) -> list[JsonValue]:
        """Return copies of what a path selects."""
        query = parse_path(path).bind(variables)
        with self.lock:
            self.check_open()
            if self._late:
                self._late.settle()
            values = query.values(self._replica.document)
            if len(values) == 1 and type(values[0]) is not dict and type(values[0]) is not list:
                return values
            own: list[JsonValue] = thaw(freeze(values))
            return own

    def get(self, steps: tuple[Step, ...], default: Any) -> JsonValue:
        """Return a copy of the value at some keys and indexes, or `default`.

        Raises ActionError for a step that is neither.
        """
        with self.lock:
            if self._is_barred:
                check_steps(steps)
                self.check_open()
            root = self._replica.tree.root.value
            found = pick_late(self._late, root, steps) if self._late else pick(root, steps)
            if type(found) is dict or type(found) is list:
                found = thaw(freeze(found))
        return default if found is NOTHING else found

    def query_meta(self, path: str, variables: Variables = ()) -> list[JsonValue]:
        """Return what a path selects of the metadata."""
        query = parse_path(path).bind(variables)
        with self.lock:
            self.check_open()
            own: list[JsonValue] = thaw(freeze(self.metadata.read(query)))
            return own

    def preview(
        self, actions: list[JsonValue], read: Callable[[dict[str, JsonValue]], JsonValue]
    ) -> JsonValue:
        """Return a copy of what `read` finds in the document as it would be after some actions.

        Nothing is logged. Raises ActionError and FailureError as a dispatch would.
        """

        def look() -> JsonValue:
            replica = self.replica
            start = len(replica.log)
            try:
                try:
                    if actions:
                        message = {"action": "Transaction", "payload": actions}
                        self._compiler.dispatch(message, self._now_ms())
                    return copied(read(replica.document))
                finally:
                    if len(replica.log) > start:
                        replica.take_back(start)
                    replica.applier.mutator.touched.clear()
            except BaseException as error:
                self.torn_by(error, start)
                raise

        return self.changing(look)

    def _read(self, query: Query) -> list[JsonValue]:
        # Somebody listens from now on: the next write has to look whether it concerns them.
        return query.values(self.replica.document)

    def _read_meta(self, query: Query) -> list[JsonValue]:
        self.settle()
        return self.metadata.read(query)

    def subscribe(
        self, path: str, callback: Callable[..., None], variables: Variables, deltas: bool
    ) -> Subscription:
        """Call back with the list now and whenever it changes."""
        query = self._query_for(path, callback, variables)
        return self.subscriptions.subscribe(query, callback, deltas)

    def subscribe_meta(
        self, path: str, callback: Callable[..., None], variables: Variables, deltas: bool
    ) -> Subscription:
        """Call back with the list of metadata now and whenever it changes."""
        query = self._query_for(path, callback, variables)
        return self.meta_subscriptions.subscribe(query, callback, deltas)

    def _query_for(self, path: str, callback: object, variables: Variables) -> Query:
        self.check_open()
        if not callable(callback):
            raise ActionError(f"the callback of a subscription cannot be called: {brief(callback)}")
        return parse_path(path).bind(variables)

    # --- for the layers above -----------------------------------------------------------

    def state_hash(self) -> bytes:
        """Return the state hash: peers that hold the same history have the same one."""
        return self.changing(lambda: self.replica.state_hash())

    def check(self) -> None:
        """Check the document against itself and against its file; slow.

        Raises DatabaseCorruptError that says what does not fit.
        """
        for each in self.check_sections(lambda what, done: None):
            if each.outcome is CheckOutcome.DAMAGED:
                raise self.journal.damaged(each.detail)

    def check_sections(self, progress: Progress) -> list[CheckSection]:
        """Check the same, and return all that was found."""
        return self.changing(lambda: [*check_document(self.replica, self.journal, progress)])
