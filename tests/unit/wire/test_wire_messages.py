"""Every RPC has its class, and every field of every RPC is checked."""

import copy
from typing import Any

import pytest

from cytosol.errors import RemoteProtocolError
from cytosol.limits import (
    AUTHORS_MAX,
    FRAME_BYTES_MAX,
    GATEWAY_PORT_MIN,
    LAMPORT_MAX,
    PAIRINGS_MAX,
    SAVE_POINTS_MAX,
    SESSION_LENGTH_MAX,
)
from cytosol.model.ids import OpId, format_id
from cytosol.model.version import StateSummary
from cytosol.wire import messages as net
from cytosol.wire import sync_messages as sync
from cytosol.wire.fields import encode_base64
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.methods import METHODS, Place, parse_params, parse_result
from tests.unit.wire.message_examples import (
    HASH,
    HASH_TEXT,
    KEY,
    KEY_TEXT,
    ONE,
    ONE_UUID,
    PARAMS,
    RESULTS,
)

ABSENT = object()


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of JSON with one place replaced or removed."""
    value = copy.deepcopy(value)
    parent = value
    for step in path[:-1]:
        parent = parent[step]
    if new is ABSENT:
        del parent[path[-1]]
    else:
        parent[path[-1]] = new
    return value


def params_json(method: str) -> Any:
    """Return the good params of a method as JSON."""
    return next(text for params, text in PARAMS if method == params.METHOD)


def result_json(method: str) -> Any:
    """Return the good result of a method as JSON."""
    return next(text for name, _, text in RESULTS if method == name)


def refusal_of_params(method: str, params: Any) -> str:
    """Return the sentence with which params are refused, always with -32602."""
    with pytest.raises(RemoteProtocolError) as caught:
        parse_params(method, params, METHODS[method].place)
    assert ErrorCode.INVALID_PARAMS == caught.value.code
    return str(caught.value)


def refusal_of_result(method: str, result: Any) -> str:
    """Return the sentence with which a result is refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        parse_result(method, result)
    return str(caught.value)


@pytest.mark.parametrize(("params", "text"), PARAMS, ids=lambda value: getattr(value, "METHOD", ""))
def test_params_travel_as_the_table_says(params: Any, text: Any) -> None:
    """There and back (spec: network, RPC)."""
    assert text == params.to_json()
    assert params == parse_params(params.METHOD, text, METHODS[params.METHOD].place)


@pytest.mark.parametrize(("method", "result", "text"), RESULTS)
def test_results_travel_as_the_table_says(method: str, result: Any, text: Any) -> None:
    """There and back (spec: network, RPC)."""
    assert text == result.to_json()
    assert result == parse_result(method, text)


def test_every_method_has_an_example() -> None:
    """So that no RPC is left out of these tests."""
    assert set(METHODS) == {params.METHOD for params, _ in PARAMS}
    with_result = {name for name, method in METHODS.items() if method.result is not None}
    assert with_result == {name for name, _, _ in RESULTS}


def test_only_four_methods_may_be_called_by_strangers() -> None:
    """The gateway's."""
    gateway = {name for name, method in METHODS.items() if method.place is Place.GATEWAY}
    assert gateway == {
        "cytosol.net.hello",
        "osmosis.net.pair",
        "cytosol.net.confirmPair",
        "osmosis.net.connect",
    }


@pytest.mark.parametrize("method", ["", "osmosis.net.none", "osmosis.sync.liveUpdate"])
def test_an_unknown_method_is_refused(method: str) -> None:
    """Also one that exists, but not here."""
    with pytest.raises(RemoteProtocolError, match=rf"no method {method!r} on a gateway") as caught:
        parse_params(method, {}, Place.GATEWAY)
    assert ErrorCode.METHOD_NOT_FOUND == caught.value.code


def test_a_notification_has_no_result() -> None:
    """To parse one would be our own mistake."""
    with pytest.raises(ValueError, match="is a notification"):
        parse_result("cytosol.net.hello", {})


@pytest.mark.parametrize(("params", "text"), PARAMS, ids=lambda value: getattr(value, "METHOD", ""))
def test_params_of_another_shape_are_refused(params: Any, text: Any) -> None:
    """Neither an object nor an array where the other is due."""
    for wrong in (None, True, 1, "x", [1], {"x": 1} if isinstance(text, list) else []):
        sentence = refusal_of_params(params.METHOD, wrong)
        assert "not an object" in sentence or "not an array" in sentence


@pytest.mark.parametrize(("params", "text"), PARAMS, ids=lambda value: getattr(value, "METHOD", ""))
def test_unknown_fields_are_ignored(params: Any, text: Any) -> None:
    """Later versions may add some."""
    if isinstance(text, dict):
        assert params == parse_params(
            params.METHOD, {**text, "new": [1]}, METHODS[params.METHOD].place
        )


def fields_of(text: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every field below a JSON value, maps by author left out."""
    found: list[tuple[Any, ...]] = []
    steps = text.items() if isinstance(text, dict) else enumerate(text)
    for step, item in steps:
        if isinstance(text, dict) and isinstance(step, str) and "-" not in step:
            found.append((*path, step))
        if isinstance(item, (dict, list)):
            found += fields_of(item, (*path, step))
    return found


OPTIONAL = {"sinceMs", "ageMs", "trim", "batch", "ops", "refused", "a"}
REQUIRED = [
    (params.METHOD, path)
    for params, text in PARAMS
    for path in fields_of(text)
    if path[-1] not in OPTIONAL
]


@pytest.mark.parametrize(("method", "path"), REQUIRED)
@pytest.mark.parametrize(
    "wrong", [ABSENT, None, 1.5, {"": 0}, -1], ids=["absent", "null", "float", "object", "negative"]
)
def test_a_field_that_is_missing_or_of_another_type_is_named(
    method: str, path: tuple[Any, ...], wrong: Any
) -> None:
    """The sentence says which field of which RPC."""
    assert "the field '" in refusal_of_params(method, changed(params_json(method), path, wrong))


def test_an_entry_that_is_no_object_is_refused() -> None:
    """Inside lists too."""
    assert "a peer in osmosis.net.sharePeers is not" in refusal_of_params(
        "osmosis.net.sharePeers", [1]
    )
    method = "osmosis.sync.findLastSharedHistory"
    assert "a save point in" in refusal_of_params(method, {"session": "s", "savePoints": [1]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY_TEXT[:-1],
        KEY_TEXT[:-4],
        KEY_TEXT + "=",
        KEY_TEXT + "AAAA",
        KEY_TEXT[:-2] + "t=",  # other bits behind the last byte
        KEY_TEXT[:-1] + "\n",
        " " + KEY_TEXT[1:],
        "-" + KEY_TEXT[1:],
        "é" + KEY_TEXT[1:],
        "=" * 44,
        "A" * 43 + "=",  # all zero
        KEY_TEXT[:42] + "==",
        "A" * 40,
        "A" * 40 + "====",
    ],
)
def test_a_key_has_exactly_one_text(text: str) -> None:
    """Base64 with padding, without stray characters or bits, of a key that is safe."""
    method = "osmosis.net.connect"
    assert "'publicKey'" in refusal_of_params(
        method, changed(params_json(method), ("publicKey",), text)
    )


@pytest.mark.parametrize("port", [GATEWAY_PORT_MIN - 1, 65536, 0, -1, True, 50000.0, "50000"])
def test_a_port_is_not_privileged(port: Any) -> None:
    """GATEWAY_PORT_MIN, here for connections."""
    assert "an integer in 1025" in refusal_of_result(
        "osmosis.net.connect", {"port": port, "publicKey": KEY_TEXT}
    )


def test_names_are_cleaned_on_arrival() -> None:
    """As in heartbeats."""
    method = "osmosis.net.pair"
    dirty = changed(params_json(method), ("peerName",), "\u202eLap\x00top" + "p" * 100)
    params = parse_params(method, dirty, Place.GATEWAY)
    assert isinstance(params, net.PairParams)
    assert "Laptop" + "p" * 58 == params.peer_name


def test_pairings_max_bounds_what_share_peers_brings() -> None:
    """PAIRINGS_MAX, refused devices included."""
    entries = [
        {"peerId": format_id(number.to_bytes(16, "big")), "peerName": "", "publicKey": KEY_TEXT}
        for number in range(PAIRINGS_MAX + 1)
    ]
    method = "osmosis.net.sharePeers"
    params = parse_params(method, entries[:-1], Place.CONNECTION)
    assert isinstance(params, net.SharePeersParams)
    assert PAIRINGS_MAX == len(params.paired)
    assert f"at most {PAIRINGS_MAX} peers" in refusal_of_params(method, entries)


def test_share_peers_names_nobody_twice() -> None:
    """Else a device could be paired and refused at once."""
    entry = {"peerId": ONE_UUID, "peerName": "", "publicKey": KEY_TEXT}
    method = "osmosis.net.sharePeers"
    assert "named once" in refusal_of_params(method, [entry, {**entry, "refused": True}])
    with pytest.raises(RemoteProtocolError, match="a boolean"):
        parse_params(method, [{**entry, "refused": 1}], Place.CONNECTION)


def test_when_a_peer_was_refused_may_be_unknown() -> None:
    """`sinceMs` and `ageMs` are not in the seed, so they may be absent: it was very long ago."""
    entry = {"peerId": ONE_UUID, "peerName": "P", "publicKey": KEY_TEXT, "refused": True}
    method = "osmosis.net.sharePeers"
    refused = parse_params(method, [entry], Place.CONNECTION)
    assert net.SharePeersParams((), (net.RefusedPeer(ONE, KEY, 0, LAMPORT_MAX),)) == refused
    refused = parse_params(method, [{**entry, "sinceMs": 9, "ageMs": 0}], Place.CONNECTION)
    assert net.SharePeersParams((), (net.RefusedPeer(ONE, KEY, 9, 0),)) == refused
    for name in ("sinceMs", "ageMs"):
        assert f"'{name}'" in refusal_of_params(method, [{**entry, name: -1}])


def test_a_peer_that_is_not_refused_is_paired() -> None:
    """`"refused": false` says nothing new."""
    entry = {"peerId": ONE_UUID, "peerName": "P", "publicKey": KEY_TEXT, "refused": False}
    params = parse_params("osmosis.net.sharePeers", [entry], Place.CONNECTION)
    assert net.SharePeersParams((net.SharedPeer(ONE, "P", KEY),)) == params


@pytest.mark.parametrize(
    "text", ["", "1" * 36, ONE_UUID[:-1], ONE_UUID + "1", "{" + ONE_UUID[:-2] + "}", [], None]
)
def test_a_peer_id_is_a_uuid(text: Any) -> None:
    """In its form of 36 characters only."""
    assert "'peerId' of a peer in osmosis.net.sharePeers is not a UUID" in refusal_of_params(
        "osmosis.net.sharePeers", [{"peerId": text, "peerName": "", "publicKey": KEY_TEXT}]
    )


@pytest.mark.parametrize(
    "text", ["", "ab" * 63, "ab" * 65, "AB" * 64, "ab" * 63 + " a", "xy" * 64, 5, None]
)
def test_a_state_hash_is_64_bytes_in_hex(text: Any) -> None:
    """Lower-case, so that each has one text."""
    assert "lower-case hex of 64" in refusal_of_result(
        "osmosis.sync.liveUpdate", {"hash": text, "latest": {}}
    )


def test_session_length_max() -> None:
    """SESSION_LENGTH_MAX, and at least one character."""
    longest = "s" * SESSION_LENGTH_MAX
    params = parse_params("osmosis.sync.endSession", {"session": longest}, Place.CONNECTION)
    assert sync.EndSessionParams(longest) == params
    for wrong in ("", longest + "s", 1):
        assert "1 to 64 characters" in refusal_of_params(
            "osmosis.sync.endSession", {"session": wrong}
        )


@pytest.mark.parametrize("index", [0, -1, LAMPORT_MAX + 1, True, 1.0, "1", None])
def test_lamport_numbers_lie_in_their_range(index: Any) -> None:
    """LAMPORT_MAX: 1 .. 2^53-1, in op ids and in maps."""
    assert "index" in refusal_of_result(
        "osmosis.sync.findLastSharedHistory", {"id": {"author": ONE_UUID, "index": index}}
    )
    assert "latest" in refusal_of_result(
        "osmosis.sync.liveUpdate", {"hash": HASH_TEXT, "latest": {ONE_UUID: index}}
    )


def test_the_greatest_lamport_number_is_taken() -> None:
    """LAMPORT_MAX itself."""
    result = parse_result(
        "osmosis.sync.liveUpdate", {"hash": HASH_TEXT, "latest": {ONE_UUID: LAMPORT_MAX}}
    )
    assert sync.LiveUpdateResult(HASH, {ONE: LAMPORT_MAX}) == result


def test_an_author_has_one_spelling_in_a_map() -> None:
    """Upper and lower case would be two keys for one author."""
    author = "aaaaaaaa-1111-1111-1111-111111111111"
    latest = {author: 1, author.upper(): 2}
    assert "each author" in refusal_of_result(
        "osmosis.sync.liveUpdate", {"hash": HASH_TEXT, "latest": latest}
    )


def test_authors_max_bounds_the_maps() -> None:
    """AUTHORS_MAX; the size is looked at before the keys are."""
    latest = {str(number): 1 for number in range(AUTHORS_MAX + 1)}
    assert f"at most {AUTHORS_MAX} authors" in refusal_of_result(
        "osmosis.sync.liveUpdate", {"hash": HASH_TEXT, "latest": latest}
    )


def test_save_points_max() -> None:
    """SAVE_POINTS_MAX."""
    point = {"id": {"author": ONE_UUID, "index": 1}, "hash": HASH_TEXT}
    method = "osmosis.sync.findLastSharedHistory"
    parse_params(
        method, {"session": "s", "savePoints": [point] * SAVE_POINTS_MAX}, Place.CONNECTION
    )
    assert f"at most {SAVE_POINTS_MAX}" in refusal_of_params(
        method, {"session": "s", "savePoints": [point] * (SAVE_POINTS_MAX + 1)}
    )


def test_a_history_never_trimmed_has_no_trim_point() -> None:
    """null, or absent."""
    params = sync.StateSummaryParams("s", StateSummary(HASH, {}))
    text = params.to_json()
    assert text["state"]["trim"] is None
    method = params.METHOD
    assert params == parse_params(method, text, Place.CONNECTION)
    absent = changed(text, ("state", "trim"), ABSENT)
    assert params == parse_params(method, absent, Place.CONNECTION)
    assert "'trim' of state in" in refusal_of_params(method, changed(text, ("state", "trim"), 0))


def test_nothing_shared_is_null() -> None:
    """No save point is common."""
    result = sync.FindLastSharedHistoryResult(None)
    assert {"id": None} == result.to_json()
    assert result == parse_result("osmosis.sync.findLastSharedHistory", {"id": None})
    assert sync.FindLastSharedHistoryResult(OpId(1, ONE)) != result


@pytest.mark.parametrize(
    "params",
    [
        sync.SessionUpdateParams("s", True),
        sync.SessionUpdateParams("s", False, ops=[]),
        sync.SessionUpdateParams("s", False, ops=[{"any": None}]),
        sync.SessionUpdateParams("s", False, batch=b""),
        sync.LiveUpdateParams(batch=b"x"),
        sync.LiveUpdateParams(batch=b"x", takes_news=True),
    ],
)
def test_ops_travel_in_either_form(params: Any) -> None:
    """As JSON, as one batch, or (at the end of a session) not at all."""
    assert params == parse_params(params.METHOD, params.to_json(), Place.CONNECTION)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "no batch either"),
        ({"ops": [], "batch": ""}, "although there is a batch"),
        ({"ops": {}}, "an array"),
        ({"batch": "?"}, "base64"),
        ({"batch": []}, "base64"),
    ],
)
def test_a_live_update_brings_ops_in_one_form(more: Any, reason: str) -> None:
    """Exactly one."""
    assert reason in refusal_of_params("osmosis.sync.liveUpdate", more)


def test_a_session_update_does_not_bring_two_forms() -> None:
    """Which one would count?"""
    assert "although there is a batch" in refusal_of_params(
        "osmosis.sync.sessionUpdate", {"session": "s", "last": True, "ops": [], "batch": ""}
    )


@pytest.mark.parametrize(
    ("path", "wrong", "reason"),
    [
        (("total",), -1, "'total'"),
        (("total",), 9, "within the total"),
        (("offset",), 11, "'offset'"),
        (("offset",), -1, "'offset'"),
        (("data",), "", "there, although"),
        (("data",), "ZW5kZQ==", "within the total"),
        (("data",), "ZW5", "base64"),
        (("hash",), "", "'hash'"),
    ],
)
def test_a_snapshot_chunk_fits_its_whole(path: tuple[Any, ...], wrong: Any, reason: str) -> None:
    """No chunk reaches beyond the end, and none is empty before it."""
    method = "cytosol.sync.snapshot"
    assert reason in refusal_of_result(method, changed(result_json(method), path, wrong))


def test_the_end_of_a_snapshot_may_be_empty() -> None:
    """Resuming at the end finds nothing more."""
    result = sync.SnapshotResult(10, 10, HASH, b"")
    assert result == parse_result("cytosol.sync.snapshot", result.to_json())


def test_frame_bytes_max_bounds_a_chunk() -> None:
    """FRAME_BYTES_MAX: the length of the text is looked at before it is decoded."""
    text = {
        "total": 2**40,
        "offset": 0,
        "hash": HASH_TEXT,
        "data": "A" * ((FRAME_BYTES_MAX + 2) // 3 * 4 + 4),
    }
    assert f"base64 of at most {FRAME_BYTES_MAX} bytes" in refusal_of_result(
        "cytosol.sync.snapshot", text
    )


def test_content_digests_may_be_shorter_than_state_hashes() -> None:
    """16 to 64 bytes; which, the data side decides."""
    text = params_json("osmosis.sync.stateSummary")
    path = ("state", "contentHashes", ONE_UUID)
    for digest in ("ab" * 16, "ab" * 64):
        parse_params("osmosis.sync.stateSummary", changed(text, path, digest), Place.CONNECTION)
    for digest in ("ab" * 15, "ab" * 65, "a" * 33, 5):
        assert "contentHashes" in refusal_of_params(
            "osmosis.sync.stateSummary", changed(text, path, digest)
        )


def test_bytes_travel_as_padded_base64() -> None:
    """RFC 4648, section 10."""
    assert ["", "Zg==", "Zm8=", "Zm9v"] == [encode_base64(b"foo"[:count]) for count in range(4)]
