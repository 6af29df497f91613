"""A sample to play with: the catalogue of a small library, the same on every machine."""

from __future__ import annotations

import random

from cytosol.model.json import JsonValue

__all__ = ["BOOKS", "sample_catalogue"]

BOOKS = 520
SEED = 1887  # any number: it fixes which books there are

_ADJECTIVES = ("Quiet", "Crooked", "Salt", "Borrowed", "Northern", "Glass", "Winter", "Paper")
_NOUNS = ("Harbour", "Orchard", "Ledger", "Bridge", "Lantern", "Archive", "River", "Garden")
_GIVEN = ("Ada", "Björn", "Chiara", "Dmitri", "Élise", "Farid", "Greta", "Hiroshi", "Lộc")
_FAMILY = ("Okafor", "Lindqvist", "Moreau", "Tanaka", "Novák", "Haddad", "Silva", "O’Brien")
_SUBJECTS = ("history", "travel", "poetry", "botany", "mystery", "music", "science", "maps")
_BRANCHES = ("Harbour Street", "Old Mill", "University", "Mobile library")


def sample_catalogue(books: int = BOOKS) -> JsonValue:
    """Return a catalogue with about twelve values a book; the same seed gives the same books."""
    # A fixed seed and nothing secret: two runs of the demo must import the same file.
    chance = random.Random(SEED)
    return {
        "name": "Harbour Street Library",
        "branches": list(_BRANCHES),
        "openingHours": {day: ["09:00", "18:30"] for day in ("Mon", "Tue", "Wed", "Thu", "Fri")},
        "books": [_book(chance, number) for number in range(1, books + 1)],
    }


def _book(chance: random.Random, number: int) -> JsonValue:
    return {
        "id": f"B{number:05d}",
        "title": f"The {chance.choice(_ADJECTIVES)} {chance.choice(_NOUNS)}",
        "author": {"given": chance.choice(_GIVEN), "family": chance.choice(_FAMILY)},
        "year": chance.randint(1850, 2024),
        "subjects": chance.sample(_SUBJECTS, chance.randint(1, 3)),
        "copies": chance.randint(1, 6),
        "price": round(chance.uniform(4, 60), 2),
        "lent": chance.random() < 0.3,
        "branch": chance.choice(_BRANCHES),
        "returnedLate": chance.choice([None, chance.randint(1, 40)]),
    }
