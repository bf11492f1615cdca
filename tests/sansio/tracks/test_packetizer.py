"""Frames into packets: every vector, limits, and that refused frames leave no trace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.tracks.vectors import MARKERS, VECTORS
from trio_livekit._sansio.tracks.clock import RATE_HZ, MediaClock
from trio_livekit._sansio.tracks.packet import BASE_HEADER_BYTES, FINAL, INTER, SINGLE, START, EncryptionInfo, decode
from trio_livekit._sansio.tracks.packetizer import (
    MAX_PACKETS_PER_FRAME,
    MTU,
    SMALL_PACKET,
    Packetizer,
    fitting_packet_size,
)
from trio_livekit.errors import FrameTooLarge, PushError, PushErrorReason

INFO = EncryptionInfo(3, b"0123456789ab")


def packetizer(mtu: int = MTU, **kwargs: int) -> Packetizer:
    return Packetizer(7, MediaClock(1000, 0.0), mtu=mtu, **kwargs)


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("case", VECTORS["packetizer"], ids=lambda case: f"{case['payload_len']}@{case['mtu']}")
def test_vector(case: dict[str, Any]) -> None:
    payload = pattern(case["payload_len"])
    extensions = {
        "user_timestamp": 5 if case["user_timestamp"] else None,
        "encryption": INFO if case["e2ee"] else None,
    }
    if case.get("error") == "MtuTooShort":
        with pytest.raises(ValueError, match="MTU"):
            packetizer(case["mtu"]).packetize(payload, 1.0, **extensions)
        return
    core = packetizer(case["mtu"], first_sequence=case["first_sequence"], first_frame_number=case["frame_number"])
    if case["packet_count"] == 0:
        with pytest.raises(PushError) as empty:
            core.packetize(payload, 1.0, **extensions)
        assert empty.value.reason is PushErrorReason.EMPTY
        return
    if case["packet_count"] > MAX_PACKETS_PER_FRAME:
        # The references send it, and every receiver drops it.
        with pytest.raises(FrameTooLarge) as too_large:
            core.packetize(payload, 1.0, **extensions)
        assert too_large.value.limit == VECTORS["constants"]["max_frame_no_ext"]
        return
    messages = core.packetize(payload, 1.0, **extensions)
    assert len(messages) == case["packet_count"]
    expected = case["packets"]
    if "..." in expected:
        gap = expected.index("...")
        messages = messages[:gap] + messages[gap + 1 - len(expected) :]
        expected = expected[:gap] + expected[gap + 1 :]
    for entry, message in zip(expected, messages, strict=True):
        packet = decode(message)
        assert packet.marker == MARKERS[entry["marker"]]
        assert (packet.sequence, packet.frame_number) == (entry["sequence"], entry["frame"])
        assert (len(packet.payload), len(message)) == (entry["payload_len"], entry["total_len"])
        assert packet.payload == payload[entry["offset"] :][: entry["payload_len"]]
        assert len(message) - len(packet.payload) == case["header_len"]


def test_constants_of_the_vectors() -> None:
    assert VECTORS["constants"] == {
        "base_header_len": BASE_HEADER_BYTES,
        "mtu": MTU,
        "max_packets_per_frame": MAX_PACKETS_PER_FRAME,
        "max_frame_no_ext": (MTU - BASE_HEADER_BYTES) * MAX_PACKETS_PER_FRAME,
        "sample_rate": RATE_HZ,
    }


@given(
    payload=st.binary(min_size=1, max_size=600),
    mtu=st.integers(45, 100),
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    encrypted=st.booleans(),
    sequence=st.integers(0, 0xFFFF),
    number=st.integers(0, 0xFFFF),
)
def test_packets_hold_the_frame_in_order(
    payload: bytes, mtu: int, timestamp: int | None, encrypted: bool, sequence: int, number: int
) -> None:
    core = packetizer(mtu, first_sequence=sequence, first_frame_number=number)
    try:
        messages = core.packetize(payload, 2.0, timestamp, INFO if encrypted else None)
    except FrameTooLarge as error:
        assert len(payload) > error.limit  # noqa: PT017
        return
    packets = [decode(message) for message in messages]
    assert b"".join(packet.payload for packet in packets) == payload
    assert all(len(message) == mtu for message in messages[:-1])
    assert [packet.sequence for packet in packets] == [(sequence + i) % 65536 for i in range(len(packets))]
    for packet in packets:
        assert packet.frame_number == number
        assert packet.timestamp == packets[0].timestamp
        assert packet.user_timestamp == timestamp
        assert packet.encryption == (INFO if encrypted else None)
        assert packet.handle == 7


def test_numbers_run_on_from_frame_to_frame_and_wrap() -> None:
    core = packetizer(20, first_sequence=0xFFFE, first_frame_number=0xFFFF)
    packets = [decode(message) for size in (8, 9, 1) for message in core.packetize(bytes(size), 0.0)]
    assert [(packet.sequence, packet.frame_number) for packet in packets] == [
        (0xFFFE, 0xFFFF),
        (0xFFFF, 0),
        (0, 0),
        (1, 1),
    ]


@pytest.mark.parametrize("size", [0, 128 * 8 + 1])
def test_a_refused_frame_leaves_no_trace(size: int) -> None:
    core = packetizer(20)
    with pytest.raises(PushError):
        core.packetize(bytes(size), 0.0)
    packet = decode(core.packetize(b"x", 0.0)[0])
    assert (packet.sequence, packet.frame_number) == (0, 0)


def test_frame_of_300_bytes_in_packets_of_100() -> None:
    messages = Packetizer(7, MediaClock(1_804_548_298, 5.0), mtu=100).packetize(pattern(300), 5.0)
    packets = [decode(message) for message in messages]
    assert [len(packet.payload) for packet in packets] == [88, 88, 88, 36]
    assert [packet.sequence for packet in packets] == [0, 1, 2, 3]
    assert {(packet.frame_number, packet.timestamp) for packet in packets} == {(0, 1_804_548_298)}


@pytest.mark.parametrize(("index", "count", "marker"), [(0, 1, SINGLE), (0, 10, START), (4, 10, INTER), (9, 10, FINAL)])
def test_where_a_packet_stands_in_its_frame(index: int, count: int, marker: int) -> None:
    messages = packetizer(22).packetize(bytes(10 * count), 0.0)
    assert len(messages) == count
    assert decode(messages[index]).marker == marker


@pytest.mark.parametrize("size", [0, 1, 64, 123, 128, 256])
@pytest.mark.parametrize("most", [1, 128, 333])
def test_chunks_are_full_but_for_the_last(size: int, most: int) -> None:
    core = packetizer(BASE_HEADER_BYTES + most)
    count = -(-size // most)
    if not 0 < count <= MAX_PACKETS_PER_FRAME:
        with pytest.raises(PushError) as refused:
            core.packetize(pattern(size), 0.0)
        assert refused.value.reason is (PushErrorReason.TOO_LARGE if size else PushErrorReason.EMPTY)
        return
    chunks = [decode(message).payload for message in core.packetize(pattern(size), 0.0)]
    assert b"".join(chunks) == pattern(size)
    assert [len(chunk) for chunk in chunks] == [most] * (count - 1) + [size - most * (count - 1)]


@pytest.mark.parametrize(("size", "markers"), [(5, [SINGLE]), (24_000, [START, FINAL])])
def test_small_and_large_frames_of_the_default_size(size: int, markers: list[int]) -> None:
    packets = [decode(message) for message in packetizer().packetize(pattern(size), 0.0)]
    assert [packet.marker for packet in packets] == markers
    assert [len(packet.payload) for packet in packets] == ([5] if size == 5 else [15_988, 8_012])
    assert [(packet.sequence, packet.frame_number) for packet in packets] == [(n, 0) for n in range(len(markers))]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [5, 50])
def test_takes_any_buffer_and_keeps_its_own_copy(kind: Any, size: int) -> None:
    source = kind(pattern(size))
    messages = packetizer(30).packetize(source, 0.0)
    if kind is bytearray:
        source[:] = bytes(size)
    assert all(type(message) is bytes for message in messages)
    assert b"".join(decode(message).payload for message in messages) == pattern(size)


def test_timestamp_advances_with_now() -> None:
    core = packetizer()
    assert [decode(core.packetize(b"x", now)[0]).timestamp for now in (0.0, 1.0, 0.5)] == [1000, 91_000, 91_000]


def test_packets_are_smaller_where_the_network_is_slow() -> None:
    """But never so small that a receiver would not keep all of a frame."""
    assert fitting_packet_size(1 << 40) == MTU
    assert fitting_packet_size(35_000) == 5_000
    assert fitting_packet_size(0) == SMALL_PACKET
    cutter = packetizer()
    cutter.use_packet_size(SMALL_PACKET)
    frame, large = pattern(16_000), pattern(1_000_000)
    assert [len(packet) for packet in cutter.packetize(frame, 0.0)][:4] == [SMALL_PACKET] * 4
    assert max(map(len, cutter.packetize(large, 0.0))) == MTU
    cutter.use_packet_size(MTU)
    assert len(cutter.packetize(frame[:15_000], 0.0)) == 1
