"""Every kind of data packet survives its trip through protobuf, and no bytes do harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models

from trio_livekit._sansio.packets import messages as p
from trio_livekit._wire.data import decode_packet, decode_sealed, encode_packet, encode_sealed
from trio_livekit.errors import DecodeError

SEALABLE: list[p.Encryptable] = [
    p.UserPacket(b"payload", "topic", bytes(16)),
    p.UserPacket(b""),
    p.ChatMessage("id", 1, "hello", 2, True, True),
    p.ChatMessage("id", 1, "hello"),
    p.RpcRequest("id", "method", "payload", 8000),
    p.RpcAck("id"),
    p.RpcResponse("id", "payload"),
    p.RpcResponse("id", ""),
    p.RpcResponse("id", fault=p.RpcFault(1500, "message", "data")),
    p.StreamHeader("id", 1, "topic", "text/plain", 0, {"k": "v"}, p.TextHeader()),
    p.StreamHeader(
        "id", 1, "topic", "text/plain", text=p.TextHeader(p.TextOperation.UPDATE, 2, "reply", ("a", "b"), True),
        inline_content=b"", compression=p.Compression.DEFLATE_RAW,
    ),
    p.StreamHeader("id", 1, "topic", "application/octet-stream", 5, name="file", inline_content=b"bytes"),
    p.StreamHeader("id", 1, "topic", "application/octet-stream"),
    p.StreamChunk("id", 3, b"content", 1),
    p.StreamTrailer("id", "reason", {"k": "v"}),
]  # fmt: skip
VALUES: list[p.Value] = [
    *SEALABLE,
    p.SipDtmf(11, "#"),
    p.Transcription("ann", "TR_a", (p.TranscriptionSegment("id", "text", 1, 2, True, "en"),)),
    p.Encrypted(bytes(12), 3, b"value"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_packets_survive_the_wire(value: p.Value) -> None:
    packet = p.DataPacket(value, "ann", "PA_a", ("bob", "cid"), 7)
    assert decode_packet(encode_packet(packet)) == packet


@pytest.mark.parametrize("value", SEALABLE, ids=lambda value: type(value).__name__)
def test_what_is_encrypted_survives_the_wire(value: p.Encryptable) -> None:
    assert decode_sealed(encode_sealed(value)) == value


def test_values_of_no_known_kind_are_nothing() -> None:
    assert decode_packet(models.DataPacket(metrics=models.DataPacket().metrics).SerializeToString()) is None
    assert decode_packet(b"") is None
    assert decode_sealed(b"") is None


@pytest.mark.parametrize("field", ["compression", "operation"])
def test_streams_that_cannot_be_treated_rightly_are_refused(field: str) -> None:
    pb = models.DataPacket()
    pb.stream_header.text_header.SetInParent()
    if field == "compression":
        pb.stream_header.compression = 99  # type: ignore[assignment]
    else:
        pb.stream_header.text_header.operation_type = 99  # type: ignore[assignment]
    with pytest.raises(DecodeError, match="99"):
        decode_packet(pb.SerializeToString())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_nothing_or_an_error(data: bytes) -> None:
    for decode in (decode_packet, decode_sealed):
        try:
            decode(data)
        except DecodeError:
            pass


@given(st.sampled_from(VALUES), st.data())
def test_damaged_packets_do_no_harm(value: p.Value, data: st.DataObject) -> None:
    encoded = bytearray(encode_packet(p.DataPacket(value, "ann", "PA_a", ("bob",), 7)))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(encoded), bytes(encoded[:position])):
        try:
            decode_packet(damaged)
        except DecodeError:
            pass
