"""What the durability suites write into: a save state, or a whole database on one.

Both are driven alike: a step is one write, all or nothing, and it is known beforehand what must
be read once it is there.
"""

from __future__ import annotations

import copy
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cytosol
from cytosol.savestates import SaveState
from cytosol.testing.savestate_contract import value_of
from tests.contract.savestate_kinds import make

__all__ = ["APP_ID", "NAME", "SUBJECTS", "Content", "Documents", "Records", "Step", "Subject"]

APP_ID: Final = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
NAME: Final = "notes.cytosol"

Content = Any
"""What is read: records by key, or a document."""

Step = tuple[Any, Content]
"""What to hand to `write`, and what must be read afterwards."""


class Subject(ABC):
    """Something that keeps data in the file `NAME` of a folder."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.path = folder / NAME

    @property
    def keeps_all(self) -> bool:
        """Whether a power cut may lose nothing acknowledged."""
        return not self.kind.endswith("-relaxed")

    @abstractmethod
    def open(self) -> None:
        """Open the file, making it if it is not there."""

    @abstractmethod
    def read(self) -> Content:
        """Return everything."""

    @abstractmethod
    def check(self) -> None:
        """Let it look at itself; raises what it finds."""

    @abstractmethod
    def next_step(self, content: Content, source: random.Random, size: int) -> Step:
        """Return something to write after `content`, with values of about `size` bytes."""

    @abstractmethod
    def write(self, step: Any) -> None:
        """Write it; durable on return."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    @property
    @abstractmethod
    def empty(self) -> Content:
        """What is read where nothing was written yet."""


class Records(Subject):
    """The records of a save state."""

    def __init__(self, kind: str, folder: Path) -> None:
        super().__init__(kind, folder)
        self.state: SaveState = make(kind, self.path)

    @property
    def empty(self) -> Content:
        return {}

    def open(self) -> None:
        self.state = make(self.kind, self.path)
        self.state.open()

    def read(self) -> Content:
        return dict(self.state.scan(""))

    def check(self) -> None:
        self.state.check()

    def next_step(self, content: Content, source: random.Random, size: int) -> Step:
        after = dict(content)
        puts = []
        for _ in range(source.randint(1, 3)):
            key = f"{source.choice('abc')}/{source.randrange(6)}"
            text = f"{source.getrandbits(64):016x}" * source.randint(0, size // 8)
            puts.append((key, value_of(self.state, text)))
        deletes = source.sample(sorted(content), min(len(content), source.choice((0, 0, 1, 2))))
        prefixes = ["c/"] if source.random() < 0.1 else []
        for key in content:
            if key in deletes or (prefixes and key.startswith("c/")):
                del after[key]
        after.update(puts)
        return (puts, deletes, prefixes), after

    def write(self, step: Any) -> None:
        self.state.commit(*step)

    def close(self) -> None:
        self.state.close()


class Documents(Subject):
    """The document of a database, with a short history, so that it is trimmed now and then."""

    def __init__(self, kind: str, folder: Path) -> None:
        super().__init__(kind, folder)
        self.database: cytosol.Database | None = None

    @property
    def empty(self) -> Content:
        return {}

    def open(self) -> None:
        state = make(self.kind, self.path)
        self.database = cytosol.open(
            state, app_id=APP_ID, peer_name="Laptop", network=False, max_history=12
        )

    @property
    def _opened(self) -> cytosol.Database:
        assert self.database is not None, "opened before"
        return self.database

    def read(self) -> Content:
        return self._opened.query_once("$")[0]

    def check(self) -> None:
        self._opened.check()

    def next_step(self, content: Content, source: random.Random, size: int) -> Step:
        after = copy.deepcopy(content)
        actions: list[dict[str, Any]] = []
        for _ in range(source.choice((1, 1, 2, 3))):
            text = f"{source.getrandbits(64):016x}" * source.randint(0, size // 8)
            match source.choice(("set", "append", "delete", "add")):
                case "append" if "list" in after:
                    actions.append({"action": "Set", "path": f"$.list[{len(after['list'])}]"})
                    actions[-1]["payload"] = text
                    after["list"].append(text)
                case "append":
                    actions.append({"action": "Set", "path": "$.list", "payload": [text]})
                    after["list"] = [text]
                case "delete" if after:
                    key = source.choice(sorted(after))
                    actions.append({"action": "Delete", "path": f"$.{key}"})
                    del after[key]
                case "add" if "count" in after:
                    actions.append({"action": "Add", "path": "$.count", "payload": 1})
                    after["count"] += 1
                case "add":
                    actions.append({"action": "Set", "path": "$.count", "payload": 1})
                    after["count"] = 1
                case _:
                    key = source.choice("abcd")
                    actions.append({"action": "Set", "path": f"$.{key}", "payload": text})
                    after[key] = text
        if len(actions) == 1:
            return actions[0], after
        return {"action": "Transaction", "payload": actions}, after

    def write(self, step: Any) -> None:
        self._opened.dispatch(step)

    def close(self) -> None:
        database, self.database = self.database, None
        if database is not None:
            database.close()


SUBJECTS: Final[dict[str, Callable[[str, Path], Subject]]] = {
    "records": Records,
    "documents": Documents,
}
