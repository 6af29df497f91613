"""What is fuzzed, how inputs are made, and how a finding is replayed.

Inputs come in blocks of BLOCK, each from its own seed, so that one block can be run alone. A
finding is an exception that the target did not declare, or an input that took more than
HANG_CPU_S of processor time.
"""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = [
    "BLOCK",
    "TARGETS",
    "Finding",
    "Target",
    "keep_inputs",
    "kept_inputs",
    "run_block",
    "run_kept",
    "target",
    "watched",
    "written",
]

BLOCK = 500
HANG_CPU_S = 20.0
CORPUS = Path(__file__).parent / "corpus"

Attempt = Callable[[Any], None]


class Finding(AssertionError):
    """Says which input came out wrong, and how to run it again."""


class Hang(BaseException):
    """An input takes too long; not an Exception, so that nothing swallows it."""


@dataclass(frozen=True, slots=True)
class Target:
    """An attempt that lets out only findings, and what makes an input from one of the corpus."""

    attempt: Attempt
    make: Callable[[random.Random, Any], Any]
    corpus: Sequence[Any]


TARGETS: dict[str, Callable[[], Target]] = {}
"""By name; made when needed."""


def target(name: str) -> Callable[[Callable[[], Target]], Callable[[], Target]]:
    """Register a target."""

    def register(make: Callable[[], Target]) -> Callable[[], Target]:
        TARGETS[name] = make
        return make

    return register


@contextmanager
def watched() -> Iterator[None]:
    """Raise Hang if what is done inside takes too much processor time."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGPROF"):
        yield
        return
    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, HANG_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def run_block(name: str, made: Target, seed: int, block: int, count: int = BLOCK) -> int:
    """Try the first inputs of a block and return how many; raises Finding."""
    rng = random.Random(f"{seed}/{name}/{block}")
    corpus, make, attempt = made.corpus, made.make, made.attempt
    data: Any = None
    try:
        with watched():
            for _ in range(count):
                data = make(rng, rng.choice(corpus))
                attempt(data)
    except (Exception, Hang) as error:
        raise Finding(
            f"{name}: {data!r:.2000} gave {error!r}\n"
            f"replay: python -m tests.fuzz.run --target '{name}' --seed {seed} --block {block}"
        ) from error
    return count


def kept_inputs(name: str) -> list[Any]:
    """Return the kept inputs of a target: what was found once, and what is worth trying always."""
    path = _kept_path(name)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_from_json(json.loads(line)) for line in lines]


def keep_inputs(name: str, inputs: Sequence[Any]) -> None:
    """Write the kept inputs of a target."""
    lines = [f"{written(data)}\n" for data in inputs]
    _kept_path(name).write_text("".join(lines), encoding="utf-8")


def written(data: Any) -> str:
    """Return an input as it is kept."""
    return json.dumps(_to_json(data))


def _kept_path(name: str) -> Path:
    """One JSON value a line; see `_to_json` for what JSON does not have."""
    return CORPUS / f"{name.replace(' ', '_')}.jsonl"


def _to_json(value: Any) -> Any:
    match value:
        case bytes():
            return {"$bytes": value.hex()}
        case tuple():
            return {"$tuple": [_to_json(each) for each in value]}
        case list():
            return [_to_json(each) for each in value]
        case dict():
            return {"$dict": [[_to_json(key), _to_json(each)] for key, each in value.items()]}
    assert value is None or isinstance(value, (str, int, float)), type(value)
    return value


def _from_json(value: Any) -> Any:
    match value:
        case {"$bytes": str(digits)}:
            return bytes.fromhex(digits)
        case {"$tuple": list(items)}:
            return tuple(_from_json(each) for each in items)
        case {"$dict": list(items)}:
            return {_from_json(key): _from_json(each) for key, each in items}
        case list():
            return [_from_json(each) for each in value]
    return value


def run_kept(name: str, made: Target) -> int:
    """Try all kept inputs; raises Finding."""
    inputs = kept_inputs(name)
    for data in inputs:
        try:
            with watched():
                made.attempt(data)
        except (Exception, Hang) as error:
            raise Finding(f"{name}: the kept input {data!r:.2000} gave {error!r}") from error
    return len(inputs)
