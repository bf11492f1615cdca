from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.sctp.crc32c import crc32c, crc32c_by_table
from trio_livekit._sansio.sctp.packet import PacketSealer, bundle, checksum_is_valid, header_checksum, next_chunk
from trio_livekit.errors import DecodeError


def test_crc32c_of_the_rfc_3720_vectors():
    assert crc32c_by_table(0, bytes(32)) == 0x8A9136AA
    assert crc32c_by_table(0, b"\xff" * 32) == 0x62A8AB43
    assert crc32c_by_table(0, bytes(range(32))) == 0x46DD794E
    assert crc32c_by_table(0, b"123456789") == 0xE3069283


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_table_and_the_fast_checksum_agree_and_continue(head: bytes, tail: bytes):
    assert crc32c(0, head) == crc32c_by_table(0, head)
    assert crc32c(crc32c(0, head), tail) == crc32c_by_table(0, head + tail)


def test_sealed_packet_layout():
    packet = PacketSealer(5000, 5001, 0x01020304).seal(b"body")
    assert packet[:8] == struct.pack(">HHL", 5000, 5001, 0x01020304)
    assert packet[12:] == b"body"
    assert struct.unpack("<L", packet[8:12])[0] == crc32c_by_table(0, packet[:8] + bytes(4) + b"body")


def test_checksum_detects_every_single_bit_error():
    packet = PacketSealer(5000, 5000, 7).seal(bytes(range(20)))
    assert checksum_is_valid(packet, header_checksum(packet[:8]))
    for bit in range(len(packet) * 8):
        broken = bytearray(packet)
        broken[bit // 8] ^= 1 << bit % 8
        assert not checksum_is_valid(bytes(broken), header_checksum(bytes(broken[:8])))


def test_zero_checksum_leaves_the_field_empty():
    [packet] = PacketSealer(5000, 5000, 7).seal_all([b"abcd"], zero_checksum=True)
    assert packet[8:12] == bytes(4)
    [packet] = PacketSealer(5000, 5000, 7).seal_all([b"abcd"], zero_checksum=False)
    assert packet == PacketSealer(5000, 5000, 7).seal(b"abcd")


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=20), st.integers(30, 60))
def test_bundling_keeps_order_and_fits(chunks: list[bytes], capacity: int):
    bodies = bundle(chunks, capacity)
    assert b"".join(bodies) == b"".join(chunks)
    assert all(0 < len(body) <= capacity for body in bodies)


def test_bundling_fills_a_packet_to_the_byte():
    assert bundle([b"12", b"345", b"6"], 5) == [b"12345", b"6"]
    assert bundle([b"12", b"3456", b"7"], 5) == [b"12", b"34567"]


def test_a_last_chunk_may_lack_its_padding():
    assert next_chunk(bytes(12) + b"\x06\x00\x00\x05x", 12) == (6, 0, b"x", 20)


@pytest.mark.parametrize(
    "tail", [b"\x06", b"\x06\x00\x00", b"\x06\x00\x00\x03", b"\x06\x00\x00\x00", b"\x06\x00\x00\x05"]
)
def test_impossible_chunk_lengths(tail: bytes):
    with pytest.raises(DecodeError):
        next_chunk(bytes(12) + tail, 12)
