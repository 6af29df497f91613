"""What a check has found, as sections that a person can read and a program can, too."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import Enum

from cytosol.model.json import JsonValue

__all__ = ["CheckOutcome", "CheckReport", "CheckSection", "number_of"]

_NAME_WIDTH = 14
_LINE_WIDTH = 100


def number_of(count: int, noun: str) -> str:
    """Return a count with its noun: `1 op`, `2,000 ops`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class CheckOutcome(Enum):
    """How a section of a check came out."""

    FINE = "fine"
    NOTE = "note"  # worth knowing, and nothing is lost
    DAMAGED = "damaged"
    NOT_CHECKED = "not checked"  # because something before it is damaged, or it does not apply


_MARKS = {
    CheckOutcome.FINE: "fine",
    CheckOutcome.NOTE: "NOTE",
    CheckOutcome.DAMAGED: "DAMAGED",
    CheckOutcome.NOT_CHECKED: "-",
}


@dataclass(frozen=True, slots=True)
class CheckSection:
    """One thing that was looked at: what came out, in words, and what to do about it."""

    name: str
    outcome: CheckOutcome
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        head = f"  {_MARKS[self.outcome]:<8} {self.name:<{_NAME_WIDTH}} "
        lines = textwrap.wrap(
            self.detail + (f"; {self.advice}" if self.advice else ""),
            _LINE_WIDTH,
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )
        return "\n".join(lines) or head.rstrip()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check of a whole database has found; `str` of it is for people.

    Holds counts, names of records and ids, and neither contents nor keys.
    """

    subject: str
    sections: tuple[CheckSection, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damaged

    @property
    def damaged(self) -> tuple[CheckSection, ...]:
        """The sections that found damage."""
        return tuple(each for each in self.sections if each.outcome is CheckOutcome.DAMAGED)

    @property
    def notes(self) -> tuple[CheckSection, ...]:
        """The sections that found something worth knowing."""
        return tuple(each for each in self.sections if each.outcome is CheckOutcome.NOTE)

    def __str__(self) -> str:
        verdict = "is whole" if self.is_whole else "is not whole, or not a Cytosol file"
        return "\n".join([f"{self.subject} {verdict}", *map(str, self.sections)])

    def to_json(self) -> JsonValue:
        """Return the report as JSON."""
        return {
            "ok": self.is_whole,
            "sections": [
                {
                    "name": each.name,
                    "outcome": each.outcome.value,
                    "detail": each.detail,
                    "advice": each.advice,
                }
                for each in self.sections
            ],
        }
