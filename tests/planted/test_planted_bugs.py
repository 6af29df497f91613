"""The suites notice the mistakes that people make: each planted bug fails the tests it should.

Replay one: `python -m tests.planted.plant PART OF ITS NAME`.
"""

from __future__ import annotations

import ast

import pytest

from tests.planted.bugs import BUGS, Bug
from tests.planted.plant import is_noticed, planted_text

QUICK = BUGS[::5]
SLOW = [bug for bug in BUGS if bug not in QUICK]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_code_of_a_planted_bug_is_where_it_was(bug: Bug) -> None:
    """Else the bug would be planted nowhere, and nobody would miss it."""
    ast.parse(planted_text(bug))


@pytest.mark.parametrize("bug", QUICK, ids=lambda bug: bug.name)
def test_a_planted_bug_is_noticed(bug: Bug) -> None:
    """By the quick tests of one suite, at their first failure."""
    noticed, output = is_noticed(bug)
    assert noticed, output


@pytest.mark.long
@pytest.mark.parametrize("bug", SLOW, ids=lambda bug: bug.name)
def test_each_other_planted_bug_is_noticed(bug: Bug) -> None:
    """The same for the rest of them."""
    noticed, output = is_noticed(bug)
    assert noticed, output
