"""One good message of every kind, for all tests of the wire."""

from typing import Any

from cytosol.model.ids import OpId
from cytosol.model.version import StateSummary
from cytosol.wire import graph_messages as graph
from cytosol.wire import messages as net
from cytosol.wire import sync_messages as sync

ONE, TWO = b"\x11" * 16, b"\x22" * 16
ONE_UUID = "11111111-1111-1111-1111-111111111111"
TWO_UUID = "22222222-2222-2222-2222-222222222222"
KEY = b"k" * 32
KEY_TEXT = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
CHALLENGE = b"c" * 16
CHALLENGE_TEXT = "Y2NjY2NjY2NjY2NjY2NjYw=="
PAKE = b"A" + b"p" * 32
PAKE_TEXT = "QXBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw"
CONFIRM = b"f" * 32
CONFIRM_TEXT = "ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY="
HASH = b"\xab" * 64
HASH_TEXT = "ab" * 64

PARAMS: list[tuple[Any, Any]] = [
    (net.HelloParams(CHALLENGE), {"challenge": CHALLENGE_TEXT}),
    (
        net.PairParams(CHALLENGE, "Laptop", KEY, PAKE),
        {
            "challenge": CHALLENGE_TEXT,
            "peerName": "Laptop",
            "publicKey": KEY_TEXT,
            "pake": PAKE_TEXT,
        },
    ),
    (
        net.ConfirmPairParams(CHALLENGE, CONFIRM),
        {"challenge": CHALLENGE_TEXT, "confirm": CONFIRM_TEXT},
    ),
    (
        net.ConnectParams(CHALLENGE, KEY),
        {"challenge": CHALLENGE_TEXT, "publicKey": KEY_TEXT},
    ),
    (
        net.SharePeersParams(
            (net.SharedPeer(ONE, "Phone", KEY),), (net.RefusedPeer(TWO, b"r" * 32, 7, 9),)
        ),
        [
            {
                "peerId": ONE_UUID,
                "peerName": "Phone",
                "publicKey": KEY_TEXT,
            },
            {
                "peerId": TWO_UUID,
                "publicKey": "cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=",
                "refused": True,
                "sinceMs": 7,
                "ageMs": 9,
            },
        ],
    ),
    (net.UnpairParams(), {}),
    (
        sync.StateSummaryParams(
            "s1", StateSummary(HASH, {ONE: 5}, OpId(3, TWO), HASH, {ONE: 3}, {TWO: 4}, {ONE: HASH})
        ),
        {
            "session": "s1",
            "state": {
                "hash": HASH_TEXT,
                "latestIndexes": {ONE_UUID: 5},
                "trim": {"author": TWO_UUID, "index": 3},
                "trimHash": HASH_TEXT,
                "trimmed": {ONE_UUID: 3},
                "refused": {TWO_UUID: 4},
                "contentHashes": {ONE_UUID: HASH_TEXT},
            },
        },
    ),
    (
        sync.SessionUpdateParams("s1", True, batch=b"ops"),
        {"session": "s1", "last": True, "batch": "b3Bz"},
    ),
    (
        sync.FindLastSharedHistoryParams("s1", (sync.SavePoint(OpId(4, ONE), HASH),)),
        {
            "session": "s1",
            "savePoints": [{"id": {"author": ONE_UUID, "index": 4}, "hash": HASH_TEXT}],
        },
    ),
    (sync.EndSessionParams("s1"), {"session": "s1"}),
    (sync.LiveUpdateParams(ops=[{"a": 1}]), {"ops": [{"a": 1}]}),
    (sync.SnapshotParams("s1", 0), {"session": "s1", "offset": 0}),
    (graph.GraphListenParams(3), {"channel": 3}),
    (
        graph.GraphMessageParams(3, '{"a":1}', True),
        {"channel": 3, "text": '{"a":1}', "more": True},
    ),
]

RESULTS: list[tuple[str, Any, Any]] = [
    (
        "osmosis.net.pair",
        net.PairResult("Phone", KEY, PAKE, CONFIRM),
        {
            "peerName": "Phone",
            "publicKey": KEY_TEXT,
            "pake": PAKE_TEXT,
            "confirm": CONFIRM_TEXT,
        },
    ),
    ("cytosol.net.confirmPair", net.Done(), {}),
    (
        "osmosis.net.connect",
        net.ConnectResult(50000, KEY),
        {"port": 50000, "publicKey": KEY_TEXT},
    ),
    ("osmosis.net.unpair", net.Done(), {}),
    ("osmosis.sync.stateSummary", net.Done(), {}),
    ("osmosis.sync.sessionUpdate", net.Done(), {}),
    (
        "osmosis.sync.findLastSharedHistory",
        sync.FindLastSharedHistoryResult(OpId(4, ONE)),
        {"id": {"author": ONE_UUID, "index": 4}},
    ),
    ("osmosis.sync.endSession", net.Done(), {}),
    (
        "osmosis.sync.liveUpdate",
        sync.LiveUpdateResult(HASH, {ONE: 5}),
        {"hash": HASH_TEXT, "latest": {ONE_UUID: 5}},
    ),
    (
        "osmosis.sync.liveUpdate",
        sync.LiveUpdateResult(HASH, {ONE: 5}, False),
        {"hash": HASH_TEXT, "news": {ONE_UUID: 5}},
    ),
    (
        "cytosol.sync.snapshot",
        sync.SnapshotResult(10, 7, HASH, b"end"),
        {"total": 10, "offset": 7, "hash": HASH_TEXT, "data": "ZW5k"},
    ),
    ("cytosol.graph.message", net.Done(), {}),
]
