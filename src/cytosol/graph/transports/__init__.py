"""Connections over the ways that messages can go; the only place of the graph with sockets.

The transports that ship are names of this package. What they need is imported when one of them
is made, and GraphError says which extra to install where it is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cytosol.graph.transports.http import HttpClient, HttpServer
    from cytosol.graph.transports.memory import pair
    from cytosol.graph.transports.signalling import SignalRelay
    from cytosol.graph.transports.webrtc import WebRtcConnection
    from cytosol.graph.transports.websocket import WebSocketClient, WebSocketServer

__all__ = [
    "HttpClient",
    "HttpServer",
    "SignalRelay",
    "WebRtcConnection",
    "WebSocketClient",
    "WebSocketServer",
    "pair",
]

_MODULES: Final = {
    "HttpClient": "http",
    "HttpServer": "http",
    "SignalRelay": "signalling",
    "WebRtcConnection": "webrtc",
    "WebSocketClient": "websocket",
    "WebSocketServer": "websocket",
    "pair": "memory",
}


def __getattr__(name: str) -> Any:
    """Import a transport when it is asked for: the graph below it imports this package too."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
