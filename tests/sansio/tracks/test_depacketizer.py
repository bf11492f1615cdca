"""Packets into frames: every vector, the counts, and interleavings against a plain model."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.tracks.vectors import MARKERS, VECTORS
from trio_livekit._sansio.tracks.depacketizer import Depacketizer, Drop, DropReason, TrackFrame
from trio_livekit._sansio.tracks.packet import FINAL, INTER, SINGLE, START, EncryptionInfo, Packet, decode, encode

REASONS = {reason.name.lower(): reason for reason in DropReason}


def packet(marker: int, sequence: int, number: int, payload: bytes = b"", timestamp: int | None = None) -> Packet:
    return Packet(marker, 1, sequence, number, 0, timestamp, None, payload)


def packets_of(entries: list[dict[str, Any]]) -> list[Packet]:
    """The packets of a vector, with its ``repeat`` entries written out."""
    packets: list[Packet] = []
    for entry in entries:
        if "repeat" in entry:
            last = int(entry["repeat"].rsplit(" ", 1)[1])
            number = packets[-1].frame_number
            packets += [packet(INTER, s, number, b"\x01") for s in range(packets[-1].sequence + 1, last + 1)]
        else:
            packets.append(
                packet(
                    MARKERS[entry["marker"]],
                    entry["sequence"],
                    entry["frame"],
                    bytes.fromhex(entry["payload"]),
                    entry["user_timestamp"],
                )
            )
    return packets


def drop_of(entry: dict[str, Any] | None) -> Drop | None:
    if entry is None:
        return None
    return Drop(entry["frame"], REASONS[entry["reason"]], entry.get("received"), entry.get("expected"), entry.get("by"))


@pytest.mark.parametrize("vector", VECTORS["depacketizer"], ids=lambda vector: vector["name"])
def test_vector(vector: dict[str, Any]) -> None:
    core = Depacketizer(max_partial_frames=vector["max_partial_frames"])
    packets = packets_of(vector["packets"])
    if "results" in vector:
        expected = dict(enumerate(vector["results"]))
        assert len(expected) == len(packets)
    else:
        expected = {entry["step"]: entry for entry in vector["results_nonempty"]}
        assert max(expected) == len(packets) - 1
    for step, item in enumerate(packets):
        frame = core.push(item)
        result = expected.get(step, {"frame": None, "drop": None})
        assert core.take_drop() == drop_of(result["drop"])
        if result["frame"] is None:
            assert frame is None
            continue
        assert frame is not None
        assert (frame.number, frame.user_timestamp) == (
            result["frame"]["number"],
            result["frame"]["user_timestamp"],
        )
        if "payload_bytes" in result["frame"]:
            assert len(frame.payload) == result["frame"]["payload_bytes"]
            first, last = result["frame"]["payload"].split("...")
            assert frame.payload.startswith(bytes.fromhex(first))
            assert frame.payload.endswith(bytes.fromhex(last))
        else:
            assert frame.payload == bytes.fromhex(result["frame"]["payload"])


@pytest.mark.parametrize("between", [0, 8, 126])
def test_frames_of_many_packets(between: int) -> None:
    core = Depacketizer()
    for number in range(10):
        assert core.push(packet(START, 0, number, b"s", 9)) is None
        for sequence in range(1, between + 1):
            assert core.push(packet(INTER, sequence, number, b"i")) is None
        frame = core.push(packet(FINAL, between + 1, number, b"f"))
        assert frame == TrackFrame(b"s" + b"i" * between + b"f", 9, None, number)
    assert core.statistics().frames == 10
    assert core.statistics().frames_expected == 10


def test_a_packet_of_1024_bytes_is_a_frame() -> None:
    message = encode(packet(SINGLE, 0, 0, bytes(range(256)) * 4))
    assert Depacketizer().push(decode(message)) == TrackFrame(bytes(range(256)) * 4, None, None, 0)


def test_encryption_is_that_of_the_first_packet() -> None:
    core = Depacketizer()
    info = EncryptionInfo(1, bytes(12))
    core.push(packet(START, 0, 0, b"a")._replace(encryption=info))
    frame = core.push(packet(FINAL, 1, 0, b"b")._replace(encryption=EncryptionInfo(2, bytes(12))))
    assert frame is not None
    assert frame.encryption == info


def test_ten_starts_at_capacity_five_keep_the_last_five() -> None:
    core = Depacketizer(max_partial_frames=5)
    for number in range(10):
        core.push(packet(START, 10 * number, number, b"a"))
    frames = [core.push(packet(FINAL, 10 * number + 1, number, b"b")) for number in range(10)]
    assert [frame is not None for frame in frames] == [False] * 5 + [True] * 5
    statistics = core.statistics()
    assert (statistics.frames, statistics.interrupted, statistics.unknown_frame) == (5, 5, 5)


def test_three_interleaved_frames_stay_apart() -> None:
    core = Depacketizer(max_partial_frames=3)
    frames = [
        core.push(packet(marker, 100 * number + sequence, number, bytes([number, sequence])))
        for sequence, marker in enumerate([START, INTER, INTER, FINAL])
        for number in (1, 2, 3)
    ]
    completed = [frame for frame in frames if frame is not None]
    assert [frame.number for frame in completed] == [1, 2, 3]
    for frame in completed:
        assert frame.payload == b"".join(bytes([frame.number, sequence]) for sequence in range(4))


def test_capacity_may_grow_and_shrink_between_packets() -> None:
    core = Depacketizer(max_partial_frames=1)
    core.push(packet(START, 0, 0))
    core.max_partial_frames = 4
    for number in (1, 2, 3):
        core.push(packet(START, 0, number))
        assert core.take_drop() is None
    core.max_partial_frames = 2
    core.push(packet(START, 0, 4))
    assert core.take_drop() == Drop(0, DropReason.INTERRUPTED, by=4)  # the first of three
    assert core.statistics().interrupted == 3
    assert core.push(packet(FINAL, 1, 3)) is not None


def test_a_capacity_of_zero_is_one() -> None:
    core = Depacketizer(max_partial_frames=0)
    assert core.max_partial_frames == 1
    core.push(packet(START, 0, 0))
    assert core.push(packet(FINAL, 1, 0)) is not None


def test_the_default_lets_frames_overlap() -> None:
    core = Depacketizer()
    core.push(packet(START, 0, 0, b"a"))
    core.push(packet(START, 2, 1, b"c"))
    assert core.push(packet(FINAL, 1, 0, b"b")) is not None
    assert core.push(packet(FINAL, 3, 1, b"d")) is not None


def test_frames_expected_counts_what_never_came() -> None:
    core = Depacketizer()
    for number in (65533, 65534, 1, 0, 2):  # 65535 never comes, and 0 comes late
        core.push(packet(SINGLE, number, number))
    statistics = core.statistics()
    assert statistics.frames == 5
    assert statistics.frames_expected == 6


def test_frames_come_in_order_and_once() -> None:
    core = Depacketizer(max_partial_frames=8, wait_for_late_packets=True, in_order=True)
    got = [
        frame.number
        for marker, sequence, number in (
            (START, 0, 65535),
            (SINGLE, 2, 0),
            (FINAL, 1, 65535),  # complete, and late
            (SINGLE, 3, 0),  # once more
            (START, 5, 2),
            (SINGLE, 4, 1),
            (FINAL, 6, 2),
            (SINGLE, 4, 1),
        )
        if (frame := core.push(packet(marker, sequence, number))) is not None
    ]
    assert got == [0, 1, 2]
    assert core.statistics().late == 3
    assert core.take_drop() == Drop(1, DropReason.LATE)


def test_numbers_that_have_gone_around_are_not_late() -> None:
    """However many frames were lost: otherwise there would be none until the numbers have caught up."""
    core = Depacketizer(in_order=True)
    for number in (0, 40_000, 65_000):
        assert core.push(packet(SINGLE, 0, number)) is not None


def test_reset_forgets_frames_in_progress_and_counts_them() -> None:
    core = Depacketizer()
    core.push(packet(START, 0, 0))
    core.reset()
    assert core.push(packet(FINAL, 1, 0)) is None
    core.push(packet(SINGLE, 2, 500))  # far ahead, and yet nothing was missed: the time between is over
    statistics = core.statistics()
    assert statistics.abandoned == 1
    assert statistics.frames_expected == 2


class TestWaitingForLatePackets:
    """The option that the reference implementations do not have."""

    def test_final_that_overtook(self) -> None:
        core = Depacketizer(wait_for_late_packets=True)
        core.push(packet(START, 0, 1, b"a"))
        assert core.push(packet(FINAL, 2, 1, b"c")) is None
        assert core.take_drop() is None
        assert core.push(packet(INTER, 1, 1, b"b")) == TrackFrame(b"abc", None, None, 1)

    def test_gives_way_to_newer_frames(self) -> None:
        core = Depacketizer(max_partial_frames=1, wait_for_late_packets=True)
        core.push(packet(START, 0, 1))
        core.push(packet(FINAL, 2, 1))
        core.push(packet(START, 3, 2))
        assert core.take_drop() == Drop(1, DropReason.INTERRUPTED, by=2)

    @pytest.mark.parametrize("final", [9, 10 + 128])
    def test_does_not_wait_for_what_cannot_be(self, final: int) -> None:
        core = Depacketizer(wait_for_late_packets=True)
        core.push(packet(START, 10, 1))
        core.push(packet(FINAL, final, 1))
        drop = core.take_drop()
        assert drop is not None
        assert drop.reason is DropReason.INCOMPLETE

    @given(st.permutations(range(1, 6)))
    def test_any_order_after_the_start(self, order: list[int]) -> None:
        core = Depacketizer(wait_for_late_packets=True)
        core.push(packet(START, 0, 1, b"0"))
        frames = [
            core.push(packet(FINAL if sequence == 5 else INTER, sequence, 1, str(sequence).encode()))
            for sequence in order
        ]
        assert [frame for frame in frames if frame] == [TrackFrame(b"012345", None, None, 1)]


class Model:
    """What a depacketizer does, in the plainest words; numbers are small, so nothing wraps."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.partials: OrderedDict[int, tuple[int, dict[int, bytes]]] = OrderedDict()

    def push(self, item: Packet) -> bytes | None:
        number = item.frame_number
        if item.marker in (SINGLE, START):
            replaces = item.marker == START and number in self.partials and self.capacity > 1
            while not replaces and len(self.partials) >= self.capacity:
                self.partials.popitem(last=False)
            if item.marker == SINGLE:
                return item.payload
            self.partials[number] = (item.sequence, {item.sequence: item.payload})
            return None
        if number not in self.partials:
            return None
        start, stored = self.partials[number]
        stored[item.sequence] = item.payload
        if item.marker == INTER:
            return None
        del self.partials[number]
        needed = range(start, item.sequence + 1)
        if len(needed) and all(sequence in stored for sequence in needed):
            return b"".join(stored[sequence] for sequence in needed)
        return None


small_packets = st.builds(
    packet,
    marker=st.sampled_from([INTER, FINAL, START, SINGLE]),
    sequence=st.integers(0, 6),
    number=st.integers(0, 5),
    payload=st.binary(min_size=1, max_size=2),
)


@given(st.integers(1, 5), st.lists(small_packets, max_size=60))
def test_any_packets_against_the_model(capacity: int, packets: list[Packet]) -> None:
    core, model = Depacketizer(max_partial_frames=capacity), Model(capacity)
    frames = 0
    for item in packets:
        frame = core.push(item)
        assert (None if frame is None else frame.payload) == model.push(item)
        frames += frame is not None
    assert core.statistics().frames == frames


@given(st.integers(1, 5), st.data())
def test_interleaved_frames_never_mix(capacity: int, data: st.DataObject) -> None:
    """Frames shuffled and thinned out: whatever comes out is exactly one of the frames that went in."""
    sent = {}
    everything = []
    sequence = 65530
    for number in range(6):
        size = data.draw(st.integers(2, 5))
        pieces = [bytes([number, index]) for index in range(size)]
        sent[number] = b"".join(pieces)
        for index, piece in enumerate(pieces):
            marker = START if index == 0 else FINAL if index == size - 1 else INTER
            everything.append(packet(marker, (sequence + index) % 65536, number, piece))
        sequence += size
    arrived = data.draw(st.lists(st.sampled_from(everything), max_size=len(everything), unique=True))
    core = Depacketizer(max_partial_frames=capacity, wait_for_late_packets=data.draw(st.booleans()))
    for item in arrived:
        frame = core.push(item)
        if frame is not None:
            assert frame.payload == sent[frame.number]
