"""Files of the peers: the bytes that they export, and back to a document that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import peers
from benchmarks.measure import load
from benchmarks.shapes import Writes, nests_of

__all__ = ["FILES"]


def place_of(writes: Writes, shape: int) -> tuple[str, ...]:
    """Return the keys to what is read after loading: the sixth write's place."""
    return (*nests_of(shape)[writes.nests[5]], writes.keys[5])


class LoroFile:
    """Updates: loro's snapshot loads at once, but with the first read the whole took longer."""

    def __init__(self, shape: int) -> None:
        self._shape = shape

    def exporter(self, writes: Writes) -> Callable[[], bytes]:
        """Return what makes the bytes of a document with these writes."""
        loro = load("loro")

        doc, maps = peers.loro_document(self._shape)
        peers.loro_fill(maps, writes)
        doc.commit()
        return lambda: doc.export(loro.ExportMode.Updates(loro.VersionVector()))

    def load(self, data: bytes, writes: Writes) -> tuple[Any, Any]:
        """Return a document of the bytes, and a value in it."""
        loro = load("loro")

        doc = loro.LoroDoc()
        doc.import_(data)
        *nest, key = place_of(writes, self._shape)
        found: Any = doc.get_by_str_path("/".join(nest)).container.get(key)
        return doc, found.value


class PycrdtFile:
    """One update that holds everything."""

    def __init__(self, shape: int) -> None:
        self._shape = shape

    def exporter(self, writes: Writes) -> Callable[[], bytes]:
        """Return what makes the bytes of a document with these writes."""
        doc, maps = peers.pycrdt_document(self._shape)
        with doc.transaction():
            peers.pycrdt_fill(maps, writes)
        update: Callable[[], bytes] = doc.get_update
        return update

    def load(self, data: bytes, writes: Writes) -> tuple[Any, Any]:
        """Return a document of the bytes, and a value in it."""
        pycrdt = load("pycrdt")

        doc: Any = pycrdt.Doc()
        doc.apply_update(data)
        root, *keys = place_of(writes, self._shape)
        level = doc.get(root, type=pycrdt.Map)
        for key in keys:
            level = level[key]
        return doc, level


class AutomergeFile:
    """Its own format, with so many sets in each transaction."""

    def __init__(self, shape: int) -> None:
        self._shape = shape

    def exporter(self, writes: Writes, together: int = 1000) -> Callable[[], bytes]:
        """Return what makes the bytes of a document with these writes."""
        doc, maps = peers.automerge_document(self._shape)
        peers.automerge_put_all(doc, maps, writes, together)
        save: Callable[[], bytes] = doc.save
        return save

    def load(self, data: bytes, writes: Writes) -> tuple[Any, Any]:
        """Return a document of the bytes, and a value in it."""
        core = load("automerge.core")

        doc = core.Document.load(data)
        level: Any = core.ROOT
        *nest, key = place_of(writes, self._shape)
        for step in nest:
            found = doc.get(level, step)
            assert found is not None
            level = found[1]
        return doc, doc.get(level, key)


FILES: dict[str, Any] = {"loro": LoroFile, "pycrdt": PycrdtFile, "automerge": AutomergeFile}
