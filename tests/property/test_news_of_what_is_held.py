"""What live sync looks at is what has changed; here it is held against looking at everything."""

from __future__ import annotations

import random

import pytest

import cytosol
from cytosol.crdt.changes import Changes
from cytosol.database.joins import PeerReplica
from cytosol.document.history import History

APP_ID = "82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80"
MANY = 1 << 20


class Looker:
    """Knows what a history holds from its news, as a connection does."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.held: dict[bytes, int] = {}
        self.mark: object = None
        self.told = 0

    def look(self) -> None:
        """Take the news, and see that nothing else has changed."""
        news = self.history.news(self.mark)
        if news.is_whole:
            self.held.clear()
        self.held.update(news.latest)
        self.mark = news.mark
        self.told = len(news.latest)
        assert self.held == self.history.latest()


def opened() -> cytosol.Database:
    """Return a database that keeps everything."""
    return cytosol.open(None, app_id=APP_ID, network=False, min_history=-1, max_history=-1)


def seam(database: cytosol.Database) -> PeerReplica:
    """Return a database as the sync with a peer sees it."""
    return database._peer_replica(bytes(16))


@pytest.mark.parametrize("seed", range(12))
def test_news_add_up_to_what_is_held(seed: int) -> None:
    """Whatever is written, merged, adopted, lost or written under a fresh id in between."""
    chance = random.Random(seed)
    databases = [opened() for _ in range(4)]
    lookers = [Looker(each._document.history) for each in databases for _ in range(2)]
    for step in range(120):
        database, other = chance.sample(databases, 2)
        document = database._document
        match chance.randrange(12):
            case 0:
                document.history.adopt(other._document.history.snapshot())
            case 1:
                document.history.renew_author()
            case 2 if len(document.replica.log):
                # As if the disk had refused the newest op, whoever has made it.
                document.replica.drop_ops({document.replica.log.key(len(document.replica.log) - 1)})
            case 3 | 4 | 5 | 6:
                database.dispatch(cytosol.Set(f"$.key{chance.randrange(5)}", step))
            case _:
                missing = seam(other).export_missing(document.history.latest(), MANY)
                if missing is not None:
                    seam(database).import_batch(missing[0], bytes(16))
        for looker in lookers:
            if chance.random() < 0.5:
                looker.look()


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_for_those_behind_is_the_batch_of_all_that_is_missing(seed: int) -> None:
    """The same ops, and what they raise is the difference that they make."""
    chance = random.Random(seed)
    databases = [opened() for _ in range(3)]
    for step in range(60):
        database, other = chance.sample(databases, 2)
        database.dispatch(cytosol.Set(f"$.key{chance.randrange(5)}", "x" * chance.randrange(300)))
        history = other._document.history
        held, latest = history.latest(), dict(database._document.history.latest())
        behind = {author for author, index in held.items() if latest.get(author, 0) < index}
        bytes_max = chance.choice([100, 1000, MANY])
        whole = history.export_missing(latest, bytes_max)
        news = history.export_news(latest, behind, bytes_max)
        if whole is None:
            assert news is None
            continue
        assert news is not None
        assert whole == (news[0], {**latest, **news[1]})
        assert all(latest.get(author, 0) < index for author, index in news[1].items())
        if step % 3 == 0:
            seam(database).import_batch(whole[0], bytes(16))


def test_news_of_one_write_are_of_its_author_only() -> None:
    """However many devices have written before."""
    database, source = opened(), opened()
    for number in range(20):
        source.dispatch(cytosol.Set("$.source", number))
        source._document.history.renew_author()
    batch = seam(source).export_missing({}, MANY)
    assert batch is not None
    seam(database).import_batch(batch[0], bytes(16))
    looker = Looker(database._document.history)
    looker.look()
    assert looker.told == 20
    looker.look()
    assert looker.told == 0
    database.dispatch(cytosol.Set("$.ours", 1))
    looker.look()
    assert looker.told == 1


def test_who_was_noted_twice_is_told_once_and_in_the_place_of_the_second_time() -> None:
    """So that looking stops at the first that is known."""
    changes = Changes()
    for author in (b"a", b"b", b"a", b"c"):
        changes.note(author)
    assert [b"c", b"a", b"b"] == changes.since(0)
    assert [b"c", b"a"] == changes.since(2)
    assert [] == changes.since(changes.count)
