"""Records sealed with a key, in any other save state: at rest nobody reads them without it.

The save state inside holds these records, and none of them tells a name or a value:

* `sealed/head`: how to get the data key (see `sealkeys`), not encrypted. Without it everything
  would be lost, so `sealed/spare` is a copy of it, which stands in another place of the file.
* `sealed/r/HASH`: a record. HASH is a keyed hash of its name. Name and value are encrypted
  together and padded, with the HASH authenticated, so that records cannot change places.
* `sealed/whole`: a count of commits, and a keyed sum over all records, written anew in each
  commit. So a record that was removed, or put back as it was earlier, is noticed when opening.

What stays visible: that it is sealed, how many records there are and when each was rewritten, and
roughly how long they are. What cannot be noticed: the whole file put back as it was earlier.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NoReturn

from cytosol.errors import (
    ActionError,
    DatabaseCorruptError,
    DatabaseError,
    SaveError,
    SealError,
)
from cytosol.limits import SEAL_HEAD_BYTES_MAX
from cytosol.savestates.base import Batch, SaveState, Value, closed_error, make_batch
from cytosol.savestates.conversion import remove_half_converted
from cytosol.savestates.groupcommit import CommitQueue
from cytosol.savestates.memory import InMemorySaveState
from cytosol.savestates.remains import Remains
from cytosol.savestates.sealkeys import (
    KEY_BYTES,
    NONCE_BYTES,
    SALT_BYTES,
    DataKeys,
    HeadError,
    SealCost,
    Secret,
    decrypt,
    encrypt,
    make_head,
    open_head,
)

__all__ = ["HEAD", "SealedRecords", "check_unsealed", "is_sealed", "open_remains"]

HEAD: Final = "sealed/head"
_SPARE: Final = "sealed/spare"
_WHOLE: Final = "sealed/whole"
_RECORD: Final = "sealed/r/"
_PREFIX: Final = "sealed/"
_SUM: Final = 1 << 256
_WHOLE_FORM: Final = struct.Struct(">QQ32s")
_RECORD_FORM: Final = struct.Struct(">IQ")
_PAD_MIN: Final = 256
_POWERS_TO: Final = 4_096


def is_sealed(state: SaveState) -> bool:
    """Tell whether an open save state holds sealed records."""
    return next(iter(state.scan(_PREFIX)), None) is not None


def check_unsealed(state: SaveState) -> None:
    """Raise SealError if an open save state holds sealed records that it cannot read."""
    if is_sealed(state):
        raise SealError(
            f"{_name(state)} is sealed: open it with its passphrase or key, as "
            "SealedSaveState(..., passphrase=...), or cytosol --passphrase-file; nothing was opened"
        )


def _name(state: SaveState) -> str:
    return "the save state" if state.path is None else f"'{state.path}'"


@dataclass(slots=True)
class _Opened:
    """What is known of an open file: each record's name and share of the sum."""

    keys: DataKeys
    shares: dict[str, int]
    total: int
    commits: int


class SealedRecords(SaveState):
    """Keep records in the save state `inner`, encrypted with a key that `secret` unlocks.

    `random_bytes` is the system's generator; `cost` holds for a head that is made here. `secret`
    is asked for at each opening, with whether the file is new.
    """

    def __init__(
        self,
        inner: SaveState,
        secret: Callable[[bool], Secret],
        random_bytes: Callable[[int], bytes],
        cost: SealCost | None = None,
    ) -> None:
        if not isinstance(inner, SaveState) or isinstance(inner, SealedRecords):
            raise ActionError(
                "what is sealed is a save state that is not sealed itself, such as "
                f"SqliteSaveState(path), not {type(inner).__name__}"
            )
        self._inner = inner
        self._secret = secret
        self._random = random_bytes
        self._cost = cost or SealCost()
        self.path = inner.path
        self.text = inner.text
        self.is_one_file = inner.is_one_file
        self._lock = threading.RLock()
        self._open: _Opened | None = None
        self._is_broken = False
        self._queue = CommitQueue(self._write)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path or 'in memory'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sealed save state is not copied or pickled: it knows a secret")

    @property
    def inner(self) -> SaveState:
        """The save state that holds the sealed records."""
        return self._inner

    @property
    def transactions(self) -> int:
        """Return how many commits reached the save state inside."""
        return self._queue.transactions

    # --- opening ------------------------------------------------------------------------

    def open(self) -> None:
        """Become the owner, unlock, and check that all records are there as they were written.

        What an unsealing that a crash cut short has left in the clear is removed then. Raises
        SealError for a wrong passphrase or key and for a file that is not sealed, and what the save
        state inside raises.
        """
        self._inner.open()
        try:
            opened = self._unlock()
        except BaseException:
            self._inner.close()
            raise
        if self.is_one_file and self.path is not None:
            remove_half_converted(self.path)
        with self._lock:
            self._is_broken = False
            self._open = opened

    def _unlock(self) -> _Opened:
        head = self._inner.get(HEAD)
        if head is None:
            first = next(iter(self._inner.scan("")), None)
            if first is None:
                return self._begin()
            if first[0].startswith(_PREFIX):
                raise self._damaged("its head is missing")
            raise SealError(
                f"{_name(self)} is not sealed, so that it has no passphrase or key; leave it out, "
                "or seal the file first with `cytosol seal` or cytosol.seal; nothing was opened"
            )
        keys = DataKeys(self._unwrap(head))
        return self._read_all(keys)

    def _begin(self) -> _Opened:
        """Make the head of a new file."""
        secret = self._secret(True)
        opened = _Opened(DataKeys(self._random(KEY_BYTES)), {}, 0, 0)
        head = self._make_head(secret, opened.keys.data)
        whole = self._whole_record(opened.keys, 0, 0, 0)
        self._inner.commit([(HEAD, head), (_SPARE, head), whole])
        return opened

    def _make_head(self, secret: Secret, data_key: bytes) -> Any:
        salt, nonce = self._random(SALT_BYTES), self._random(NONCE_BYTES)
        head = make_head(secret, self._cost, data_key, salt, nonce)
        return head if self._inner.text else json.dumps(head).encode()

    def _unwrap(self, head: Any) -> bytes:
        try:
            if not self._inner.text:
                if len(head) > SEAL_HEAD_BYTES_MAX:
                    raise HeadError("it is too long")
                head = json.loads(head)
            return open_head(head, self._secret(False), _name(self))
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"its head cannot be read: {error}") from None

    def _read_all(self, keys: DataKeys) -> _Opened:
        """Decrypt every record, and compare all of them with the sum."""
        whole: bytes | None = None
        is_spare_good = False
        shares: dict[str, int] = {}
        for slot, value in self._inner.scan(""):
            if slot == HEAD:
                continue
            if slot == _SPARE:
                is_spare_good = value == self._inner.get(HEAD)
                continue
            if slot == _WHOLE:
                whole = self._decrypt(slot, value, keys)
            elif slot.startswith(_RECORD):
                sealed = self._bytes(slot, value)
                name, _ = self._parse(slot, sealed, keys)
                shares[name] = _share(slot, sealed, keys)
            else:
                raise self._damaged(f"the record {slot!r:.60} is not sealed")
        if whole is None or len(whole) != _WHOLE_FORM.size:
            raise self._damaged("the record that counts the others is missing")
        if not is_spare_good:
            raise self._damaged("the copy of its head is missing, or is another one")
        commits, count, total = _WHOLE_FORM.unpack(whole)
        opened = _Opened(keys, shares, sum(shares.values()) % _SUM, commits)
        if (count, int.from_bytes(total, "big")) != (len(shares), opened.total):
            raise self._damaged("records were removed, or put back as they were earlier")
        return opened

    # --- reading ------------------------------------------------------------------------

    def get(self, key: str) -> Value | None:
        """Return the value under `key`, None if there is no such record."""
        plain = self._plain(key)
        return None if plain is None else self._decoded(plain)

    def scan(self, prefix: str) -> Iterator[tuple[str, Value]]:
        """Yield the records whose keys begin with `prefix`, in code point order."""
        with self._lock:
            names = sorted(name for name in self._opened().shares if name.startswith(prefix))
        return self._each(names)

    def _each(self, names: Iterable[str]) -> Iterator[tuple[str, Value]]:
        for name in names:
            plain = self._plain(name)
            if plain is not None:
                yield name, self._decoded(plain)

    def _plain(self, name: str) -> bytes | None:
        opened = self._opened()
        if name not in opened.shares:
            return None
        slot = _slot(name, opened.keys)
        value = self._inner.get(slot)
        if value is None:
            return None
        return self._parse(slot, self._bytes(slot, value), opened.keys)[1]

    def _decoded(self, plain: bytes) -> Value:
        return json.loads(plain) if self.text else plain

    def check(self) -> None:
        """Check the save state inside, then decrypt every record and compare the sum."""
        with self._lock:
            opened = self._opened()
            self._inner.check()
            read = self._read_all(opened.keys)
            if (read.commits, read.shares) != (opened.commits, opened.shares):
                raise self._damaged("records are not those that were written")

    def size_bytes(self) -> int:
        """Return the bytes of the save state inside."""
        self._opened()
        return self._inner.size_bytes()

    # --- writing ------------------------------------------------------------------------

    def commit(
        self,
        puts: Iterable[tuple[str, Value]] = (),
        deletes: Iterable[str] = (),
        delete_prefixes: Iterable[str] = (),
    ) -> None:
        """Change records as one batch. Raises TypeError or ValueError for what cannot be saved."""
        batch = make_batch(puts, deletes, delete_prefixes, text=self.text)
        if self.text:
            batch.puts = [(key, _encoded(value)) for key, value in batch.puts]
        self._queue.commit(batch)

    def _write(self, group: list[Batch]) -> None:
        """Write a group as one commit of the save state inside."""
        with self._lock:
            opened = self._opened()
            if self._is_broken:
                raise SaveError(
                    f"{_name(self)} takes no changes any more, because saving was interrupted: "
                    "reopen the database"
                )
            shares, total, count = opened.shares, opened.total, len(opened.shares)
            puts: list[tuple[str, Any]] = []
            deletes: list[str] = []
            new_shares: dict[str, int | None] = {}
            for name, value in _changes(group, shares).items():
                slot = _slot(name, opened.keys)
                old, share = shares.get(name), None
                if value is None:
                    deletes.append(slot)
                else:
                    nonce = self._random(NONCE_BYTES)
                    sealed = encrypt(_pad(name, value), slot.encode(), nonce, opened.keys.records)
                    share = _share(slot, sealed, opened.keys)
                    puts.append((slot, self._value(sealed)))
                total += (share or 0) - (old or 0)
                count += (share is not None) - (old is not None)
                new_shares[name] = share
            total %= _SUM
            puts.append(self._whole_record(opened.keys, opened.commits + 1, count, total))
            try:
                self._inner.commit(puts, deletes)
                for name, share in new_shares.items():
                    if share is None:
                        shares.pop(name, None)
                    else:
                        shares[name] = share
                opened.total, opened.commits = total, opened.commits + 1
            except DatabaseError:
                raise
            except BaseException:  # Ctrl-C: nobody knows which sum is in the file
                self._is_broken = True
                raise

    def change_secret(self, secret: Secret, cost: SealCost | None = None) -> None:
        """Lock the data key with another secret from now on; the records stay as they are.

        Who has the old secret and a copy of the old file can read all records with them, also
        later ones: only sealing anew with another data key ends that. Raises SaveError.
        """
        with self._lock:
            opened = self._opened()
            self._cost = cost or self._cost
            head = self._make_head(secret, opened.keys.data)
            self._inner.commit([(HEAD, head), (_SPARE, head)])
            self._secret = lambda is_new: secret

    def close(self) -> None:
        """Forget the keys of the file and give it free."""
        with self._lock:
            self._open = None
        self._inner.close()

    # --- one record -----------------------------------------------------------------------

    def _opened(self) -> _Opened:
        opened = self._open
        if opened is None:
            raise closed_error(_name(self))
        return opened

    def _whole_record(
        self, keys: DataKeys, commits: int, count: int, total: int
    ) -> tuple[str, Any]:
        plain = _WHOLE_FORM.pack(commits, count, total.to_bytes(32, "big"))
        nonce = self._random(NONCE_BYTES)
        return _WHOLE, self._value(encrypt(plain, _WHOLE.encode(), nonce, keys.records))

    def _value(self, sealed: bytes) -> Any:
        return base64.b64encode(sealed).decode("ascii") if self._inner.text else sealed

    def _bytes(self, slot: str, value: Any) -> bytes:
        if not self._inner.text:
            return bytes(value)
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise self._damaged(f"the record {slot!r:.60} is not sealed") from None

    def _decrypt(self, slot: str, value: Any, keys: DataKeys) -> bytes:
        return self._open_bytes(slot, self._bytes(slot, value), keys)

    def _open_bytes(self, slot: str, sealed: bytes, keys: DataKeys) -> bytes:
        try:
            return decrypt(sealed, slot.encode(), keys.records)
        except ValueError as error:
            raise self._damaged(f"the record {slot!r:.60} cannot be decrypted: {error}") from None

    def _parse(self, slot: str, sealed: bytes, keys: DataKeys) -> tuple[str, bytes]:
        """Return name and value of a record."""
        plain = self._open_bytes(slot, sealed, keys)
        name_length, length = _RECORD_FORM.unpack_from(plain)
        start = _RECORD_FORM.size + name_length
        name = plain[_RECORD_FORM.size : start].decode("ascii")
        return name, plain[start : start + length]

    def _damaged(self, detail: str) -> DatabaseCorruptError:
        return DatabaseCorruptError(
            f"{_name(self)} is damaged, or somebody changed it ({detail}); it was not repaired: "
            "copy the file to a safe place, then restore a backup, or start with a new file and "
            "sync from another device; `cytosol check --salvage` writes what can still be read"
        )


def _encoded(value: Value) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _slot(name: str, keys: DataKeys) -> str:
    return _RECORD + blake2b(name.encode(), key=keys.names, digest_size=16).hexdigest()


def _share(slot: str, sealed: bytes, keys: DataKeys) -> int:
    """Return what a record adds to the sum; nobody without the key can tell it."""
    short = slot.encode() + sealed[:NONCE_BYTES] + sealed[-16:]  # the tag stands for the rest
    return int.from_bytes(blake2b(short, key=keys.whole, digest_size=32).digest(), "big")


def _changes(group: Iterable[Batch], names: Collection[str]) -> dict[str, bytes | None]:
    """Return what becomes of each record that a group of batches changes, None if it goes."""
    changes: dict[str, bytes | None] = {}
    for batch in group:
        for prefix in batch.delete_prefixes:
            for name in [*names, *changes]:
                if name.startswith(prefix):
                    changes[name] = None
        for name in batch.deletes:
            if name in names or name in changes:
                changes[name] = None
        changes.update(batch.puts)
    return changes


def _pad(name: str, value: bytes) -> bytes:
    """Return name and value with zeros up to a size that many others have, too."""
    plain = _RECORD_FORM.pack(len(name), len(value)) + name.encode("ascii") + value
    return plain.ljust(padded_size(len(plain)), b"\0")


def padded_size(size: int) -> int:
    """Return the size that one is padded to: powers of two up to 4 KiB, then Padmé.

    Padmé (Nikitin and others 2019, "Reducing Metadata Leakage from Encrypted Files") keeps as
    many high bits as the length of the length has, and so adds 12 % at most.
    """
    if size <= _POWERS_TO:
        return max(_PAD_MIN, 1 << (size - 1).bit_length())
    exponent = size.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    return (size + (1 << low_bits) - 1) >> low_bits << low_bits


def open_remains(remains: Remains, ask: Callable[[bool], Secret], name: str) -> Remains:
    """Decrypt what can still be read of a damaged sealed file.

    Raises SealError for a wrong secret, DatabaseCorruptError if the head is gone: nobody can get
    the data key out of anything else.
    """
    opened = Remains(remains.text, {}, list(remains.problems))
    inner = InMemorySaveState()
    inner.text = remains.text
    state = SealedRecords(inner, ask, lambda size: bytes(size))
    heads = [remains.records[key] for key in (HEAD, _SPARE) if key in remains.records]
    if not heads:
        raise DatabaseCorruptError(
            f"the head of {name} cannot be read, and without it nobody can decrypt the file: "
            "restore a backup, or sync a new file from another device"
        )
    keys = DataKeys(_any_data_key(state, heads))
    for slot, value in remains.records.items():
        if not slot.startswith(_RECORD):
            continue
        try:
            record, plain = state._parse(slot, state._bytes(slot, value), keys)
            opened.records[record] = json.loads(plain) if remains.text else plain
        except DatabaseCorruptError:
            opened.problems.append(f"the record {slot} cannot be decrypted")
    return opened


def _any_data_key(state: SealedRecords, heads: list[Any]) -> bytes:
    """Return the data key of the first head that is whole."""
    for head in heads[:-1]:
        with suppress(DatabaseCorruptError):
            return state._unwrap(head)
    return state._unwrap(heads[-1])
