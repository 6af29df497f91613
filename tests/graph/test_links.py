"""The link of the transports: nothing lost, nothing doubled, whatever happens to connections."""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytosol.errors import GraphError
from cytosol.graph.transports import link as link_module
from cytosol.graph.transports.link import Hello, Link, encode_message, read_hello
from cytosol.limits import (
    LINK_MESSAGE_BYTES_MAX,
    LINK_NAME_LENGTH_MAX,
    LINK_UNACKNOWLEDGED_BYTES_MAX,
    LINK_UNACKNOWLEDGED_MAX,
)
from tests.graph.case_names import case_name


def frames_of(link: Link) -> list[str]:
    """Return every frame that a link has for its connection now."""
    return list(iter(link.next_frame, None))


def carry(one: Link, other: Link) -> None:
    """Carry frames both ways until both are quiet; no honest frame is refused."""
    while True:
        pairs = [(one, other), (other, one)]
        moved = [(there, frame) for here, there in pairs for frame in frames_of(here)]
        if not moved:
            return
        for there, frame in moved:
            assert there.receive(frame) is None
        one.check_invariants()
        other.check_invariants()


def connect(one: Link, other: Link) -> None:
    """Put both links on a new connection and let everything flow."""
    one.connect()
    other.connect()
    carry(one, other)


def connected() -> tuple[Link, Link]:
    """Return two links that are up."""
    one, other = Link("one"), Link("other")
    connect(one, other)
    return one, other


def greeted(link: Link, **fields: Any) -> str | None:
    """Let a handwritten peer greet a link over a new connection; return the refusal."""
    link.connect()
    hello = {"hello": "peer", "of": None, "seen": 0, "v": 1, **fields}
    return link.receive(json.dumps(hello))


# --- What an honest pair sees --------------------------------------------------------------------


def test_messages_come_in_order_and_once() -> None:
    """What one side sends, the other takes; then it is acknowledged and forgotten."""
    one, other = connected()
    messages = [None, True, 0, -1.5, "text \u2028 \U0001f600", [], {"a": {"b": [1]}}]
    for message in messages:
        one.send(message)
    carry(one, other)
    assert messages == other.take()
    assert [] == other.take()
    carry(one, other)
    assert 0 == one.unacknowledged


def test_nothing_is_acknowledged_before_it_is_taken() -> None:
    """A message that waits for a reader still belongs to the sender."""
    one, other = connected()
    one.send("first")
    one.send("second")
    carry(one, other)
    assert other.has_messages
    assert 2 == one.unacknowledged
    assert ["first"] == other.take(1)
    carry(one, other)
    assert 1 == one.unacknowledged


def test_many_messages_are_acknowledged_at_once() -> None:
    """One acknowledgement stands for all before it."""
    one, other = connected()
    for number in range(100):
        one.send(number)
    carry(one, other)
    other.take()
    assert ['{"a":100}'] == frames_of(other)


def test_what_is_sent_before_any_connection_goes_out_with_the_first() -> None:
    """A link can be used before it is connected."""
    one, other = Link("one"), Link("other")
    one.send("early")
    assert [] == frames_of(one)
    connect(one, other)
    assert ["early"] == other.take()


def test_what_was_on_its_way_when_the_connection_ended_is_sent_again() -> None:
    """A lost connection loses frames, not messages."""
    one, other = connected()
    one.send("lost")
    assert ['{"n":1,"m":"lost"}'] == frames_of(one)
    connect(one, other)
    assert ["lost"] == other.take()


def test_what_arrived_without_its_acknowledgement_is_not_doubled() -> None:
    """The hello of the next connection tells what came."""
    one, other = connected()
    one.send("once")
    carry(one, other)
    assert ["once"] == other.take()
    frames_of(other)  # the acknowledgement, lost
    connect(one, other)
    assert [] == other.take()
    assert 0 == one.unacknowledged


def test_what_waits_untaken_is_repeated_but_not_doubled() -> None:
    """The receiver did not acknowledge it, so it comes again, and is dropped."""
    one, other = connected()
    one.send("waiting")
    carry(one, other)
    connect(one, other)
    assert ["waiting"] == other.take()
    carry(one, other)
    assert [] == other.take()


def test_messages_taken_between_both_hellos_may_be_skipped_by_the_sender() -> None:
    """An acknowledgement can overtake the repetition of what it acknowledges."""
    one, other = connected()
    for number in range(3):
        one.send(number)
    carry(one, other)
    one.connect()
    other.connect()
    hello, reply = one.next_frame(), other.next_frame()
    assert hello is not None
    assert reply is not None
    assert [0, 1] == other.take(2)
    assert other.receive(hello) is None
    assert one.receive(reply) is None
    [ack] = frames_of(other)
    assert one.next_frame() == '{"n":1,"m":0}'
    assert one.receive(ack) is None
    assert ['{"n":3,"m":2}'] == frames_of(one)
    assert other.receive('{"n":1,"m":0}') is None
    assert other.receive('{"n":3,"m":2}') is None
    assert [2] == other.take()
    one.check_invariants()


def test_a_side_that_restarted_gets_only_what_it_had_not_acknowledged() -> None:
    """Its predecessor's acknowledgements count; what is left is numbered anew."""
    one, other = connected()
    one.send("acknowledged")
    carry(one, other)
    other.take()
    carry(one, other)
    one.send("not yet")
    carry(one, other)
    restarted = Link("other again")
    connect(one, restarted)
    assert ["not yet"] == restarted.take()
    assert "other again" == one.peer_id
    one.send("and on")
    carry(one, restarted)
    assert ["and on"] == restarted.take()


def test_a_sender_that_restarted_is_heard_from_its_first_message() -> None:
    """Its numbers start again, and what the old one left in the inbox stays readable."""
    one, other = connected()
    one.send("old 1")
    one.send("old 2")
    carry(one, other)
    assert ["old 1"] == other.take(1)
    restarted = Link("one again")
    restarted.send("new")
    connect(restarted, other)
    assert ["old 2", "new"] == other.take()
    carry(restarted, other)
    assert 0 == restarted.unacknowledged


def test_a_hello_that_was_lost_loses_nothing_else() -> None:
    """One side knows the other and is not known: both count from 1, for nothing was delivered."""
    one, other = Link("one"), Link("other")
    one.send("first")
    one.connect()
    other.connect()
    for frame in frames_of(other):
        assert one.receive(frame) is None
    assert 2 == len(frames_of(one))  # the hello and the message, both lost
    connect(one, other)
    assert ["first"] == other.take()
    assert "other" == one.peer_id


def test_two_servers_behind_one_name_do_not_lose_messages() -> None:
    """Going back to a peer whose numbering was given up starts a new one on both sides."""
    one, first, second = Link("one"), Link("first"), Link("second")
    taken = []
    for number, server in enumerate([first, second, first, second]):
        one.send(number)
        connect(one, server)
        taken += server.take()
        carry(one, server)
        server.lost()
    assert [0, 1, 2, 3] == taken


def test_a_hello_says_what_was_known_when_the_connection_began() -> None:
    """Both sides must judge alike, also where one is asked for its frames late."""
    one, _ = connected()
    new = Link("new")
    one.connect()
    new.connect()
    [hello] = frames_of(new)
    assert one.receive(hello) is None
    assert {"hello": "one", "of": "other", "seen": 0, "v": 1} == json.loads(one.next_frame() or "")


def test_a_name_is_told_to_the_other_side() -> None:
    """A client that restarts can say who it is."""
    one, other = Link("one", name="kitchen"), Link("other")
    connect(one, other)
    assert ("", "kitchen") == (one.peer_name, other.peer_name)


def test_a_server_finds_the_link_by_the_hello() -> None:
    """`read_hello` reads the first frame without a link."""
    client = Link("client", name="kitchen")
    client.connect()
    [frame] = frames_of(client)
    assert Hello("client", None, 0, "kitchen") == read_hello(frame)
    assert Hello("client", None, 0, "kitchen") == read_hello(frame.encode())


def test_closing_sends_what_is_queued_and_then_says_bye() -> None:
    """The other side has everything, and knows that the link is over."""
    one, other = connected()
    one.send("last words")
    one.close("tired")
    one.close("twice")
    with pytest.raises(GraphError, match=r"has ended \(tired\)"):
        one.send("too late")
    for frame in frames_of(one):
        other.receive(frame)
    assert ["last words"] == other.take()
    assert "closed by the other side: tired" == other.ended
    assert "tired" == other.refused
    assert "closed by us: tired" == one.ended
    with pytest.raises(GraphError, match="closed by the other side"):
        other.send("answer")


def test_a_link_that_ended_refuses_further_connections() -> None:
    """Nobody comes back with a link that has said bye."""
    one, _ = connected()
    one.close()
    frames_of(one)
    one.connect()
    assert [] == frames_of(one)
    assert one.refused == "the link has ended (closed by us: closed)"
    one.check_invariants()


def test_a_link_without_connection_takes_nothing_in() -> None:
    """Frames that come after `lost` belong to a connection that is over."""
    one, other = connected()
    other.send("late")
    one.lost()
    for frame in frames_of(other):
        assert one.receive(frame) is None
    assert not one.is_up
    assert [] == one.take()


# --- Random histories -----------------------------------------------------------------------------


class World:
    """Two sides, the connection between them, and what must hold about every message."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        # Some worlds are busy and some nearly quiet, so that the last frame is often the lost one.
        self.weights = [
            self.random.choice([2, 8, 20]),
            30,
            30,
            self.random.choice([5, 30]),
            3,
            6,
            1,
        ]
        self.links: list[Link] = [Link("0.0"), Link("1.0")]
        self.births = [0, 0]
        self.sent: dict[str, list[Any]] = {"0.0": [], "1.0": []}  # by the sender's link id
        self.taken: dict[str, list[Any]] = defaultdict(list)  # by the receiver's link id
        self.taken_by_any: set[str] = set()
        self.acknowledged: set[str] = set()
        self.channel: tuple[deque[str], deque[str]] | None = None  # to side 0, to side 1
        self.is_attached = [False, False]

    def step(self) -> None:
        name = self.random.choices(
            ["send", "move", "arrive", "take", "cut", "join", "restart"], self.weights
        )[0]
        getattr(self, name)(self.random.randrange(2))
        for side in (0, 1):
            self.links[side].check_invariants()
            self.note_acknowledged(side)

    def send(self, side: int) -> None:
        link = self.links[side]
        message = f"{link.link_id}/{len(self.sent[link.link_id])}"
        link.send(message)
        self.sent[link.link_id].append(message)

    def move(self, side: int) -> None:
        if self.channel is not None and self.is_attached[side]:
            frame = self.links[side].next_frame()
            if frame is not None:
                self.channel[1 - side].append(frame)

    def arrive(self, side: int) -> None:
        if self.channel is not None and self.channel[side]:
            if not self.is_attached[side]:  # a server joins when it has the first frame
                self.links[side].connect()
                self.is_attached[side] = True
            assert self.links[side].receive(self.channel[side].popleft()) is None

    def take(self, side: int) -> None:
        link = self.links[side]
        for message in link.take(self.random.choice([1, 2, 1000])):
            assert message not in self.acknowledged, "what was acknowledged came again"
            assert message not in self.taken[link.link_id], "one side got a message twice"
            self.taken[link.link_id].append(message)
            self.taken_by_any.add(message)

    def cut(self, side: int) -> None:
        """End the connection; one side may notice only when it joins the next."""
        if self.channel is not None:
            self.channel = None
            self.is_attached = [False, False]
            for each in self.random.sample([0, 1], self.random.randrange(3)):
                self.links[each].lost()

    def join(self, side: int) -> None:
        self.channel = (deque(), deque())
        for each in (side, 1 - side):
            self.is_attached[each] = each == side or self.random.random() < 0.5
            if self.is_attached[each]:
                self.links[each].connect()
            else:
                self.links[each].lost()

    def restart(self, side: int) -> None:
        self.cut(side)
        self.births[side] += 1
        self.links[side] = Link(f"{side}.{self.births[side]}")
        self.sent[self.links[side].link_id] = []

    def note_acknowledged(self, side: int) -> None:
        link = self.links[side]
        sent = self.sent[link.link_id]
        for message in sent[: len(sent) - link.unacknowledged]:
            assert message in self.taken_by_any, "acknowledged, but nobody has it"
            self.acknowledged.add(message)

    def settle(self) -> None:
        """Let everything through, without faults."""
        self.join(0)
        for _ in range(4 * sum(map(len, self.sent.values())) + 20):
            for side in (0, 1):
                self.move(side)
                self.arrive(1 - side)
                self.take(side)
        for side in (0, 1):
            self.note_acknowledged(side)
            assert 0 == self.links[side].unacknowledged
            assert set(self.sent[self.links[side].link_id]) <= self.taken_by_any
        for taken in self.taken.values():
            for sender in self.sent:
                from_one = [m for m in taken if m.startswith(f"{sender}/")]
                assert from_one == sorted(from_one, key=lambda m: int(m.split("/")[1]))


@pytest.mark.parametrize("block", range(10))
def test_nothing_is_lost_or_doubled_in_random_histories(block: int) -> None:
    """Cuts, restarts, half-open connections and slow readers at any moment."""
    for seed in range(block * 40, block * 40 + 40):
        world = World(seed)
        try:
            for _ in range(300):
                world.step()
            world.settle()
        except AssertionError as error:
            error.add_note(f"replay: World({seed}), 300 steps, settle()")
            raise


def test_the_same_calls_give_the_same_frames() -> None:
    """A link reads no clock and no randomness."""

    def history() -> list[str]:
        world = World(7)
        frames = []
        for _ in range(500):
            world.step()
            frames += [frame for queue in world.channel or () for frame in queue]
        return frames

    assert history() == history()


# --- Bounds -----------------------------------------------------------------------------------


def test_only_so_many_messages_wait_for_a_peer() -> None:
    """LINK_UNACKNOWLEDGED_MAX messages are kept; one more raises and changes nothing."""
    one, other = Link("one"), Link("other")
    for number in range(LINK_UNACKNOWLEDGED_MAX):
        one.send(number)
    with pytest.raises(GraphError, match="10000 messages"):
        one.send("one too many")
    connect(one, other)
    assert list(range(LINK_UNACKNOWLEDGED_MAX)) == other.take()
    carry(one, other)
    one.send("there is room again")


def test_only_so_many_bytes_wait_for_a_peer() -> None:
    """LINK_UNACKNOWLEDGED_BYTES_MAX bytes are kept; the receiver takes that many."""
    one, other = Link("one"), Link("other")
    big = "x" * (LINK_MESSAGE_BYTES_MAX - 2)
    for _ in range(LINK_UNACKNOWLEDGED_BYTES_MAX // LINK_MESSAGE_BYTES_MAX):
        one.send(big)
    with pytest.raises(GraphError, match="67108864 bytes"):
        one.send("")
    connect(one, other)
    assert 4 == len(other.take())


def test_a_message_has_a_greatest_size() -> None:
    """LINK_MESSAGE_BYTES_MAX bytes of UTF-8 go through, one more does not."""
    one, other = connected()
    one.send("é" * (LINK_MESSAGE_BYTES_MAX // 2 - 1))
    with pytest.raises(GraphError, match="16777217 bytes, 16777216 are allowed"):
        one.send("é" * (LINK_MESSAGE_BYTES_MAX // 2 - 1) + "x")
    carry(one, other)
    assert 1 == len(other.take())


@pytest.mark.parametrize(
    "message",
    [float("nan"), float("inf"), b"bytes", {1: 2}, {"a": object()}, "\ud800", 2**64, {1, 2}],
    ids=lambda message: type(message).__name__,
)
def test_what_is_not_json_is_not_sent(message: object) -> None:
    """The error says so where the mistake is, not at the other side."""
    one, _ = connected()
    with pytest.raises(GraphError, match="this message cannot be sent: "):
        one.send(message)
    assert 0 == one.unacknowledged


def test_a_message_with_too_many_values_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small values take far more memory than their text; both sides count alike."""
    monkeypatch.setattr(link_module, "JSON_VALUES_MAX", 1_000)
    one, other = connected()
    one.send([0] * 999 + ["a"])
    carry(one, other)
    assert 1000 == len(other.take()[0])
    with pytest.raises(GraphError, match="more than 1000 values"):
        one.send([0] * 1_001)
    assert other.receive('{"n":2,"m":[' + "0," * 1_010 + "0]}") is not None


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 12345678901234567890, 1.5e300])
def test_the_greatest_numbers_and_the_deepest_message_go_through(number: float) -> None:
    """What the sender may send, the receiver takes; an own limit would block the link for ever."""
    one, other = connected()
    messages = [number, {"id": "00000000000000000000", "n": [number]}]
    deep: Any = number
    for level in range(127):
        deep = [deep, []] if level % 2 and level < 126 else {"a": deep}
    messages.append(deep)
    for message in messages:
        one.send(message)
    with pytest.raises(GraphError, match="nested deeper"):
        one.send([deep])
    carry(one, other)
    assert messages == other.take()


def test_changing_a_message_after_sending_it_changes_nothing() -> None:
    """It was copied."""
    one, other = connected()
    message = {"list": [1]}
    one.send(message)
    message["list"].append(2)
    carry(one, other)
    assert [{"list": [1]}] == other.take()


def test_one_encoding_serves_many_links() -> None:
    """A broadcast is encoded once."""
    encoded = encode_message({"a": 1})
    one, other = connected()
    one.send_encoded(encoded)
    carry(one, other)
    assert [{"a": 1}] == other.take()


@pytest.mark.parametrize("bad", ["", "x" * (LINK_NAME_LENGTH_MAX + 1), None, 5])
def test_link_ids_are_short_texts(bad: Any) -> None:
    """A wrong id is found when the link is made."""
    with pytest.raises(GraphError, match="a link id must be"):
        Link(bad)
    if bad != "":
        with pytest.raises(GraphError, match="the name of a link must be"):
            Link("id", name=bad)


# --- Hostile frames -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "not JSON"),
        ("null", "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ("{}", "must be one of"),
        ('{"n":1}', "must be one of"),
        ('{"m":1}', "'n' in a frame must be"),
        ('{"n":0,"m":1}', "out of order"),
        ('{"n":2,"m":1}', "out of order"),
        ('{"n":-1,"m":1}', "'n' in a frame must be"),
        ('{"n":1.0,"m":1}', "'n' in a frame must be"),
        ('{"n":true,"m":1}', "'n' in a frame must be"),
        ('{"n":9007199254740992,"m":1}', "'n' in a frame must be"),
        ('{"n":1,"m":NaN}', "not JSON"),
        ('{"n":1,"m":1e999}', "not JSON"),
        ('{"n":1,"m":18446744073709551616}', "outside"),
        ('{"n":1,"m":"\\ud800"}', "not JSON"),
        ('{"n":1,"m":"\ud800"}', "not Unicode"),
        (b'{"n":1,"m":"\xff"}', "not JSON"),
        (b'\xef\xbb\xbf{"n":1,"m":1}', "not JSON"),
        ('{"n":1,"m":1}{', "not JSON"),
        ('{"n":1,"m":' + "[" * 128 + "]" * 128 + "}", "nested deeper"),
        ('{"n":1,"m":' + '[[],{"a":' * 90 + "1" + "}]" * 90 + "}", "nested deeper"),
        ("[" * 100_000, "not JSON"),
        ('{"a":1}', "only 0 were sent"),
        ('{"a":"1"}', "'a' in a frame must be"),
        ('{"bye":1}', "must be a short text"),
        ('{"bye":"' + "x" * 300 + '"}', "must be a short text"),
        ('{"hello":"peer","of":null,"seen":0,"v":1}', "after one hello"),
        ("x" * (LINK_MESSAGE_BYTES_MAX + 65), "16777281 bytes"),
        ("é" * (LINK_MESSAGE_BYTES_MAX // 2 + 33), "are allowed"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_frame_of_no_honest_peer_closes_the_connection(frame: str | bytes, reason: str) -> None:
    """The reason is told, nothing is taken in, and an honest reconnect goes on."""
    one, other = connected()
    one.send("kept")
    refusal = one.receive(frame)
    assert refusal is not None
    assert reason in refusal
    assert refusal == one.refused
    assert not one.is_up
    assert [] == frames_of(one)
    assert refusal == one.receive('{"n":1,"m":"after"}')
    assert [] == one.take()
    connect(one, other)
    assert ["kept"] == other.take()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hello": "one"}, "echo"),
        ({"hello": ""}, "empty"),
        ({"hello": 5}, "short texts"),
        ({"hello": None}, "must be a hello"),
        ({"hello": "x" * 257}, "short texts"),
        ({"of": 5}, "short texts"),
        ({"of": "x" * 257}, "short texts"),
        ({"name": None}, "short texts"),
        ({"name": "x" * 257}, "short texts"),
        ({"seen": -1}, "'seen' in a frame"),
        ({"seen": None}, "'seen' in a frame"),
        ({"v": 2}, "speaks version 2"),
        ({"v": "x" * 1000}, "speaks version 'xxx"),
    ],
    ids=case_name,
)
def test_a_wrong_hello_closes_the_connection(fields: dict[str, Any], reason: str) -> None:
    """Who does not greet properly gets nothing; a server finds out without a link."""
    one = Link("one")
    assert reason in (greeted(one, **fields) or "")
    assert not one.is_up
    if fields != {"hello": "one"}:
        with pytest.raises(GraphError, match=reason):
            read_hello(json.dumps({"hello": "peer", "of": None, "seen": 0, "v": 1, **fields}))


@pytest.mark.parametrize("seen", [0, 3])
def test_a_hello_cannot_claim_another_past(seen: int) -> None:
    """Less than was acknowledged, or more than was sent, is a copy of an old state or a lie."""
    one, other = connected()
    one.send("taken")
    carry(one, other)
    other.take()
    carry(one, other)
    one.send("sent")
    carry(one, other)
    refusal = greeted(one, hello="other", of="one", seen=seen)
    assert refusal is not None
    assert f"claims to have seen message {seen}" in refusal
    assert 1 == one.unacknowledged


def test_messages_before_the_hello_are_refused() -> None:
    """Nobody speaks before he has said who he is."""
    one = Link("one")
    one.connect()
    assert "must be a hello" in (one.receive('{"n":1,"m":1}') or "")


def test_a_repeated_message_number_is_refused() -> None:
    """On one connection numbers only rise."""
    one = Link("one")
    assert greeted(one) is None
    assert one.receive('{"n":1,"m":1}') is None
    assert "out of order" in (one.receive('{"n":1,"m":1}') or "")
    assert [1] == one.take()


def test_a_flood_that_nobody_reads_is_cut_off() -> None:
    """An honest peer stops at LINK_UNACKNOWLEDGED_MAX; another one fills no memory."""
    one = Link("one")
    assert greeted(one) is None
    for number in range(1, LINK_UNACKNOWLEDGED_MAX + 1):
        assert one.receive(f'{{"n":{number},"m":0}}') is None
    refusal = one.receive(f'{{"n":{LINK_UNACKNOWLEDGED_MAX + 1},"m":0}}')
    assert "more messages were sent" in (refusal or "")
    assert LINK_UNACKNOWLEDGED_MAX == len(one.take())


def test_a_flood_of_huge_messages_is_cut_off() -> None:
    """The inbox is bounded in bytes, too, also over many restarts of the peer."""
    one = Link("one")
    frame = '{"n":1,"m":"' + "x" * (LINK_MESSAGE_BYTES_MAX - 100) + '"}'
    refusals = []
    for restart in range(8):
        assert greeted(one, hello=f"peer {restart}") is None
        refusals.append(one.receive(frame))
        one.check_invariants()
    assert [False] * 5 == [bool(refusal) for refusal in refusals[:5]]
    assert all("more messages were sent" in (refusal or "") for refusal in refusals[5:])


def test_a_peer_that_always_restarts_fills_no_memory() -> None:
    """Each hello of a new link forgets the one before."""
    one = Link("one")
    one.send("waits")
    for restart in range(1_000):
        assert greeted(one, hello=f"peer {restart}") is None
        frames_of(one)
        one.check_invariants()
    assert 1 == one.unacknowledged


FRAMES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60),
    st.dictionaries(
        st.sampled_from(["hello", "of", "seen", "v", "name", "n", "m", "a", "bye", "x"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(-1, 4), st.floats(), st.text(max_size=3),
            st.sampled_from(["one", "other"]), st.lists(st.integers(), max_size=2),
        ),
    ).map(json.dumps),
    st.sampled_from([
        '{"hello":"other","of":null,"seen":0,"v":1}', '{"hello":"other","of":"one","seen":1,"v":1}',
        '{"n":1,"m":1}', '{"n":2,"m":2}', '{"a":1}', '{"a":2}',
    ]),
)  # fmt: skip


@given(st.lists(st.lists(FRAMES, max_size=5), max_size=4))
def test_no_frames_break_a_link(connections: list[list[str | bytes]]) -> None:
    """Whatever comes over whatever number of connections, nothing is raised."""
    one = Link("one")
    one.send("first")
    one.send("second")
    for frames in connections:
        one.connect()
        frames_of(one)
        for frame in frames:
            reason = one.receive(frame)
            assert reason is None or reason
            frames_of(one)
            one.check_invariants()
        one.take()
    one.check_invariants()
