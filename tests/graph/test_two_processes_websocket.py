"""Two real processes share a graph over WebSocket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.graph.served import WEBSOCKET
from tests.graph.two_processes import (
    killed_server_loses_and_doubles_nothing,
    sync_between_processes,
)

pytestmark = pytest.mark.filterwarnings("error")


def test_two_processes_share_a_graph_over_websocket(tmp_path: Path) -> None:
    """What either of them writes, both have."""
    sync_between_processes(WEBSOCKET, tmp_path)


def test_a_killed_websocket_server_that_comes_back_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    """The server dies by SIGKILL in the middle of writes, twice, and returns to its port."""
    killed_server_loses_and_doubles_nothing(WEBSOCKET, tmp_path)
