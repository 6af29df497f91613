"""All transports can be found in one place, and cost nothing until they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cytosol.errors import GraphError
from cytosol.graph import transports


@pytest.mark.parametrize("name", transports.__all__)
def test_each_transport_is_a_name_of_the_package(name: str) -> None:
    """It is the one of its own module."""
    found = getattr(transports, name)
    assert name == found.__name__
    assert found.__module__.startswith("cytosol.graph.transports.")
    assert name in dir(transports)


def test_other_names_are_none_of_the_package() -> None:
    """The usual error."""
    with pytest.raises(AttributeError, match="has no attribute 'CarrierPigeon'"):
        transports.CarrierPigeon  # noqa: B018  # that is the test


@pytest.mark.parametrize(
    ("make", "library", "extra"),
    [
        (lambda: transports.WebSocketClient("ws://h"), "websockets.asyncio.client", "websocket"),
        (transports.WebSocketServer, "websockets.asyncio.client", "websocket"),
        (lambda: transports.HttpClient("http://h"), "httpx", "http"),
        (transports.HttpServer, "uvicorn", "http"),
        (lambda: transports.WebRtcConnection(transports.pair()[0]), "aiortc", "webrtc"),
    ],
    ids=["websocket client", "websocket server", "http client", "http server", "webrtc"],
)
def test_a_missing_library_is_named_with_its_extra(
    make: object, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install stands in the error."""
    monkeypatch.setitem(sys.modules, library, None)
    assert callable(make)
    with pytest.raises(GraphError, match=rf"install cytosol\[{extra}\]"):
        make()


def test_the_graph_imports_no_library_of_a_transport() -> None:
    """Neither does naming the classes."""
    code = (
        "import sys, cytosol.graph.transports as t; t.HttpServer, t.WebRtcConnection, "
        "t.WebSocketClient; print(sorted({'aiortc', 'httpx', 'starlette', 'uvicorn', 'websockets'}"
        " & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
