"""Random histories of graph operations on three graphs, over every transport that ships.

Both kinds of graph, every storage, connections that break and come back, branches, rebases and
undoing; all graphs end the same, as the plain model says, and then are silent.
"""

from __future__ import annotations

import pytest

from tests.graph.histories import GRAPHS, TRANSPORTS, play


@pytest.mark.parametrize("graphs", GRAPHS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_graphs_end_the_same_over_every_transport(transport: str, graphs: str) -> None:
    """Whatever was done to them, and to what joins them."""
    play(transport, graphs, 1, 30)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("graphs", GRAPHS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_long_histories_end_the_same(transport: str, graphs: str, seed: int) -> None:
    """More of them, and longer ones."""
    play(transport, graphs, seed, 80)
