"""A base that went through bytes leads the same names to the same places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cytosol.crdt.actions import Copy, DataAction, Move, Set
from cytosol.crdt.compile import Compiler
from cytosol.crdt.replica import Replica
from cytosol.crdt.snapshot import BASE_BYTES_MAX, Notes, export_base, load_base
from cytosol.errors import ActionError
from cytosol.limits import DEPTH_MAX
from cytosol.model.op import Body, Kind, Name, Op
from cytosol.model.packed import pack, unpack

US, THEM = b"u" * 16, b"t" * 16


def base_of(*actions: DataAction) -> bytes:
    """Return the base that some actions make."""
    replica = Replica(US)
    compiler = Compiler(replica)
    for action in actions:
        compiler.dispatch(action, 1)
    notes = Notes()
    notes.contents.advance(replica, len(actions))
    replica.trim_to(len(actions))
    return export_base(replica, notes)


def test_elements_that_were_moved_into_an_array_keep_their_names() -> None:
    """Each has a position that is called otherwise."""
    base = base_of(
        Set("$.l", [0]), Set("$.a", 1), Set("$.b", {}), Move("$.l[1]", "$.a"), Move("$.l[2]", "$.b")
    )
    replica, _ = load_base(base, THEM, 100)
    replica.check_invariants()
    assert {"l": [0, 1, {}]} == replica.document
    replica.merge(
        [
            Op(6, THEM, 0, 0, Body(Kind.SET, Name(US, 3), "x", payload=5)),
            Op(7, THEM, 6, 0, Body(Kind.DELETE, Name(US, 2))),
        ]
    )
    assert ({"l": [0, {"x": 5}]}, {}) == (replica.document, replica.failures)


def test_a_document_as_deep_as_documents_may_be_comes_back() -> None:
    """The root counts as one level, in a base as in the fold."""
    deep: Any = 0
    for _ in range(DEPTH_MAX - 1):
        deep = [deep]
    replica, _ = load_base(base_of(Set("$.deep", deep)), THEM, 1_000)
    assert {"deep": deep} == replica.document


def test_a_base_knows_what_it_holds_again() -> None:
    """The origins of re-issued ops, so that nobody can issue them once more."""
    replica = Replica(US)
    lost = Name(b"l" * 16, 2)
    again = Op(3, US, 0, 0, Body(Kind.SET, key="a", payload={"x": 1}), (), lost)
    replica.merge([again])
    notes = Notes()
    notes.contents.advance(replica, 1)
    replica.trim_to(1)
    loaded, _ = load_base(export_base(replica, notes), THEM, 100)
    loaded.merge([again._replace(index=4, author=THEM, body=again.body._replace(payload=0))])
    loaded.merge([Op(5, THEM, 4, 0, Body(Kind.ADD, lost._replace(offset=1), payload=1))])
    assert ({"a": {"x": 2}}, {}) == (loaded.document, loaded.failures)


def one_name_more(columns: list[Any]) -> None:
    """Add a name for a place that the document does not have."""
    for column in columns[2:5]:
        column.append(0)


def one_name_less(columns: list[Any]) -> None:
    """Take the name of the last place away."""
    for column in columns[2:5]:
        column.pop()


@pytest.mark.parametrize("damage", [one_name_more, one_name_less])
def test_a_base_has_a_name_for_each_place_and_no_other(damage: Callable[[list[Any]], None]) -> None:
    """Else it is damaged, and says so."""
    base = base_of(Set("$.a", {"x": [1, 2]}), Copy("$.b", "$.a"))
    columns = msgspec.msgpack.decode(unpack(base[1:], BASE_BYTES_MAX), strict=False)
    damage(columns)
    with pytest.raises(ActionError, match=r"a snapshot is damaged: its? .*names"):
        load_base(base[:1] + pack(msgspec.msgpack.encode(columns)), THEM, 100)


@pytest.mark.parametrize(
    ("column", "at", "value", "complaint"),
    [(4, 2, 0, "two places have one name"), (3, 0, 2, "younger than the base")],
)
def test_names_that_no_base_can_hold_are_refused(
    column: int, at: int, value: int, complaint: str
) -> None:
    """Two places with one name, and a place that was made after the base."""
    base = base_of(Set("$.l", [1, 2]))
    parts: Any = msgspec.msgpack.decode(unpack(base[1:], BASE_BYTES_MAX), strict=False)
    parts[column][at] = value
    with pytest.raises(ActionError, match=complaint):
        load_base(base[:1] + pack(msgspec.msgpack.encode(parts)), THEM, 100)


def test_names_without_places_are_refused_by_their_number() -> None:
    """Before lists of millions are built, to which a few kilobytes can unpack."""
    base = base_of(Set("$.a", 1))
    parts: Any = msgspec.msgpack.decode(unpack(base[1:], BASE_BYTES_MAX), strict=False)
    parts[2:5] = [[0] * 100] * 3
    with pytest.raises(ActionError, match="names do not fit its document"):
        load_base(base[:1] + pack(msgspec.msgpack.encode(parts)), THEM, 100)


def failure(**ident: Any) -> dict[str, Any]:
    return {"id": {"author": "11111111-1111-4111-8111-111111111111", "index": 1, **ident}}


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        (7, (2**52, US), "a number is out of range"),
        (7, (0, US), "a number is out of range"),
        (9, 0, "a number is out of range"),
        (9, 2, "a number is out of range"),
        (10, [], "a number is out of range"),
        (10, [(US, 2)], "summary is out of range"),
        (11, [(US, [(THEM, 2)])], "has seen is out of range"),
        (11, [(US, [(THEM, -1)])], "has seen is out of range"),
        (11, [(US, [(b"t", 1)])], "not 16 bytes"),
        (11, [(b"u", [])], "not 16 bytes"),
        (15, [7], "a failure does not name its op"),
        (15, [{}], "a failure does not name its op"),
        (15, [{"id": [1]}], "a failure does not name its op"),
        (15, [failure(), failure(index=0)], "a failure does not name its op"),
        (15, [failure(index=True)], "a failure does not name its op"),
        (15, [failure(index="1")], "a failure does not name its op"),
        (15, [failure(author="me")], "a failure does not name its op"),
        (15, [failure(author=None)], "a failure does not name its op"),
        (15, [failure(author=[1])], "a failure does not name its op"),
        (2, [0] * 70_000, "names do not fit"),
        (10, [(US, 1)] * 70_000, "too many authors"),
        (11, [(US, [])] * 70_000, "too many authors"),
        (13, [(US, b"")] * 70_000, "too many authors"),
        (15, [0] * 10_001, "too many failures"),
    ],
)
def test_what_goes_with_a_base_is_not_trusted(column: int, value: Any, complaint: str) -> None:
    """A paired device may send anything; what was taken over would last in every base after it."""
    base = base_of(Set("$.a", 1))
    parts: Any = msgspec.msgpack.decode(unpack(base[1:], BASE_BYTES_MAX), strict=False)
    parts[column] = value
    with pytest.raises(ActionError, match=f"a snapshot is damaged: .*{complaint}"):
        load_base(base[:1] + pack(msgspec.msgpack.encode(parts)), THEM, 100)


def test_failures_that_name_their_ops_come_with_a_base() -> None:
    """Whatever else stands in them."""
    base = base_of(Set("$.a", 1))
    parts: Any = msgspec.msgpack.decode(unpack(base[1:], BASE_BYTES_MAX), strict=False)
    parts[11], parts[15] = [(US, [(THEM, 1)])], [failure() | {"payload": 1}]
    _, notes = load_base(base[:1] + pack(msgspec.msgpack.encode(parts)), THEM, 100)
    assert parts[15] == notes.failures


def test_text_in_a_base_that_is_no_unicode_is_refused() -> None:
    """The library says so with an exception of Python's own."""
    plain = unpack(base_of(Set("$.abc", "def"))[1:], 10_000).replace(b"abc", b"\xf4Y\x8e")
    with pytest.raises(ActionError, match="cannot be unpacked"):
        load_base(b"\x01" + pack(plain), THEM, 100)


def test_a_base_without_a_digest_of_an_author_is_refused() -> None:
    """Its summaries would be refused by every other device: none could talk with this one."""
    replica = Replica(US)
    Compiler(replica).dispatch(Set("$.a", 1), 1)
    replica.trim_to(1)
    with pytest.raises(ActionError, match="an author has no digest"):
        load_base(export_base(replica, Notes()), THEM, 100)
