"""The graph in memory passes the suite of all graphs."""

from __future__ import annotations

import pytest

from cytosol import Graph
from tests.graph.suite import GraphSuite, MakeGraph


class TestGraphAlone(GraphSuite):
    """`cytosol.Graph()`."""

    @pytest.fixture
    def make_graph(self) -> MakeGraph:
        """Make graphs in memory."""
        return Graph
