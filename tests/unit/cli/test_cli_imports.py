"""JSON files come into a document whole, whatever their keys and sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cytosol
from cytosol.cli import imports
from cytosol.cli.exits import CommandError
from cytosol.cli.sample import sample_catalogue
from cytosol.model.json import canonical_bytes, count_places, equal_json

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["'", '"', "\\", "\n", "a b", "$", "", "\x7f", "é", "]"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | KEYS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)


def imported(path: str, value: Any) -> tuple[Any, int]:
    """Return the document after an import, and how many Transactions it took."""
    with cytosol.open(None, app_id=APP_ID, network=False) as database:
        count = 0
        for actions, _ in imports.batches(path, value):
            database.dispatch(cytosol.Transaction(actions))
            count += 1
        return database.query_once("$")[0], count


@given(VALUES, st.integers(0, 40), st.integers(1, 200))
def test_an_import_gives_the_value(value: Any, part_bytes: int, batch_bytes: int) -> None:
    """However it is cut into parts and Transactions, the value is what was in the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "PART_BYTES", part_bytes)
        patch.setattr(imports, "BATCH_BYTES", batch_bytes)
        document, _ = imported("$.here", value)
    assert equal_json({"here": value}, document)


def test_an_object_can_become_the_root() -> None:
    """Its members are put beside what is there already."""
    document, _ = imported("$", {"a": 1, "b c": [1, 2]})
    assert {"a": 1, "b c": [1, 2]} == document


@pytest.mark.parametrize("value", [1, [1], "a", None])
def test_only_an_object_can_become_the_root(value: Any) -> None:
    """The sentence says what to do with anything else."""
    with pytest.raises(CommandError, match=r"give a path such as \$\.data"):
        imported("$", value)


def test_a_large_file_takes_several_transactions_and_adds_up() -> None:
    """The sizes of the batches sum to nearly that of the file, for the progress bar."""
    value = {"rows": [{"number": number, "text": "x" * 100} for number in range(6_000)]}
    sizes = [size for _, size in imports.batches("$", value)]
    assert len(sizes) > 2
    assert 0.9 < sum(sizes) / len(canonical_bytes(value)) <= 1.0


def test_importing_again_replaces_what_was_there(tmp_path: Path) -> None:
    """Rows that a new version of the file has not are gone."""
    with cytosol.open(None, app_id=APP_ID, network=False) as database:
        for rows in (2_000, 1_000):
            for actions, _ in imports.batches("$.rows", list(range(rows))):
                database.dispatch(cytosol.Transaction(actions))
        assert [list(range(1_000))] == database.query_once("$.rows")


def test_a_file_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    """Windows programs like to write one."""
    file = tmp_path / "data.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": "é"}).encode())
    assert {"a": "é"} == imports.read_json_file(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b'{"a": [{"b": 1, "b": 2}]}', 'names the member "b" twice; keep one'),
        (b"\xff", "no UTF-8 text"),
        (b"[1e999]", "numbers must be finite"),
        (b"99999999999999999999", "outside"),
        (b'"\\ud800"', "lone surrogate"),
        (b"[" * 200 + b"]" * 200, "nested deeper"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """What cannot be stored is found before anything is changed."""
    file = tmp_path / "data.json"
    file.write_bytes(content)
    with pytest.raises((CommandError, cytosol.ActionError), match=words):
        imports.read_json_file(file)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    """A missing file and a folder are told in a sentence."""
    with pytest.raises(CommandError, match=r"there is no file|cannot be read"):
        imports.read_json_file(tmp_path / name)


def test_the_sample_is_large_and_always_the_same() -> None:
    """The demo promises at least 5,000 values."""
    assert count_places(sample_catalogue()) >= 5_000
    assert canonical_bytes(sample_catalogue()) == canonical_bytes(sample_catalogue())
