"""Text on the terminal is safe, whoever wrote it."""

from __future__ import annotations

import io
import json
import os
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.cli.exits import CommandError
from cytosol.cli.screen import JsonScreen
from cytosol.cli.text import count_of, json_text, parse_json, printable, size_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


@given(st.recursive(TEXTS | st.integers() | st.none(), st.lists))
def test_json_text_means_the_value(value: object) -> None:
    """Escapes change how a string looks and not what it is."""
    assert value == json.loads(json_text(value))


@pytest.mark.parametrize("code", CONTROLS)
def test_no_control_character_reaches_the_terminal(code: int) -> None:
    """Names and values come from other devices, and a terminal obeys control characters."""
    character = chr(code)
    assert character not in json_text({"name": f"a{character}b"})
    assert f"a\\u{code:04x}b" == printable(f"a{character}b")


def test_printable_leaves_ordinary_names_alone() -> None:
    """Letters of all scripts, and emoji, are shown."""
    assert "Zoë’s Telefon 電話 📱" == printable("Zoë’s Telefon 電話 📱")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the value is not JSON"),
        ("hello", 'write a string with double quotes: "like this"'),
        ("{1: 2}", "line 1, column 2"),
        ("Infinity", "Infinity is no JSON number"),
        ("[" * 100_000, "the value is not JSON"),
    ],
)
def test_what_is_not_json_is_told_in_one_sentence(text: str, words: str) -> None:
    """The sentence says where reading ended, or what to write instead."""
    with pytest.raises(CommandError) as caught:
        parse_json(text, "the value")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ('{"a": 1, "b": 2, "a": 1}', '"a"'),
        ('[{"x": {"b": 1, "a": [], "\\u0061": 2}}]', '"a"'),
        ('{"": 1, "": 2}', '""'),
        ('{"\\u202e": 1, "\\u202e": 2}', '"\\u202e"'),
        (json.dumps({"x" * 9_999: 1})[:-1] + ", " + json.dumps({"x" * 9_999: 1})[1:], '"xxxx'),
    ],
)
def test_a_member_that_stands_twice_is_named(text: str, member: str) -> None:
    """Readers take the first or the last one; nobody can mean both."""
    with pytest.raises(CommandError) as caught:
        parse_json(text, "the action")
    assert f"an object in the action names the member {member}" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_counts_and_sizes_are_for_people() -> None:
    """One is no plural, and large numbers have commas."""
    assert ["1 op", "0 ops", "12,345 ops"] == [count_of(n, "op") for n in (1, 0, 12_345)]
    sizes = [size_text(n) for n in (0, 999, 1_024, 1_000_000, 5 * 2**20)]
    assert ["0 B", "999 B", "1.0 KiB", "976.6 KiB", "5.0 MiB"] == sizes


def test_lines_of_two_threads_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are longer than a pipe holds, under `PYTHONUNBUFFERED`."""
    reading, writing = os.pipe()
    stdout = io.TextIOWrapper(io.FileIO(writing, "w"), "utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", stdout)
    screen, long, is_over = JsonScreen(), "x" * 300_000, threading.Event()

    def tell() -> None:
        while not is_over.is_set():
            screen.event("changed", "", {})
        stdout.close()

    def answer() -> None:
        for _ in range(30):
            screen.answer([], long)
        is_over.set()

    threads = [threading.Thread(target=work) for work in (tell, answer)]
    for thread in threads:
        thread.start()
    with open(reading, encoding="utf-8") as pipe:
        lines = [json.loads(line) for line in pipe]
    for thread in threads:
        thread.join()
    assert 30 == lines.count({"reply": long})
    assert len(lines) - 30 == lines.count({"event": "changed"}) > 0
