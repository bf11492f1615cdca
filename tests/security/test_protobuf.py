"""Hostile protobuf, in data packets and in signalling (S25)."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_livekit._sansio.packets import messages as p
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.signalling import SignalCounters, Signalling
from trio_livekit._transport.websocket import MAX_MESSAGE_BYTES
from trio_livekit._wire.data import MAX_PACKET_BYTES, decode_packet, decode_sealed, encode_packet
from trio_livekit._wire.signal import decode_request, decode_response, encode_response
from trio_livekit.errors import DecodeError

from ..fuzz.meter import Meter
from ..session.fakes import FakeWebsocket

DECODERS = [decode_packet, decode_sealed, decode_response, decode_request]

LARGEST = 256 * 1024
"""What a data channel takes in one message; the server lets no more than 64,000 bytes pass."""


def varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def nested(depth: int) -> bytes:
    """A message in a message in a message, in a field that every kind has."""
    body = b""
    for _ in range(depth):
        body = field(1, body)
        if len(body) > LARGEST:
            break
    return body


HOSTILE = {
    "a length beyond the end": varint(2 << 3 | 2) + varint(0x7FFFFFFF) + b"x",
    "a length of 2^64 - 1": varint(2 << 3 | 2) + b"\xff" * 9 + b"\x01",
    "a number that never ends": b"\x08" + b"\xff" * 100,
    "10,000 groups in each other": b"\x7b" * 10_000 + b"\x7c" * 10_000,
    "10,000 groups that never end": b"\x7b" * 10_000,
    "messages 10,000 deep": nested(10_000),
    "100,000 empty fields": field(1, b"") * 100_000,
    "a field number of 0": b"\x02\x01x",
    "a field number beyond 2^29": varint((1 << 29) << 3 | 2) + b"\x01x",
    "a wire type that there is not": b"\x0f\x00",
    "text that is no text": field(3, b"\xff\xfe") + field(4, b"\xc3\x28"),
    "every field, as bytes": b"".join(field(number, b"\xff" * 20) for number in range(1, 64)),
    "every field, as numbers": b"".join(varint(number << 3) + b"\xff" * 9 + b"\x01" for number in range(1, 64)),
    "two values of one": field(2, field(2, b"one")) + field(3, b"") + field(2, field(2, b"two")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_s25_hostile_messages_are_decoded_or_refused_and_cost_little(name: str):
    data = HOSTILE[name]
    for decode in DECODERS:
        with Meter(3000):
            try:
                decode(data)
            except DecodeError:
                pass


def test_s25_repeated_fields_cost_what_they_take():
    """A million empty ones fit a signalling message of two megabytes: they are names of nothing, and soon counted."""
    update = field(5, field(1, b"") * 10_000)  # SignalResponse.update with participants
    with Meter(10_000 * 120):
        response = decode_response(update)
    assert isinstance(response, m.ParticipantUpdate)
    assert len(response.participants) == 10_000


def test_s25_messages_have_limits():
    """That of signalling may be changed: ``test_s33_a_room_too_large_to_be_heard_of_says_what_to_do``."""
    assert MAX_MESSAGE_BYTES == 1 << 20
    assert MAX_PACKET_BYTES == LARGEST
    packet = p.DataPacket(p.UserPacket(b"", "t"))
    overhead = len(encode_packet(packet)) + 6  # of a length that is not 0
    for size, is_taken in ((LARGEST - overhead, True), (LARGEST + 1, False)):
        data = encode_packet(replace(packet, value=p.UserPacket(bytes(size), "t")))
        if is_taken:
            assert decode_packet(data) is not None
        else:
            with pytest.raises(DecodeError, match="no longer"):
                decode_packet(data)


async def test_s25_signalling_goes_on_after_each(caplog: pytest.LogCaptureFixture):
    """And says so no more than a few times a second, whatever comes."""
    caplog.set_level(logging.INFO)
    websocket, delivered = FakeWebsocket(), []
    signalling = Signalling(websocket, delivered.append, counters := SignalCounters())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(signalling.run, 0, 0)
        for _ in range(10):
            for data in HOSTILE.values():
                websocket.say(data)
        websocket.say(encode_response(m.RefreshToken("still here")))
        await wait_all_tasks_blocked()
        assert m.RefreshToken("still here") in delivered
        nursery.cancel_scope.cancel()
    assert counters.malformed > 0
    assert 0 < len(caplog.records) <= 3
