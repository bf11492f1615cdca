"""What is held while keys are being derived: how much, in which order, and for how long."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.session.fakes import Upstream
from tests.support.waiting import wait_until
from trio_livekit._sansio.encryption.complaints import Complaint, DecryptionFailureReason
from trio_livekit._sansio.encryption.key import Key, KeyDerivation
from trio_livekit._sansio.encryption.keys import Keys
from trio_livekit._sansio.encryption.sealer import Sealer
from trio_livekit._sansio.packets import messages as p
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session import sealing as module
from trio_livekit._session.packet_sealing import PacketSealing
from trio_livekit._session.sealing import EncryptionOptions, Opening, Sealing, Verdict
from trio_livekit._session.subscribing import Subscribing, TrackPublished
from trio_livekit._wire.data import encode_sealed
from trio_livekit.errors import MissingKey, SubscribeError, SubscribeErrorReason

if TYPE_CHECKING:
    from collections.abc import Iterator

DROPPED, HELD = Verdict.DROPPED, Verdict.HELD


def make_key(material: bytes = b"the key") -> Key:
    key = Key(material, KeyDerivation.HKDF)
    key.derive()
    return key


class Bench:
    """What ``bob`` sends, who may ratchet; deriving the keys that follow waits for ``gate``."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.keys = Keys()
        self.keys.set(None, make_key(), 0, send=True)
        self.told: list[Complaint] = []
        options = EncryptionOptions(self.keys, ratchet_window=4, failure_tolerance=None, plaintext_from=frozenset())
        self.sealing = Sealing(options, nursery, self.told.append)
        self.sealing.on_joined("alice")
        self.resumed: list[tuple[int, bytes | None]] = []
        self.opening = self.new_opening()
        self.theirs = make_key()
        self.gate = threading.Event()

    def new_opening(self, *, bounded: bool = True) -> Opening[int]:
        return self.sealing.opening("bob", lambda item, opened: self.resumed.append((item, opened)), bounded=bounded)

    def ratchet(self) -> None:
        self.theirs = make_key(self.theirs.ratcheted().material)

    def sealed(self, plaintext: bytes = b"plaintext", key: Key | None = None) -> tuple[bytes, int, bytes]:
        data, iv = Sealer(key or self.theirs, 0, _counted).seal(plaintext)
        return data, 0, iv

    async def searched(self, count: int) -> None:
        """Let keys be derived until so many that were held went on."""
        self.gate.set()
        await wait_until(lambda: len(self.resumed) >= count)


_count = iter(range(1, 1 << 30))


def _counted(size: int) -> bytes:
    return next(_count).to_bytes(size // 2, "big") * 2


@pytest.fixture
def bench(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(nursery)
    genuine = Key.ratcheted
    trio_thread = threading.get_ident()

    def ratcheted(self: Key) -> Key:
        if threading.get_ident() != trio_thread:
            assert bench.gate.wait(10)
        return genuine(self)

    monkeypatch.setattr(Key, "ratcheted", ratcheted)
    yield bench
    bench.gate.set()


async def test_everything_behind_one_that_has_to_wait_waits_too_and_keeps_its_place(bench: Bench) -> None:
    assert bench.opening.open(0, *bench.sealed(b"0")) == b"0"
    bench.ratchet()
    for number in range(1, 4):
        assert bench.opening.open(number, *bench.sealed(b"%d" % number)) is HELD
    assert bench.opening.open(4, *bench.sealed(b"4", make_key())) is HELD  # it could be opened, and would be early
    assert bench.opening.open(5, *bench.sealed(b"5", make_key(b"another"))) is HELD
    bench.ratchet()
    assert bench.opening.open(6, *bench.sealed(b"6")) is HELD
    await bench.searched(6)
    assert bench.resumed == [(1, b"1"), (2, b"2"), (3, b"3"), (4, b"4"), (5, None), (6, b"6")]
    assert bench.opening.dropped == 1
    assert bench.told == [Complaint("bob", DecryptionFailureReason.UNDECRYPTABLE, 1)]
    assert bench.opening.open(7, *bench.sealed(b"7")) == b"7"


async def test_what_cannot_be_opened_is_searched_for_once(bench: Bench) -> None:
    wrong = make_key(b"another")
    assert bench.opening.open(0, *bench.sealed(key=wrong)) is HELD
    await bench.searched(1)
    assert bench.resumed == [(0, None)]
    assert bench.opening.open(1, *bench.sealed(key=wrong)) is DROPPED
    assert bench.sealing.opening("carol", lambda _item, _opened: None).open(0, *bench.sealed(key=wrong)) is DROPPED


async def test_several_openings_wait_for_one_search(bench: Bench) -> None:
    other = bench.new_opening()
    bench.ratchet()
    assert bench.opening.open(1, *bench.sealed(b"1")) is HELD
    assert other.open(2, *bench.sealed(b"2")) is HELD
    await bench.searched(2)
    assert bench.resumed == [(1, b"1"), (2, b"2")]


@pytest.mark.parametrize(("limit", "value"), [("_MAX_HELD", 3), ("_MAX_HELD_BYTES", 3 * (100 + 16))])
async def test_what_is_held_is_bounded_and_the_newest_is_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(module, limit, value)
    bench.ratchet()
    verdicts = [bench.opening.open(number, *bench.sealed(bytes(100))) for number in range(5)]
    assert verdicts == [HELD, HELD, HELD, DROPPED, DROPPED]
    assert bench.told == [Complaint("bob", DecryptionFailureReason.OVERFLOW, 1)]
    await bench.searched(3)
    assert [item for item, _ in bench.resumed] == [0, 1, 2]
    assert bench.sealing.failures == {DecryptionFailureReason.OVERFLOW: 2}


async def test_what_is_bounded_elsewhere_is_all_held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_HELD", 3)
    opening = bench.new_opening(bounded=False)
    bench.ratchet()
    assert [opening.open(number, *bench.sealed()) for number in range(100)] == [HELD] * 100
    await bench.searched(100)
    assert [item for item, _ in bench.resumed] == list(range(100))


async def test_senders_of_any_number_are_remembered_up_to_a_bound(bench: Bench) -> None:
    for number in range(3000):
        bench.sealing.opening(f"sender {number}", lambda _item, _opened: None)
    assert len(bench.sealing._senders) == 1024


async def test_leaving_while_keys_are_being_derived(bench: Bench) -> None:
    """The search ends with the nursery it runs in, when the thread is done with the key at hand."""
    async with trio.open_nursery() as nursery:
        bench.sealing._background = nursery
        bench.ratchet()
        bench.ratchet()
        assert bench.opening.open(0, *bench.sealed()) is HELD
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        bench.gate.set()
    assert bench.resumed == []


async def test_sealing_follows_the_keys(bench: Bench) -> None:
    data, info = bench.sealing.seal(b"x")
    assert bench.keys.get(None, None).open(data, info.iv) == b"x"
    bench.keys.set("alice", make_key(b"hers"), 5, send=True)
    data, info = bench.sealing.seal(b"x")
    assert info.key_index == 5
    assert make_key(b"hers").open(data, info.iv) == b"x"
    bench.keys.remove("alice")
    bench.keys.remove(None)
    with pytest.raises(MissingKey):
        bench.sealing.seal(b"x")


async def test_a_track_encrypted_in_a_way_we_do_not_know(bench: Bench) -> None:
    told: list[object] = []
    subscribing = Subscribing(Upstream(), told.append, lambda _: None, bench.sealing)
    info = m.DataTrackInfo(1, "DTR_x", "secret", m.EncryptionType.CUSTOM)
    subscribing.on_participant(m.ParticipantInfo("PA_1", "bob", data_tracks=(info,)))
    (published,) = told
    assert isinstance(published, TrackPublished)
    with pytest.raises(SubscribeError, match="in a way that is not known here") as refused:
        await published.track.open_reader(1, 1)
    assert refused.value.reason is SubscribeErrorReason.ENCRYPTED


# --- packets ----------------------------------------------------------------------------------------------------------


async def test_packets_that_decrypt_to_nonsense(bench: Bench) -> None:
    packets = PacketSealing(bench.sealing, lambda *_: None)

    def packet(plaintext: bytes) -> p.DataPacket:
        data, index, iv = bench.sealed(plaintext)
        return p.DataPacket(p.Encrypted(iv, index, data), "bob")

    value = p.UserPacket(b"payload", "topic")
    assert packets.open(packet(encode_sealed(value)), 100) == value
    assert packets.open(packet(b"\xff\xff\xff"), 100) is DROPPED
    assert bench.told == [Complaint("bob", DecryptionFailureReason.MALFORMED, 1)]
    assert packets.open(packet(b""), 100) is DROPPED  # of no kind that we know, which is nobody's fault
    assert len(bench.told) == 1


async def test_lossy_packets_do_not_wait_for_reliable_ones(bench: Bench) -> None:
    held: list[object] = []
    packets = PacketSealing(bench.sealing, lambda *resumed: held.append(resumed))
    old, (data, index, iv) = bench.theirs, bench.sealed(encode_sealed(p.UserPacket(b"lossy")))
    bench.ratchet()
    reliable, _, reliable_iv = bench.sealed(encode_sealed(p.UserPacket(b"reliable")))
    assert packets.open(p.DataPacket(p.Encrypted(reliable_iv, 0, reliable), "bob"), 100) is HELD
    assert packets.open(p.DataPacket(p.Encrypted(iv, index, data), "bob"), 0) == p.UserPacket(b"lossy")
    assert old is not bench.theirs
    bench.gate.set()
    await wait_until(lambda: held)
    assert held[0][1:] == (100, p.UserPacket(b"reliable"))  # type: ignore[index]


async def test_any_number_of_senders_of_packets(bench: Bench) -> None:
    packets = PacketSealing(bench.sealing, lambda *_: None)
    data, index, iv = bench.sealed(encode_sealed(p.UserPacket(b"x")))
    for number in range(3000):
        packets.open(p.DataPacket(p.Encrypted(iv, index, data), f"sender {number}"), 100)
    assert len(packets._openings) == 1024
