"""What a peer may send and what comes back: only declared refusals, never an exception."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.errors import SaveError
from cytosol.limits import SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX
from cytosol.model.ids import OpId, PeerId, format_id
from cytosol.model.version import StateSummary
from cytosol.protocol import snapshot, sync_link
from cytosol.protocol.effects import Answer, AnswerError, Call, Emit, Fail, Notify
from cytosol.protocol.events import SyncDone, SyncFailed
from cytosol.protocol.snapshot import SnapshotCache
from cytosol.protocol.sync import SyncMachine
from cytosol.wire.fields import encode_base64, index_map
from cytosol.wire.jsonrpc import ErrorCode
from cytosol.wire.sync_messages import SnapshotResult, StateSummaryParams
from tests.simulation.sync_machines import FakeReplica, peer

SUMMARY = "osmosis.sync.stateSummary"
UPDATE = "osmosis.sync.sessionUpdate"
FIND = "osmosis.sync.findLastSharedHistory"
END = "osmosis.sync.endSession"
LIVE = "osmosis.sync.liveUpdate"
SNAPSHOT = "cytosol.sync.snapshot"
REQUESTS = (UPDATE, FIND, LIVE, SNAPSHOT)
INVALID_PARAMS = -32602
METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603


class Bench:
    """One machine of peer 2 or 1, and we play its peer."""

    def __init__(self, own: int = 2, their: int = 1) -> None:
        self.replica = FakeReplica(peer(own))
        self.theirs = FakeReplica(peer(their))
        self.cache = SnapshotCache()
        self.machine = SyncMachine(self.replica, peer(own), peer(their), self.cache)
        self.now = 10.0
        self.requests = 0

    @property
    def session(self) -> str:
        """The session that a machine opens first."""
        return f"{format_id(self.replica.own_id)}/1"

    def start(self) -> list[Any]:
        self.machine.start(self.now)
        return self.machine.take_effects()

    def notify(self, method: str, params: Any) -> list[Any]:
        self.machine.receive_notification(method, params, self.now)
        return self.machine.take_effects()

    def request(self, method: str, params: Any) -> list[Any]:
        self.requests += 1
        self.machine.receive_request(self.requests, method, params, self.now)
        return self.machine.take_effects()

    def result(self, call_id: int, result: Any) -> list[Any]:
        self.machine.receive_result(call_id, result, self.now)
        return self.machine.take_effects()

    def error(self, call_id: int, code: int = -32004) -> list[Any]:
        self.machine.receive_error(call_id, code, "no answer in time", self.now)
        return self.machine.take_effects()

    def local_changes(self) -> list[Any]:
        self.machine.local_changes(self.now)
        return self.machine.take_effects()

    def timer(self, seconds: float) -> list[Any]:
        self.now += seconds
        self.machine.handle_timer(self.now)
        return self.machine.take_effects()

    def summary(self, session: str | None = None, **changes: Any) -> list[Any]:
        """Send the summary of the peer's replica, with fields of its JSON changed."""
        params: Any = StateSummaryParams(session or self.session, self.theirs.summary()).to_json()
        params["state"].update(changes)
        return self.notify(SUMMARY, params)

    def synced(self) -> Bench:
        """Bring the machine into live sync."""
        self.start()
        assert isinstance(self.summary()[-1], Emit)
        return self


def kinds(effects: list[Any]) -> list[type]:
    """Return the types of the effects."""
    return [type(effect) for effect in effects]


def calls(effects: list[Any], method: str) -> list[Call]:
    """Return the calls of one method."""
    return [effect for effect in effects if isinstance(effect, Call) and effect.method == method]


def batch(*ops: tuple[int, PeerId, int, str]) -> str:
    """Return a batch as the fake replica packs it."""
    rows = [[index, author.hex(), previous, text] for index, author, previous, text in ops]
    return encode_base64(json.dumps(rows).encode())


GOOD: dict[str, Any] = {
    SUMMARY: StateSummaryParams("x/1", StateSummary(bytes(64), {})).to_json(),
    END: {"session": "x/1"},
    UPDATE: {"session": "x/1", "last": True, "batch": "", "latest": {}},
    FIND: {"session": "x/1", "savePoints": []},
    LIVE: {"batch": "W10=", "latest": {}},
    SNAPSHOT: {"session": "x/1", "offset": 0},
}

junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(method=st.sampled_from(sorted(GOOD)), key=st.text(), value=junk, is_call=st.booleans())
def test_damaged_params_are_refused_cleanly(
    method: str, key: str, value: Any, is_call: bool
) -> None:
    """Whatever stands in a field, the answer is an error or an end, and never an exception."""
    bench = Bench().synced()
    for name in (*GOOD[method], key):
        params = {**GOOD[method], name: value}
        effects = bench.request(method, params) if is_call else bench.notify(method, params)
        allowed = (Answer, AnswerError, Fail, Notify, Call, Emit)
        assert all(isinstance(effect, allowed) for effect in effects)
        if any(isinstance(effect, Fail) for effect in effects):
            bench = Bench().synced()


@given(method=st.sampled_from(REQUESTS), params=junk)
def test_a_request_with_junk_is_answered_with_invalid_params(method: str, params: Any) -> None:
    """The request is refused and the connection lives on."""
    bench = Bench().synced()
    (refusal,) = bench.request(method, params)
    assert isinstance(refusal, AnswerError)
    assert INVALID_PARAMS == refusal.code


def ends_a_session(params: Any) -> bool:
    """Tell whether junk is by chance what ends a session."""
    return isinstance(params, dict) and isinstance(params.get("session"), str)


@given(
    method=st.sampled_from([SUMMARY, END]),
    params=junk.filter(lambda params: not ends_a_session(params)),
)
def test_a_notification_with_junk_ends_the_connection(method: str, params: Any) -> None:
    """A notification cannot be answered, and an honest peer sends no such thing."""
    bench = Bench().synced()
    assert [Fail] == kinds(bench.notify(method, params))


@pytest.mark.parametrize("method", REQUESTS)
def test_a_call_that_comes_as_a_notification_ends_the_connection(method: str) -> None:
    """Its sender would wait for an answer for ever."""
    bench = Bench().synced()
    (failure,) = bench.notify(method, GOOD[method])
    assert isinstance(failure, Fail)
    assert "as a notification" in failure.reason


@pytest.mark.parametrize("method", ["osmosis.net.unpair", "osmosis.sync.nothing"])
def test_methods_that_are_not_of_syncing_are_unknown(method: str) -> None:
    """They are refused with the code of JSON-RPC."""
    bench = Bench().synced()
    (refusal,) = bench.request(method, {})
    assert METHOD_NOT_FOUND == refusal.code


@pytest.mark.parametrize("method", [SUMMARY, END])
def test_a_notification_that_comes_as_a_call_is_answered(method: str) -> None:
    """The seed leaves the form open, so both are taken."""
    bench = Bench().synced()
    effects = bench.request(method, GOOD[method])
    assert Answer(1, {}) in effects


@pytest.mark.parametrize("method", [UPDATE, FIND, SNAPSHOT])
def test_calls_of_another_session_are_refused(method: str) -> None:
    """The caller learns that its session is over; ours is not touched."""
    bench = Bench()
    bench.start()
    (refusal,) = bench.request(method, GOOD[method])
    assert ErrorCode.NO_SESSION == refusal.code
    assert [Notify, Emit] == kinds(bench.summary())


@pytest.mark.parametrize("method", [UPDATE, LIVE])
def test_ops_that_do_not_come_as_a_batch_are_refused(method: str) -> None:
    """The readable form is not offered by us, so nobody may count on it."""
    bench = Bench().synced()
    params = {key: value for key, value in GOOD[method].items() if key != "batch"}
    (refusal,) = bench.request(method, {**params, "ops": []})
    assert INVALID_PARAMS == refusal.code


def test_a_damaged_batch_ends_the_connection() -> None:
    """In a live update and in a session alike; afterwards the machine is silent."""
    bench = Bench().synced()
    assert [Fail] == kinds(bench.request(LIVE, {"batch": "AAAA"}))
    assert None is bench.machine.next_deadline()
    bench.machine.local_changes(bench.now)
    assert [] == bench.request(LIVE, {"batch": "AAAA"})
    assert [] == bench.notify(SUMMARY, None)
    assert [] == bench.result(1, None)
    assert [] == bench.error(1)
    assert [] == bench.timer(100.0)

    bench = Bench()
    bench.theirs.write("x")
    bench.start()
    bench.summary()
    params = {"session": bench.session, "last": True, "batch": "AAAA"}
    assert [Fail] == kinds(bench.request(UPDATE, params))


def test_a_damaged_answer_ends_the_connection() -> None:
    """An answer cannot be refused."""
    bench = Bench().synced()
    bench.replica.write("x")
    (call,) = bench.local_changes()
    assert [Fail] == kinds(bench.result(call.call_id, {"hash": "00"}))


def test_an_answer_to_no_call_of_ours_is_ignored() -> None:
    """It may have come too late; so may an error."""
    bench = Bench().synced()
    assert [] == bench.result(77, {"hash": "00"})
    assert [] == bench.error(77)


def test_a_full_disk_refuses_a_live_update_and_keeps_the_connection() -> None:
    """The code is that of an internal error, and the text says what is wrong."""
    bench = Bench().synced()
    bench.replica.disk_is_full = True
    refusal, told = bench.request(LIVE, {"batch": batch((1, peer(1), 0, "x"))})
    assert AnswerError(1, INTERNAL_ERROR, "the disk is full") == refusal
    reason = "what the peer sent cannot be saved: the disk is full"
    assert Emit(SyncFailed(format_id(peer(1)), reason)) == told


def test_a_batch_that_says_nothing_about_its_sender_is_taken() -> None:
    """Then its ops go back once, which does no harm."""
    bench = Bench().synced()
    effects = bench.request(LIVE, {"batch": batch((1, peer(1), 0, "x"))})
    assert [Emit, Call] == kinds(effects)
    assert {"x"} == bench.replica.texts()


# --- Sessions ----------------------------------------------------------------------------------


def test_a_late_summary_of_our_own_old_session_ends_it_once_more() -> None:
    """The peer learns that we have given it up."""
    bench = Bench().synced()
    (answer,) = bench.summary(bench.session)
    assert Notify(END, {"session": bench.session}) == answer


def test_a_late_summary_of_the_session_just_ended_is_ignored() -> None:
    """It crossed with our own end."""
    bench = Bench()
    bench.start()
    bench.timer(11.0)
    bench.summary("theirs")
    bench.notify(END, {"session": "theirs"})
    assert [] == bench.summary("theirs")


def test_the_end_of_another_session_is_ignored() -> None:
    """Only the current one can be ended."""
    bench = Bench()
    bench.start()
    assert [] == bench.notify(END, {"session": "theirs"})
    assert [Notify, Emit] == kinds(bench.summary())


def test_the_session_of_the_greater_id_stands() -> None:
    """The greater one ignores the other's opening; the smaller one gives up its own."""
    greater = Bench(2, 1)
    greater.start()
    assert [] == greater.summary("theirs")
    smaller = Bench(1, 2)
    smaller.start()
    assert SUMMARY == smaller.timer(3.0)[0].method
    effects = smaller.summary("theirs")
    assert [Notify, Emit] == kinds(effects)
    assert "theirs" == effects[0].params["session"]


def test_who_answers_a_summary_knows_what_the_opener_has_told() -> None:
    """Whoever opens does not know it yet, nor does anybody later, while both still receive."""
    asked: list[Any] = []

    class Asked(FakeReplica):
        def summary(self, told: Any = None) -> StateSummary:
            asked.append(told)
            return super().summary(told)

    smaller = Bench(1, 2)
    smaller.replica = Asked(peer(1))
    smaller.machine = SyncMachine(smaller.replica, peer(1), peer(2))
    smaller.theirs.write("x")
    smaller.start()
    smaller.summary("theirs")
    assert {peer(2): 1} == asked[0]
    greater = Bench(2, 1)
    greater.replica = Asked(peer(2))
    greater.machine = SyncMachine(greater.replica, peer(2), peer(1))
    asked.clear()
    greater.start()
    assert [None] == asked


def test_a_peer_may_open_a_new_session_instead_of_its_old_one() -> None:
    """It has given the old one up, whatever we think of it."""
    bench = Bench(2, 1)
    bench.theirs.write("x")
    bench.summary("one")
    assert "two" == bench.summary("two")[0].params["session"]


def test_a_summary_in_the_middle_of_a_round_ends_the_connection() -> None:
    """Both sides wait for acknowledgements there."""
    bench = Bench()
    bench.theirs.write("x")
    bench.start()
    bench.summary()
    (failure,) = bench.summary()
    assert "in the middle of a round" in failure.reason


def test_a_batch_after_the_last_one_ends_the_connection() -> None:
    """The round has ended for its sender."""
    bench = Bench()
    bench.replica.write("x")
    bench.start()
    bench.summary()
    params = {**GOOD[UPDATE], "session": bench.session}
    assert [Emit, Answer] == kinds(bench.request(UPDATE, params))
    (failure,) = bench.request(UPDATE, params)
    assert "after its last one" in failure.reason


@pytest.mark.parametrize("method", [UPDATE, FIND, SNAPSHOT])
def test_sides_that_disagree_about_the_round_end_the_session(method: str) -> None:
    """Something changed between summary and decision; a moment later both see it."""
    bench = Bench()
    bench.start()
    refusal, end = bench.request(method, {**GOOD[method], "session": bench.session})
    assert ErrorCode.NO_SESSION == refusal.code
    assert Notify(END, {"session": bench.session}) == end
    assert SUMMARY == bench.timer(1.0)[0].method


def test_a_session_that_the_peer_ends_is_tried_again_later() -> None:
    """No end is answered with an end; pauses grow, and the app is told the third time."""
    bench = Bench()
    bench.start()
    pauses, stuck = [], 0
    for number in range(1, 10):
        effects = bench.notify(END, {"session": f"{format_id(peer(2))}/{number}"})
        assert not any(isinstance(effect, Notify) for effect in effects)
        stuck += sum(isinstance(e, Emit) and isinstance(e.event, SyncFailed) for e in effects)
        pause = bench.machine.next_deadline() - bench.now  # type: ignore[operator]
        pauses.append(pause)
        bench.machine.local_changes(bench.now)  # without a view of the peer nothing is sent
        assert [] == bench.machine.take_effects()
        bench.timer(pause)
    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == pauses
    assert 1 == stuck


def test_the_timer_does_nothing_before_it_is_due() -> None:
    """A driver may call too early."""
    bench = Bench()
    bench.start()
    assert [] == bench.timer(1.0)


def test_a_shared_save_point_that_we_did_not_list_ends_the_connection() -> None:
    """We would have to send from an op that we may not have."""
    bench = Bench()
    bench.start()
    (find,) = calls(bench.summary(hash="ab" * 64), FIND)
    result = {"id": {"author": format_id(peer(9)), "index": 5}}
    (failure,) = bench.result(find.call_id, result)
    assert "did not list" in failure.reason


def test_a_save_point_that_we_listed_is_where_sending_begins() -> None:
    """All our ops after it are sent, and all of the peer are taken."""
    bench = Bench()
    for number in range(6):
        bench.theirs.write("x")
        bench.replica.write(f"text {number}")
    bench.replica.ops[peer(1)] = dict(bench.theirs.ops[peer(1)])
    bench.theirs.ops[peer(2)] = dict(bench.replica.ops[peer(2)])
    bench.start()
    (find,) = calls(bench.summary(hash="ab" * 64), FIND)
    shared = find.params["savePoints"][0]["id"]
    first, last = calls(bench.result(find.call_id, {"id": shared}), UPDATE)
    assert first.params["batch"]
    assert {"batch": "", "last": True} == {key: last.params[key] for key in ("batch", "last")}


# --- Adoption ----------------------------------------------------------------------------------


def fetching() -> tuple[Bench, Call]:
    """Return a machine that has just asked for the first chunk."""
    bench = Bench()
    bench.theirs.write("base")
    bench.theirs.trim()
    bench.start()
    (call,) = calls(bench.summary(), SNAPSHOT)
    return bench, call


def chunk(total: int, offset: int, data: bytes, whole: bytes | None = None) -> Any:
    """Return the result that carries a chunk; it is named by the hash of `whole`."""
    digest = blake2b(data if whole is None else whole).digest()
    return SnapshotResult(total, offset, digest, data).to_json()


@pytest.mark.parametrize("answered", [False, True])
def test_a_peer_that_names_ever_more_authors_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """Beside its updates, or in its answers to ours: what is noted of them would fill memory."""
    monkeypatch.setattr(sync_link, "AUTHORS_MAX", 100)
    bench = Bench().synced()
    for start in range(0, 240, 40):
        latest = {format_id(bytes([number]) * 16): 1 for number in range(start, start + 40)}
        if answered:
            bench.replica.write(f"{start}")
            (call,) = calls(bench.local_changes(), LIVE)
            held = {**latest, **index_map(bench.replica.latest())}
            effects = bench.result(call.call_id, {"news": held, "hash": "ab" * 64})
        else:
            effects = bench.request(LIVE, {"batch": "", "latest": latest})
        if start == 80:
            assert any(isinstance(each, Fail) and "authors" in each.reason for each in effects)
            return
        assert Fail not in kinds(effects)
    raise AssertionError("it was never cut off")


def test_of_devices_that_are_away_one_half_fetched_snapshot_is_kept() -> None:
    """Devices may be many, and none need send the end of what it began."""
    cache = SnapshotCache()
    for number in range(1, 5):
        cache.begin(peer(number), bytes(64))
        cache.grow(peer(number), b"abc")
    assert 12 == len(cache)
    for number in (1, 2, 2, 3):
        cache.left(peer(number))
    assert 6 == len(cache)  # of 3, which left last, and of 4, which is here
    cache.came(peer(3))
    cache.left(peer(4))
    cache.left(peer(5))
    assert 6 == len(cache)
    cache.drop(peer(3))
    cache.drop(peer(3))
    assert (bytes(64), bytearray(b"abc")) == cache.held(peer(4))
    assert (b"", bytearray()) == cache.held(peer(3))


def test_a_snapshot_that_grows_takes_the_room_of_those_that_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All together take no more than one may; a fetch that has lost its part is told why."""
    monkeypatch.setattr(snapshot, "SNAPSHOT_BYTES_MAX", 10)
    bench, call = fetching()
    _, again = bench.result(call.call_id, chunk(9, 0, b"abc", b"whole"))
    bench.cache.begin(peer(7), bytes(64))
    bench.cache.grow(peer(7), b"abcdefgh")
    assert 8 == len(bench.cache)
    (failure,) = bench.result(again.call_id, chunk(9, 3, b"def", b"whole"))
    assert "took the room" in failure.reason


def test_an_empty_or_enormous_snapshot_ends_the_connection() -> None:
    """Nothing is allocated for what was only announced."""
    for total in (0, SNAPSHOT_BYTES_MAX + 1):
        bench, call = fetching()
        (failure,) = bench.result(call.call_id, chunk(total, 0, b"x"[:total]))
        assert "cannot be adopted" in failure.reason


def test_a_chunk_that_is_too_large_or_elsewhere_ends_the_connection() -> None:
    """A chunk has its limit, and must come next."""
    size = SNAPSHOT_CHUNK_BYTES_MAX + 1
    bench, call = fetching()
    (failure,) = bench.result(call.call_id, chunk(2 * size, 0, bytes(size)))
    assert "does not fit" in failure.reason
    assert 0 == len(bench.cache)

    bench, call = fetching()
    _, again = bench.result(call.call_id, chunk(9, 0, b"abc", b"whole"))
    (failure,) = bench.result(again.call_id, chunk(9, 4, b"abc", b"whole"))
    assert "does not fit" in failure.reason


def test_a_snapshot_that_changes_on_the_way_ends_the_connection() -> None:
    """Within a session the peer serves one and the same."""
    bench, call = fetching()
    _, again = bench.result(call.call_id, chunk(9, 0, b"abc", b"whole"))
    (failure,) = bench.result(again.call_id, chunk(9, 3, b"abc", b"other"))
    assert "changed its snapshot" in failure.reason


def test_a_snapshot_with_another_hash_than_announced_ends_the_connection() -> None:
    """It is thrown away, so that the next connection starts again."""
    bench, call = fetching()
    (*_, failure) = bench.result(call.call_id, chunk(3, 0, b"abc", b"whole"))
    assert "the hash it announced" in failure.reason
    assert 0 == len(bench.cache)


def test_a_snapshot_that_cannot_be_read_ends_the_connection() -> None:
    """It is thrown away too."""
    bench, call = fetching()
    (*_, failure) = bench.result(call.call_id, chunk(3, 0, b"abc"))
    assert "damaged" in failure.reason
    assert 0 == len(bench.cache)


def test_a_snapshot_that_changes_nothing_is_adopted_twice_and_no_more() -> None:
    """Then the sides do not get anywhere, and the app is told."""
    bench, call = fetching()
    nothing = b"[[], []]"
    for _ in range(2):
        bench.result(call.call_id, chunk(len(nothing), 0, nothing))
        effects = bench.summary()
        call = next(iter(calls(effects, SNAPSHOT)), call)
    assert [SyncFailed(format_id(peer(1)), "adopting one base did not end the difference")] == [
        effect.event for effect in effects if isinstance(effect, Emit)
    ]
    assert 2 == bench.replica.adopted


def test_a_document_that_is_too_large_for_a_snapshot_is_not_served() -> None:
    """The session ends; serving it would only be refused at the other end."""

    class Huge(bytes):
        def __len__(self) -> int:
            return SNAPSHOT_BYTES_MAX + 1

    bench = Bench()
    bench.replica.write("base")
    bench.replica.trim()
    bench.replica.snapshot = Huge  # type: ignore[method-assign]  # a gigabyte without the memory
    bench.start()
    bench.summary()
    refusal, end = bench.request(SNAPSHOT, {"session": bench.session, "offset": 0})
    assert "too large" in refusal.message
    assert END == end.method


def test_the_chunks_of_a_session_come_from_one_snapshot() -> None:
    """What is written meanwhile does not tear it."""
    bench = Bench()
    bench.replica.write("x" * 1_500_000)
    bench.replica.trim()
    bench.start()
    bench.summary()
    results = []
    for offset in (0, 1_048_576):
        bench.replica.write("meanwhile")
        (answer,) = bench.request(SNAPSHOT, {"session": bench.session, "offset": offset})
        results.append(SnapshotResult.from_json(answer.result))
    assert results[0].digest == results[1].digest
    assert results[0].digest == blake2b(results[0].data + results[1].data).digest()


# --- Slow links --------------------------------------------------------------------------------


def test_a_message_that_comes_in_slowly_keeps_its_session_alive() -> None:
    """The owner tells that parts arrive; without that the session ends after ten seconds."""
    bench = Bench()
    bench.machine.receive_part(bench.now)  # before there is a session
    bench.start()
    for _ in range(5):
        assert [] == bench.timer(9.0)
        bench.machine.receive_part(bench.now)
    (end,) = bench.timer(10.0)
    assert END == end.method


def test_large_batches_get_more_time() -> None:
    """A call, and the session, wait for as long as a slow link takes for what is on its way."""
    bench = Bench()
    for number in range(3):
        bench.replica.write(f"{number} " + "x" * 250_000)
    bench.start()
    updates = calls(bench.summary(), UPDATE)
    assert [15, 20, 25] == [round(call.timeout_s) for call in updates]
    assert 25 == round(bench.machine.next_deadline() - bench.now)  # type: ignore[operator]


def test_what_a_peer_sends_in_a_session_is_not_sent_back() -> None:
    """Not even when it is newer than its summary."""
    bench = Bench()
    for number in range(8):
        bench.replica.write(f"{number} " + "x" * 250_000)
    bench.start()
    updates = calls(bench.summary(), UPDATE)
    new = {"batch": batch((1, peer(1), 0, "new")), "latest": {format_id(peer(1)): 1}}
    bench.request(UPDATE, {"session": bench.session, "last": False, **new})
    brought = {}
    while updates:
        update = updates.pop(0)
        brought.update(update.params["latest"])
        updates += calls(bench.result(update.call_id, {}), UPDATE)
    assert {format_id(peer(2)): 8} == brought


# --- Live sync ---------------------------------------------------------------------------------


def test_an_answer_with_news_of_others_is_believed() -> None:
    """What the peer got elsewhere is not sent to it."""
    bench = Bench().synced()
    bench.replica.write("x")
    (call,) = bench.local_changes()
    other = format_id(peer(7))
    answer = {"hash": "00" * 64, "latest": {format_id(peer(2)): 1, other: 8}}
    assert [] == bench.result(call.call_id, answer)
    bench.replica.ops[peer(7)] = {8: (8, peer(7).hex(), 0, "theirs already")}
    bench.machine.local_changes(bench.now)
    assert [] == bench.machine.take_effects()


def test_trouble_right_after_a_session_does_not_make_a_tight_loop() -> None:
    """What a session did not end is tried again after a pause, however well the session ended."""
    bench = Bench()
    original = bench.replica.relation

    def relation(theirs: StateSummary) -> Any:
        decision = original(theirs)
        bench.replica.write("trimmed between the decision and the first live update")
        bench.replica.trim()
        return decision

    bench.start()
    bench.replica.relation = relation  # type: ignore[method-assign]  # something happens inside
    assert [Notify, Emit] == kinds(bench.summary())
    assert bench.now + 1 == bench.machine.next_deadline()


def test_trouble_after_a_session_that_only_caught_up_waits() -> None:
    """An immediate session is for differences after a session that ended well."""
    bench = Bench()
    bench.start()
    for _ in range(3):  # the peer always has news in its summary
        bench.theirs.write("more")
        (update,) = calls(bench.summary(), UPDATE)
        params = {"session": bench.session, "last": True, "batch": ""}
        bench.result(update.call_id, {})
        bench.request(UPDATE, params)
    bench.theirs.write("more")
    effects = bench.summary()
    assert [SyncDone(format_id(peer(1)))] == [e.event for e in effects if isinstance(e, Emit)]
    bench.replica.write("x")
    (call,) = bench.local_changes()
    answer = {"hash": "00" * 64, "latest": {format_id(peer(1)): 4}}
    assert [] == bench.result(call.call_id, answer)
    assert bench.now + 2 == bench.machine.next_deadline()


def test_a_full_disk_in_a_session_refuses_the_batch_and_ends_the_session() -> None:
    """The connection stays, and the session is tried again."""
    bench = Bench()
    bench.theirs.write("x")
    bench.start()
    bench.summary()
    bench.replica.disk_is_full = True
    params = {"session": bench.session, "last": True, "batch": batch((1, peer(1), 0, "x"))}
    refusal, end, told = bench.request(UPDATE, params)
    assert INTERNAL_ERROR == refusal.code
    assert END == end.method
    assert "what the peer sent cannot be saved" in told.event.reason
    assert bench.machine.next_deadline() is not None


def test_the_window_is_not_exceeded_by_live_updates() -> None:
    """Two are on their way; the third waits for an answer."""
    bench = Bench().synced()
    sent = 0
    for number in range(5):
        bench.replica.write(f"text {number}")
        bench.machine.local_changes(bench.now)
        sent += len(bench.machine.take_effects())
    assert 2 == sent


def test_an_error_of_the_disk_is_no_error_of_the_peer() -> None:
    """`SaveError` never reaches the owner as an exception."""
    bench = Bench().synced()

    def refuse(data: bytes, sender: PeerId) -> None:
        raise SaveError("read-only")

    bench.replica.import_batch = refuse  # type: ignore[method-assign]  # a disk that fails
    refusal, told = bench.request(LIVE, {"batch": "W10="})
    assert "read-only" == refusal.message
    reason = "what the peer sent cannot be saved: read-only"
    assert Emit(SyncFailed(format_id(peer(1)), reason)) == told
    (again,) = bench.request(LIVE, {"batch": "W10="})
    assert refusal.message == again.message, "the app is told once"
    assert OpId(1, peer(2)) == bench.replica.write("still alive")


def test_live_ops_that_do_not_follow_ours_begin_a_full_sync() -> None:
    """The numbers do not show it, so nobody else would."""
    bench = Bench().synced()
    bench.replica.import_batch = lambda data, sender: False  # type: ignore[method-assign]  # a fork
    effects = bench.request(LIVE, {"batch": batch(), "latest": {}})
    assert SUMMARY in [effect.method for effect in effects if isinstance(effect, Notify)]
