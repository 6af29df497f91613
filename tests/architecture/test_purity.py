"""Where clocks, randomness, locks and files may stand."""

import pytest

from tests.architecture import rules


def test_pure_packages_touch_nothing_outside_the_program() -> None:
    """What decides merging depends on its arguments only, so it can be simulated."""
    assert [] == rules.complaints_of(rules.check_purity)


def test_locks_stand_only_where_threads_meet() -> None:
    """Below the document everything belongs to one thread at a time."""
    assert [] == rules.complaints_of(rules.check_locks)


def test_clocks_and_randomness_are_read_at_the_edge() -> None:
    """Time and random bytes are handed down."""
    assert [] == rules.complaints_of(rules.check_clocks)


def test_every_pure_package_has_a_level() -> None:
    """The lists of the rules speak of the same packages."""
    assert set(rules.LEVELS) >= rules.PURE_PACKAGES | rules.DATA_SIDE | rules.NETWORK_SIDE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("crdt.log", "import time"),
        ("crdt.log", "from datetime import datetime"),
        ("model.ids", "def fresh():\n    import secrets"),
        ("wire.framing", "from asyncio import Queue"),
        ("path.parser", "import os.path"),
        ("path.parser", "text = open('paths.txt').read()"),
        ("path.parser", "reader = open"),
        ("path.parser", "print('found')"),
        ("crypto.keys", "from nacl.utils import random"),
        ("crypto.keys", "key = PrivateKey.generate()"),
        ("protocol.peer", "import threading"),
    ],
)
def test_purity_rule_complains(name: str, text: str) -> None:
    """Each way to the outside is found in a pure package."""
    assert rules.check_purity(rules.source_of(name, text))


def test_purity_rule_leaves_impure_packages_alone() -> None:
    """The same lines are fine where files and sockets belong."""
    assert [] == rules.check_purity(rules.source_of("net.udp", "import socket, time"))


@pytest.mark.parametrize("name", ["crdt.replica", "wire.framing", "cli", "inspector.server"])
def test_lock_rule_complains(name: str) -> None:
    """A lock where only one thread may be is found."""
    assert rules.check_locks(rules.source_of(name, "from threading import Lock"))


@pytest.mark.parametrize("name", ["savestates.sqlite", "document.document", "database", "net.tcp"])
def test_lock_rule_allows_the_places_where_threads_meet(name: str) -> None:
    """A lock in one of the listed places is fine."""
    assert [] == rules.check_locks(rules.source_of(name, "import threading"))


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from datetime import UTC, datetime",
        "import random",
        "from uuid import uuid4",
        "import uuid\nname = uuid.uuid4()",
        "import os\nsalt = os.urandom(16)",
    ],
)
def test_clock_rule_complains(text: str) -> None:
    """Reading the time or random bytes in the document or a save state is found."""
    assert rules.check_clocks(rules.source_of("document.journal", text))
    assert rules.check_clocks(rules.source_of("savestates.sqlite", text))
    assert [] == rules.check_clocks(rules.source_of("net.driver", text))


def test_clock_rule_allows_parsing_an_id() -> None:
    """A UUID that was given is not randomness."""
    text = "import uuid\nvalue = uuid.UUID('82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80')"
    assert [] == rules.check_clocks(rules.source_of("model.ids", text))
