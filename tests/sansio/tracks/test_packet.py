"""The packet codec: every vector, the table of errors in order, tolerance, and round trips."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.tracks.vectors import MARKERS, VECTORS, encryption_info, user_timestamp
from trio_livekit._sansio.tracks.packet import (
    FINAL,
    INTER,
    SINGLE,
    START,
    EncryptionInfo,
    Packet,
    PacketError,
    PacketErrorKind,
    decode,
    encode,
    encode_extensions,
    rewrite_handle,
)
from trio_livekit.errors import DecodeError

KINDS = {
    "TooShort": PacketErrorKind.TOO_SHORT,
    "UnsupportedVersion": PacketErrorKind.UNSUPPORTED_VERSION,
    "InvalidHandle": PacketErrorKind.INVALID_HANDLE,
    "MissingExtWords": PacketErrorKind.MISSING_EXT_WORDS,
    "HeaderOverrun": PacketErrorKind.HEADER_OVERRUN,
    "MalformedExt": PacketErrorKind.MALFORMED_EXT,
}

u16 = st.integers(0, 0xFFFF)
packets = st.builds(
    Packet,
    marker=st.sampled_from([INTER, FINAL, START, SINGLE]),
    handle=st.integers(1, 0xFFFF),
    sequence=u16,
    frame_number=u16,
    timestamp=st.integers(0, 0xFFFFFFFF),
    user_timestamp=st.none() | st.integers(0, 2**64 - 1),
    encryption=st.none()
    | st.builds(EncryptionInfo, key_index=st.integers(0, 255), iv=st.binary(min_size=12, max_size=12)),
    payload=st.binary(max_size=200),
)


def kind_of(message: bytes) -> PacketErrorKind:
    with pytest.raises(PacketError) as caught:
        decode(message)
    return caught.value.kind


def packet_of(entry: dict) -> Packet:
    return Packet(
        marker=MARKERS[entry["marker"]],
        handle=entry["handle"],
        sequence=entry["sequence"],
        frame_number=entry["frame"],
        timestamp=entry["timestamp"],
        user_timestamp=user_timestamp(entry["user_timestamp"]),
        encryption=encryption_info(entry["e2ee"]),
        payload=bytes.fromhex(entry["payload"]),
    )


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda vector: vector["name"])
def test_vector(vector: dict) -> None:
    message = bytes.fromhex(vector["hex"])
    if "error" in vector["expect"]:
        assert kind_of(message) is KINDS[vector["expect"]["error"]]
    else:
        assert decode(message) == packet_of(vector["expect"]["ok"])


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda vector: vector["name"])
def test_what_the_server_forwards_still_decodes(vector: dict) -> None:
    """The server rewrites the handle and straightens padding; what we accept must survive that, or be refused."""
    forwarded = vector["server_v1_13_5"].get("forwarded_with_handle_85")
    if forwarded is None or "error" in vector["expect"]:
        assert "error" in vector["expect"]
        return
    sent = packet_of(vector["expect"]["ok"])
    received = decode(bytes.fromhex(forwarded))
    if "pad byte" in vector["name"] and sent.user_timestamp is not None:
        # Padding before an extension: this server takes it for the end of the block. We never write it.
        assert received == sent._replace(handle=85, user_timestamp=None)
    else:
        assert received == sent._replace(handle=85)


@pytest.mark.parametrize("vector", VECTORS["e2ee_packets"], ids=lambda vector: vector["name"])
def test_captured_packets_decode_and_encode_to_the_same_bytes(vector: dict) -> None:
    message = bytes.fromhex(vector["hex"])
    packet = packet_of(vector["decoded"])
    assert decode(message) == packet
    assert encode(packet) == message


@given(packets)
def test_round_trip(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@given(packets, st.integers(1, 0xFFFF))
def test_rewriting_the_handle_changes_nothing_else(packet: Packet, handle: int) -> None:
    assert decode(rewrite_handle(encode(packet), handle)) == packet._replace(handle=handle)


@given(st.binary(max_size=80))
def test_any_bytes_decode_or_raise_decode_error(message: bytes) -> None:
    try:
        packet = decode(message)
    except DecodeError:
        return
    assert packet.handle
    assert message.endswith(packet.payload)


@given(st.integers(0, 0x1F), st.binary(max_size=60), st.integers(0, 20))
def test_any_extension_block(low_bits: int, block: bytes, words: int) -> None:
    """Bytes that get past the base header, so that the extension parser sees all of them."""
    message = bytes([low_bits | 0x04, 0, 0, 1]) + bytes(8) + words.to_bytes(2, "big") + block
    try:
        packet = decode(message)
    except PacketError as error:
        assert error.kind in (PacketErrorKind.HEADER_OVERRUN, PacketErrorKind.MALFORMED_EXT)  # noqa: PT017
    else:
        assert packet.payload == message[12 + 4 * (words + 1) :]


@given(packets, st.data())
def test_a_packet_cut_short_is_refused_or_loses_only_payload(packet: Packet, data: st.DataObject) -> None:
    message = encode(packet)
    cut = message[: data.draw(st.integers(0, len(message)))]
    header_bytes = len(message) - len(packet.payload)
    if len(cut) < header_bytes:
        kind_of(cut)
    else:
        assert decode(cut) == packet._replace(payload=cut[header_bytes:])


def test_final_with_both_extensions_byte_for_byte() -> None:
    packet = Packet(
        marker=FINAL,
        handle=0x8811,
        sequence=0x4422,
        frame_number=0x4411,
        timestamp=0x44221188,
        user_timestamp=0x4411221111118811,
        encryption=EncryptionInfo(0xFA, b"\x3c" * 12),
        payload=bytes(1024),
    )
    message = encode(packet)
    assert message[:40].hex() == (
        "0c00881144224411442211880006" + "010dfa" + "3c" * 12 + "0208" + "4411221111118811" + "00"
    )
    assert len(message) == 1064


def test_single_byte_for_byte() -> None:
    message = encode(Packet(SINGLE, 101, 102, 103, 104, None, None, bytes(10)))
    assert message == bytes.fromhex("18000065006600670000" + "0068") + bytes(10)
    assert len(message) == 22


def test_start_with_encryption_only() -> None:
    message = encode(Packet(START, 1, 0, 0, 0, None, EncryptionInfo(0, bytes(12)), b"\xff" * 32))
    assert len(message) == 64
    assert message[0] == 0x14
    assert message[12:14] == b"\x00\x04"
    assert message[29:33] == b"\x00\x00\x00\xff"


@pytest.mark.parametrize(
    ("timestamp", "info", "size"),
    [
        (None, None, 0),
        (7, None, 12),
        (None, EncryptionInfo(1, bytes(12)), 20),
        (7, EncryptionInfo(1, bytes(12)), 28),
    ],
)
def test_sizes_of_extension_blocks(timestamp: int | None, info: EncryptionInfo | None, size: int) -> None:
    assert len(encode_extensions(timestamp, info)) == size


@pytest.mark.parametrize("words", [0, 1, 24])
def test_a_block_of_padding_only(words: int) -> None:
    message = bytes.fromhex("1c0000010000000000000000") + words.to_bytes(2, "big") + bytes(4 * (words + 1) - 2)
    packet = decode(message)
    assert packet.payload == b""
    assert packet.user_timestamp is None
    assert packet.encryption is None


def test_an_empty_single_packet_is_accepted() -> None:
    assert decode(bytes.fromhex("180000010000000000000000")).payload == b""


def test_a_block_cut_by_one_byte_is_refused() -> None:
    whole = encode(Packet(SINGLE, 1, 0, 0, 0, 5, None, b""))
    assert kind_of(whole[:-1]) is PacketErrorKind.HEADER_OVERRUN


def test_errors_carry_fixed_text() -> None:
    with pytest.raises(PacketError, match=r"^the track handle is 0$"):
        decode(bytes(12))


# --- packets of a server's own tests ----------------------------------------------------------------------------------

HEADER = "14000d051a0a270fdeadbeef"  # start, handle 3333, sequence 6666, frame 9999, timestamp 0xdeadbeef
PAYLOAD = "fffefdfc"
SID, LONG_SID = b"participant".hex(), b"test_participant".hex()


def test_a_server_s_packet_without_extension() -> None:
    message = bytes.fromhex("18000d051a0a270fdeadbeeffffefdfcfbfa")
    packet = Packet(SINGLE, 3333, 6666, 9999, 0xDEADBEEF, None, None, bytes.fromhex("fffefdfcfbfa"))
    assert decode(message) == packet
    assert encode(packet) == message


@pytest.mark.parametrize(
    ("block", "encryption"),
    [
        ("0003" + "010b" + SID + "00", None),  # too short for what tag 1 is to clients: skipped
        ("0004" + "0110" + LONG_SID, EncryptionInfo(ord("t"), b"est_particip")),  # long enough to look like it
        ("0001" + "0104" + b"test".hex(), None),
    ],
)
def test_the_participant_sid_that_servers_may_add(block: str, encryption: EncryptionInfo | None) -> None:
    """It shares its tag with encryption. Only encrypted tracks look at that, so the frames of others still arrive."""
    packet = decode(bytes.fromhex(HEADER + block + PAYLOAD))
    assert packet == Packet(START, 3333, 6666, 9999, 0xDEADBEEF, None, encryption, bytes.fromhex(PAYLOAD))


def test_replacing_an_extension() -> None:
    before = Packet(START, 3333, 6666, 9999, 0xDEADBEEF, 7, None, bytes.fromhex(PAYLOAD))
    assert encode(before) == bytes.fromhex(HEADER + "0002" + "0208" + "0000000000000007" + PAYLOAD)
    after = before._replace(user_timestamp=8)
    assert encode(after) == bytes.fromhex(HEADER + "0002" + "0208" + "0000000000000008" + PAYLOAD)
    grown = after._replace(encryption=EncryptionInfo(1, bytes(12)))
    assert decode(encode(grown)) == grown
    assert encode(decode(encode(grown))._replace(encryption=None)) == encode(after)


def test_a_packet_without_the_extension_that_is_looked_for() -> None:
    packet = decode(bytes.fromhex(HEADER + "0003" + "020b" + SID + "00" + PAYLOAD))
    assert packet.encryption is None
    assert packet.user_timestamp == int.from_bytes(b"particip", "big")  # the rest may be of a later version
    assert packet.payload == bytes.fromhex(PAYLOAD)


@pytest.mark.parametrize(
    "block",
    [
        "0002" + "010b" + SID + "00",  # the block ends before its extension does
        "0003" + "010d" + SID + "00",  # the extension is longer than its block
        "0003" + "0107" + SID + "00",  # it ends early, and what follows it is no extension
    ],
)
def test_truncated_extensions(block: str) -> None:
    assert kind_of(bytes.fromhex(HEADER + block + PAYLOAD)) is PacketErrorKind.MALFORMED_EXT


def test_a_header_cut_anywhere() -> None:
    message = bytes.fromhex("18000d051a0a270fdeadbeef")
    for size in range(12):
        assert kind_of(message[:size]) is PacketErrorKind.TOO_SHORT


@pytest.mark.parametrize("handle", [-1, 65_536])
def test_a_handle_has_16_bits(handle: int) -> None:
    packet = Packet(SINGLE, handle, 0, 0, 0, None, None, b"x")
    with pytest.raises(struct.error):
        encode(packet)
    with pytest.raises(struct.error):
        rewrite_handle(encode(packet._replace(handle=1)), handle)
    for good in (1, 65_535):
        assert decode(encode(packet._replace(handle=good))).handle == good
