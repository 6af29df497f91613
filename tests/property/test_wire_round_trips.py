"""What one peer encodes, another reads back, for any value and in any pieces."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cytosol.crypto.keys import make_key_pair
from cytosol.crypto.primitives import open_sealed, seal
from cytosol.limits import LAMPORT_MAX, SESSION_LENGTH_MAX
from cytosol.model.ids import OpId
from cytosol.model.version import StateSummary
from cytosol.wire import messages as net
from cytosol.wire import sync_messages as sync
from cytosol.wire.framing import CONNECTION, FrameReader, Opener, Sealer
from cytosol.wire.heartbeat import Heartbeat, clean_peer_name, encode_heartbeat, parse_heartbeat
from cytosol.wire.jsonrpc import (
    ErrorResponse,
    Notification,
    Request,
    Response,
    encode_message,
    encode_notification,
    parse_message,
)
from cytosol.wire.methods import METHODS, parse_params

KEY = b"k" * 32

ids = st.binary(min_size=16, max_size=16)
keys = st.binary(min_size=32, max_size=32).map(lambda secret: make_key_pair(secret).public)
names = st.text(max_size=80).map(clean_peer_name)
sessions = st.text(min_size=1, max_size=SESSION_LENGTH_MAX)
hashes = st.binary(min_size=64, max_size=64)
lamports = st.integers(1, LAMPORT_MAX)
op_ids = st.builds(OpId, lamports, ids)
index_maps = st.dictionaries(ids, lamports, max_size=4)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
ops = st.lists(json_values, max_size=3)

summaries = st.builds(
    StateSummary,
    state_hash=hashes,
    latest=index_maps,
    trim=st.none() | op_ids,
    trim_hash=hashes,
    trimmed=index_maps,
    refused=index_maps,
    contents=st.dictionaries(ids, st.binary(min_size=16, max_size=64), max_size=3),
)
params: st.SearchStrategy[Any] = st.one_of(
    st.builds(net.HelloParams, ids),
    st.builds(net.PairParams, ids, names, keys, st.binary(min_size=33, max_size=33)),
    st.builds(net.ConfirmPairParams, ids, st.binary(min_size=32, max_size=32)),
    st.builds(net.ConnectParams, ids, keys),
    st.builds(
        net.SharePeersParams,
        st.lists(st.builds(net.SharedPeer, ids, names, keys), max_size=3)
        .filter(lambda peers: len({peer.peer_id for peer in peers}) == len(peers))
        .map(tuple),
    ),
    st.builds(sync.StateSummaryParams, sessions, summaries),
    st.builds(sync.SessionUpdateParams, sessions, st.booleans(), ops=ops),
    st.builds(sync.SessionUpdateParams, sessions, st.booleans(), batch=st.binary()),
    st.builds(
        sync.FindLastSharedHistoryParams,
        sessions,
        st.lists(st.builds(sync.SavePoint, op_ids, hashes), max_size=3).map(tuple),
    ),
    st.builds(sync.EndSessionParams, sessions),
    st.builds(sync.LiveUpdateParams, ops=ops),
    st.builds(sync.LiveUpdateParams, batch=st.binary(), takes_news=st.booleans()),
    st.builds(sync.SnapshotParams, sessions, st.integers(0, LAMPORT_MAX)),
)
message_ids = st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20)
methods = st.text(min_size=1, max_size=20)
call_params = st.none() | st.lists(json_values) | st.dictionaries(st.text(), json_values)
rpc_messages: st.SearchStrategy[Any] = st.one_of(
    st.builds(Request, message_ids, methods, call_params),
    st.builds(Notification, methods, call_params),
    st.builds(Response, message_ids, json_values),
    st.builds(
        ErrorResponse,
        st.none() | message_ids,
        st.integers(-(2**31), 2**31 - 1),
        st.text(),
        json_values,
    ),
)


@given(st.builds(Heartbeat, ids, ids, keys, st.integers(1025, 65535), names))
def test_heartbeats_come_back(heartbeat: Heartbeat) -> None:
    """A clean name is not changed."""
    assert heartbeat == parse_heartbeat(encode_heartbeat(heartbeat))


@given(st.text(st.characters()))
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    """Cleaning twice is cleaning once, and what is left fits a heartbeat."""
    clean = clean_peer_name(name)
    assert clean == clean_peer_name(clean)
    assert len(clean) <= 64
    assert len(clean.encode()) <= 255


@given(st.binary(min_size=24, max_size=24), st.binary(max_size=300))
def test_sealed_messages_come_back(nonce: bytes, message: bytes) -> None:
    """16 bytes longer than they were."""
    body = seal(KEY, nonce, message)
    assert len(message) + 16 == len(body)
    assert message == open_sealed(KEY, nonce, body)


@given(
    st.lists(st.binary(max_size=200) | st.integers(0, 5000).map(bytes), max_size=5),
    st.lists(st.integers(1, 2000), max_size=20),
)
def test_frames_come_back_in_any_pieces(messages: list[bytes], cuts: list[int]) -> None:
    """Compressed or not, cut anywhere, none is lost, doubled or out of order."""
    sealer = Sealer(KEY, b"t" * 16, CONNECTION)
    opener = Opener(KEY, b"o" * 16, CONNECTION)
    reader = FrameReader(CONNECTION)
    stream = b"i" * 16 + b"".join(map(sealer.seal, messages))
    received = []
    for cut in [*cuts, len(stream)]:
        piece, stream = stream[:cut], stream[cut:]
        received += [opener.open(frame) for frame in reader.feed(piece)]
    assert messages == received
    assert 0 == reader.waiting_bytes


@given(rpc_messages)
def test_rpc_messages_come_back(message: Any) -> None:
    """Repeated keys are never seen where there are none, whatever the strings contain."""
    assert message == parse_message(encode_message(message))


@given(params)
def test_params_come_back(value: Any) -> None:
    """Through JSON text, as they travel."""
    message = parse_message(encode_notification(value.METHOD, value.to_json()))
    assert isinstance(message, Notification)
    assert value == parse_params(message.method, message.params, METHODS[value.METHOD].place)
