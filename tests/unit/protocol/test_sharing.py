"""What devices tell each other of pairings and refusals, with clocks that are wrong."""

from __future__ import annotations

import pytest

from cytosol.limits import LAMPORT_MAX, PAIRINGS_MAX, PAIRINGS_OF_ONE_MAX
from cytosol.model.ids import PeerId
from cytosol.protocol import sharing
from cytosol.protocol.seams import Refusal
from cytosol.protocol.sharing import Sharing
from cytosol.wire.messages import RefusedPeer, SharedPeer, SharePeersParams
from tests.simulation.machine_fakes import MemoryPairings

T = 1_800_000_000.0
HOUR, DAY, YEAR = 3_600.0, 86_400.0, 365 * 86_400.0
CLOCKS = [0.0, HOUR, -HOUR, YEAR, -YEAR]


def peer_id(name: str) -> PeerId:
    return name.encode().ljust(16, b"\0")


def key_of(name: str) -> bytes:
    return name.encode().ljust(32, b"k")


class Device:
    """What one device knows of others; `clock_s` is how far its clock is ahead."""

    def __init__(self, name: str, clock_s: float = 0.0, *, trust: bool = True) -> None:
        self.name = name
        self.clock_s = clock_s
        self.pairings = MemoryPairings()
        self.sharing = Sharing(peer_id(name), self.pairings, trust=trust)

    def pair(self, name: str, at_s: float) -> None:
        """Pair by hand, on this side."""
        self.sharing.pair(peer_id(name), name, key_of(name), at_s + self.clock_s)

    def unpair(self, name: str, at_s: float) -> None:
        self.sharing.unpair(self.pairings.paired()[peer_id(name)], at_s + self.clock_s)

    def params(self, receiver: str, at_s: float) -> SharePeersParams:
        """Return what arrives of what this device tells, after the wire."""
        params = self.sharing.params_for(peer_id(receiver), at_s + self.clock_s)
        return SharePeersParams.from_json(params.to_json())

    def hear(self, sender: str, params: SharePeersParams, at_s: float) -> list[str]:
        """Take what a device tells; return who was dropped."""
        _, dropped = self.sharing.apply(peer_id(sender), params, at_s + self.clock_s)
        return [each.name for each in dropped]

    def tell(self, other: Device, at_s: float) -> list[str]:
        """Tell a device what this one knows; return whom that one dropped."""
        return other.hear(self.name, self.params(other.name, at_s), at_s)

    def is_paired(self, name: str) -> bool:
        return peer_id(name) in self.pairings.paired()

    def refuses(self, name: str) -> bool:
        return peer_id(name) in self.pairings.refused()


def shares(*names: str) -> SharePeersParams:
    return SharePeersParams(tuple(SharedPeer(peer_id(n), n, key_of(n)) for n in names))


def refuses(*names: str, age_ms: int = 0, since_ms: int = LAMPORT_MAX) -> SharePeersParams:
    return SharePeersParams(
        (), tuple(RefusedPeer(peer_id(n), key_of(n), since_ms, age_ms) for n in names)
    )


def two_with_mallory(clock_a: float = 0.0, clock_b: float = 0.0) -> tuple[Device, Device]:
    """Return two devices, paired with each other and with a hostile one, all by hand."""
    a, b = Device("A", clock_a), Device("B", clock_b)
    a.pair("B", T)
    b.pair("A", T)
    for device in (a, b):
        device.pair("M", T + 1)
    return a, b


# --- Unpair lasts ---------------------------------------------------------------------------


@pytest.mark.parametrize("clock_b", CLOCKS)
def test_a_device_that_was_only_brought_yields_to_every_refusal(clock_b: float) -> None:
    """B hears of Mallory's second key long after A, and after A has refused it."""
    a, b = two_with_mallory(0.0, clock_b)
    a.hear("M", shares("M2"), T + 10)
    b.hear("M", shares("M2"), T + 600)
    a.unpair("M2", T + 300)
    assert ["M2"] == a.tell(b, T + 3_600)
    assert b.refuses("M2")
    b.tell(a, T + DAY)
    b.hear("M", shares("M2"), T + DAY)
    assert not a.is_paired("M2")
    assert not b.is_paired("M2")


@pytest.mark.parametrize("clock_a", CLOCKS)
@pytest.mark.parametrize("clock_b", CLOCKS)
def test_unpair_reaches_who_has_paired_by_hand_before_it(clock_a: float, clock_b: float) -> None:
    """Whatever the clocks say, and however late it is told."""
    a, b = two_with_mallory(clock_a, clock_b)
    a.unpair("M", T + 100)
    assert ["M"] == a.tell(b, T + 30 * DAY)
    assert not b.is_paired("M")


@pytest.mark.parametrize("clock_a", CLOCKS)
@pytest.mark.parametrize("clock_c", CLOCKS)
def test_what_is_told_is_no_later_than_what_was_done_by_hand_after_it(
    clock_a: float, clock_c: float
) -> None:
    """Mallory gives A and C a refusal of B; A and B pair again; C comes back later."""
    a, c = Device("A", clock_a), Device("C", clock_c)
    for device in (a, c):
        device.pair("B", T)
        device.pair("M", T)
    a.pair("C", T)
    c.pair("A", T)
    assert ["B"] == a.hear("M", refuses("B"), T + 10)
    assert ["B"] == c.hear("M", refuses("B", since_ms=5), T + 600)
    a.unpair("M", T + 3_500)
    a.pair("B", T + 3_600)
    assert [] == c.tell(a, T + 7_200)
    assert a.is_paired("B")


def test_a_clock_that_was_ahead_undoes_a_pairing_at_most_once() -> None:
    """A unpairs X while its clock is a year ahead; then it is set right, and tells no more ages."""
    a, b = Device("A", YEAR), Device("B")
    a.pair("B", T)
    a.pair("X", T)
    a.unpair("X", T + 10)
    a.clock_s = 0.0
    b.pair("A", T)
    b.pair("X", T + 60)
    assert ["X"] == a.tell(b, T + 100)
    b.pair("X", T + 200)
    assert [] == a.tell(b, T + 300)
    assert [] == a.tell(b, T + DAY)
    assert b.is_paired("X")


def test_a_pairing_in_the_future_yields_to_every_refusal() -> None:
    """It was made while the clock was ahead, and nobody knows when."""
    a, b = Device("A"), Device("B", YEAR)
    for device, other in ((a, "B"), (b, "A")):
        device.pair(other, T)
        device.pair("X", T)
    b.clock_s = 0.0
    a.unpair("X", T + 10)
    assert ["X"] == a.tell(b, T + 100)


def test_a_later_refusal_takes_the_place_of_an_earlier_one_and_is_told() -> None:
    """A has refused X, B pairs it by hand, and C unpairs it for good: A tells B."""
    a, b, c = Device("A"), Device("B"), Device("C")
    for one, two in ((a, "B"), (b, "A"), (c, "A"), (a, "C")):
        one.pair(two, T)
    a.pair("X", T)
    a.unpair("X", T + 10)
    for device in (b, c):
        device.pair("X", T + HOUR)
    assert [] == a.tell(b, T + 2 * HOUR)
    c.unpair("X", T + 3 * HOUR)
    c.tell(a, T + 4 * HOUR)
    assert ["X"] == a.tell(b, T + 5 * HOUR)
    assert a.pairings.refused()[peer_id("X")].told_by is None  # A's own, nevertheless


def test_refusals_do_not_grow_younger_by_being_told_to_and_fro() -> None:
    """Time on the way makes them look a little younger, also where two devices have unpaired."""
    a, b = two_with_mallory()
    a.unpair("M", T + 10)
    b.unpair("M", T + 11)
    for number in range(1_000):
        at_s = T + 100 + number
        b.hear("A", a.params("B", at_s - 0.5), at_s)
        a.hear("B", b.params("A", at_s - 0.5), at_s)
    assert T + 12 > a.pairings.refused()[peer_id("M")].since_s
    assert T + 12 > b.pairings.refused()[peer_id("M")].since_s


def test_a_refusal_of_unknown_age_ends_what_was_brought_only() -> None:
    """Who paired by hand knows better than somebody who knows no time."""
    a, b = two_with_mallory()
    a.hear("M", shares("X"), T + 2)
    unknown = refuses("X", "B", age_ms=LAMPORT_MAX, since_ms=0)
    assert ["X"] == a.hear("M", unknown, T + 3)
    assert LAMPORT_MAX == a.params("B", T + DAY).refused[0].age_ms
    assert [] == b.hear("A", unknown, T + 4)


def test_a_refusal_under_another_key_is_void() -> None:
    """Nor does it change one that is known."""
    a, b = two_with_mallory()
    other = RefusedPeer(peer_id("B"), b"x" * 32, 7, 0)
    assert [] == a.hear("M", SharePeersParams((), (other,)), T + 5)
    b.unpair("M", T + 6)
    known = dict(b.pairings.refused())
    other = RefusedPeer(peer_id("M"), b"x" * 32, 7, 0)
    b.hear("A", SharePeersParams((), (other,)), T + DAY)
    assert known == b.pairings.refused()


# --- Bounds ---------------------------------------------------------------------------------


def invented(count: int, mark: str = "x") -> list[str]:
    return [f"{mark}{number}" for number in range(count)]


def test_invented_refusals_end_no_sharing_and_hide_no_real_one() -> None:
    """Mallory fills what it may; what people did by hand is kept, comes first, and is told."""
    a, b = two_with_mallory()
    for name in ("P", "Q"):
        a.pair(name, T + 2)
        b.pair(name, T + 2)
    a.hear("M", refuses(*invented(1_022)), T + 3)
    assert PAIRINGS_OF_ONE_MAX == len(a.pairings.refused())
    for name in ("P", "Q", "M"):
        a.unpair(name, T + 4)
    assert ["P", "Q", "M"] == sorted(a.tell(b, T + 5), key="PQM".index)
    a.tell(b, T + 6)
    b.pair("N", T + 7)
    b.tell(a, T + 8)
    assert a.is_paired("N")
    assert b.params("A", T + 9).paired


def test_what_a_device_says_no_more_makes_room_for_what_it_says() -> None:
    """Its oldest ones go, and those that it names stay, however old they are."""
    a, _ = two_with_mallory()
    a.hear("M", refuses(*invented(PAIRINGS_OF_ONE_MAX, "x")), T + 3)
    old = [RefusedPeer(peer_id("old"), key_of("old"), 1, LAMPORT_MAX)]
    a.hear("M", SharePeersParams((), tuple(old)), T + 4)
    assert a.refuses("old")
    assert PAIRINGS_OF_ONE_MAX == len(a.pairings.refused())


def test_refusals_of_many_devices_are_bounded_in_all() -> None:
    """Those go first that were told by a device that is not paired any more, then the oldest."""
    a = Device("A")
    a.pair("own", T)
    a.unpair("own", T + 1)
    tellers = [f"T{number}" for number in range(5)]
    for at_s, teller in enumerate(tellers, 10):
        a.pair(teller, T + 2)
        a.hear(teller, refuses(*invented(PAIRINGS_OF_ONE_MAX, teller + "-")), T + at_s)
    kept = [each.told_by for each in a.pairings.refused().values()]
    assert 1 + PAIRINGS_MAX == len(kept)
    assert {peer_id(teller) for teller in tellers[1:]} | {None} == set(kept)
    a.unpair("T4", T + 20)
    a.pair("T0", T + 21)
    a.hear("T0", refuses(*invented(PAIRINGS_OF_ONE_MAX, "again-")), T + 22)
    kept = [each.told_by for each in a.pairings.refused().values()]
    assert peer_id("T4") not in kept
    assert kept.count(peer_id("T1")) == PAIRINGS_OF_ONE_MAX
    assert a.refuses("own")


def test_one_device_cannot_take_up_all_the_room_for_pairings() -> None:
    """Another one still brings some, and those paired by hand are told first."""
    a, b = two_with_mallory()
    a.hear("M", shares(*invented(1_024)), T + 2)
    assert 2 + PAIRINGS_OF_ONE_MAX == len(a.pairings.paired())
    a.pair("N", T + 3)
    a.tell(b, T + 4)
    assert b.is_paired("N")
    assert b.pairings.paired()[peer_id("N")].shared_by == peer_id("A")
    for number in range(5):
        a.pair(f"T{number}", T + 5)
    for number in range(5):
        a.hear(f"T{number}", shares(*invented(256, f"T{number}-")), T + 6)
    assert PAIRINGS_MAX == len(a.pairings.paired())


def test_pairings_by_hand_are_told_to_the_last_when_there_are_many_refusals() -> None:
    """Refusals never take more than a quarter of a message."""
    a = Device("A")
    for name in invented(600):
        a.pair(name, T)
        a.unpair(name, T + 1)
    for name in invented(800, "y"):
        a.pair(name, T)
    params = a.params("B", T + 2)
    assert (PAIRINGS_OF_ONE_MAX, PAIRINGS_MAX) == (
        len(params.refused),
        len(params.refused) + len(params.paired),
    )


def test_without_trust_nobody_is_brought_and_refusals_count() -> None:
    """trust_shared_peers=False."""
    a = Device("A", trust=False)
    a.pair("B", T)
    a.pair("X", T)
    a.hear("B", shares("C"), T + 1)
    assert not a.is_paired("C")
    assert ["X"] == a.hear("B", refuses("X"), T + 2)


def test_nobody_is_told_of_itself_and_nobody_speaks_of_the_receiver() -> None:
    """Neither the receiver nor the sender may be named."""
    a, b = two_with_mallory()
    assert [] == a.hear("M", refuses("A", "M"), T + 2)
    a.hear("M", shares("A", "M"), T + 3)
    assert {peer_id("B"), peer_id("M")} == set(a.pairings.paired())
    a.unpair("B", T + 4)
    assert () == a.params("B", T + 5).refused
    assert Refusal(key_of("B"), T + 4, round((T + 4) * 1_000)) == a.pairings.refused()[peer_id("B")]
    assert b.is_paired("A")


def test_a_device_that_ended_the_pairing_is_not_brought_back() -> None:
    """Until it is paired by hand again."""
    a, _ = two_with_mallory()
    a.sharing.ended_by_peer(peer_id("B"))
    a.hear("M", shares("B"), T + 5)
    assert not a.is_paired("B")
    a.pair("B", T + 6)
    assert a.is_paired("B")


def test_of_devices_that_ended_pairings_the_latest_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One device could bring ever more that do."""
    monkeypatch.setattr(sharing, "PAIRINGS_MAX", 2)
    a, _ = two_with_mallory()
    for name in ("B", "C", "D"):
        a.sharing.ended_by_peer(peer_id(name))
    a.hear("M", shares("B", "C", "D"), T + 5)
    assert a.is_paired("B")
    assert not a.is_paired("C")
    assert not a.is_paired("D")
