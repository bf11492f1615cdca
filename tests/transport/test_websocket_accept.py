"""The server side of the websocket: what it accepts, what it bounds, and how it ends."""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_livekit._sansio.signal.frames import MAX_CONTROL_FRAMES, MAX_PIECES
from trio_livekit._transport.websocket import Websocket, WebsocketClosed, accept_websocket

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    b"GET /rtc HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: "
    + KEY
    + b"\r\n\r\n"
)
BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, rsv1: bool = False) -> bytes:
    """A client's frame; the mask is zero, so that the payload can be read."""
    head = bytes([final << 7 | rsv1 << 6 | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    else:
        head += bytes([0x80 | 126]) + struct.pack("!H", len(payload))
    return head + bytes(4) + payload


class Client:
    """The client's end of the stream, in bytes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.received = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read_until(self, marker: bytes) -> bytes:
        """Everything up to and with ``marker``; what follows is kept."""
        while marker not in self.received:
            chunk = await self.stream.receive_some()
            assert chunk, f"the server hung up after {bytes(self.received)!r}"
            self.received += chunk
        end = self.received.index(marker) + len(marker)
        taken = bytes(self.received[:end])
        del self.received[:end]
        return taken

    async def read_frame(self) -> tuple[int, bytes]:
        while len(self.received) < 2 or len(self.received) < 2 + self.received[1]:
            self.received += await self.stream.receive_some() or pytest.fail("the server hung up")
        opcode, length = self.received[0] & 15, self.received[1]
        payload = bytes(self.received[2 : 2 + length])
        del self.received[: 2 + length]
        return opcode, payload

    async def told_when_closed(self) -> int:
        """The code of the close frame, which comes after pongs at most."""
        opcode, payload = await self.read_frame()
        while opcode == PONG:
            opcode, payload = await self.read_frame()
        assert opcode == CLOSE
        return int.from_bytes(payload[:2], "big")


@asynccontextmanager
async def accepted(**options: int):
    """A client, and the websocket that the server made of its request."""
    client_stream, server_stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(5):
            websocket = await accept_websocket(nursery, server_stream, REQUEST, name="test", **options)
            client = Client(client_stream)
            head = await client.read_until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101")
            assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
            assert b"permessage-deflate" not in head
            yield client, websocket
            await client_stream.aclose()
            await websocket.aclose()
    await server_stream.aclose()


async def closed_with(websocket: Websocket) -> int:
    with pytest.raises(WebsocketClosed) as caught:
        await websocket.receive()
    return caught.value.code


async def test_messages_travel_both_ways():
    async with accepted() as (client, websocket):
        await client.send(frame(BINARY, b"up") + frame(BINARY, b""))
        assert [await websocket.receive(), await websocket.receive()] == [b"up", b""]
        await websocket.send(b"down")
        assert await client.read_frame() == (BINARY, b"down")


async def test_fragments_are_joined_and_pings_answered():
    async with accepted() as (client, websocket):
        await client.send(frame(BINARY, b"a", final=False) + frame(PING, b"p") + frame(CONTINUATION, b"b"))
        assert await websocket.receive() == b"ab"
        assert await client.read_frame() == (PONG, b"p")


async def test_a_goodbye_is_answered():
    async with accepted() as (client, websocket):
        await client.send(frame(CLOSE, struct.pack("!H", 1000)))
        assert await closed_with(websocket) == 1000
        assert (await client.read_frame())[0] == CLOSE


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (frame(BINARY, bytes(101)), 1009),
        (frame(BINARY, bytes(60), final=False) + frame(CONTINUATION, bytes(60), final=False), 1009),
        (frame(BINARY, b"x", rsv1=True), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(3), 1002),
        (frame(TEXT, b"text"), 1003),
        (bytes([0x82, 1, 0]), 1002),
        (frame(BINARY, final=False) + frame(CONTINUATION, final=False) * MAX_PIECES, 1008),
        (frame(PING) * (MAX_CONTROL_FRAMES + 1), 1008),
        (frame(PONG) * (MAX_CONTROL_FRAMES + 1), 1008),
    ],
    ids=[
        "too large",
        "fragmented too large",
        "compressed",
        "continues nothing",
        "opcode",
        "text",
        "unmasked",
        "fragmented for ever",
        "pings",
        "pongs",
    ],
)
async def test_breaking_the_rules_closes_with_a_code(frames, code):
    """The client is told which."""
    async with accepted(max_message_bytes=100) as (client, websocket):
        await client.send(frames)
        assert await client.told_when_closed() == code
        await client.stream.send_eof()
        assert await closed_with(websocket) == code
        assert await client.stream.receive_some() == b""
        with pytest.raises(WebsocketClosed):
            await websocket.send(b"late")


async def test_hanging_up_closes():
    async with accepted() as (client, websocket):
        await client.stream.aclose()
        assert await closed_with(websocket) == 1006


@pytest.mark.parametrize("received", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"nonsense\r\n\r\n", b""])
async def test_what_is_no_upgrade_fails_and_closes_the_stream(received):
    client_stream, server_stream = trio.testing.memory_stream_pair()
    await client_stream.send_eof()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(5):
            try:
                await accept_websocket(nursery, server_stream, received, name="test")
            except WebsocketClosed:
                refused = True
    assert refused
    with pytest.raises(trio.ClosedResourceError):
        await server_stream.receive_some()


async def test_waiting_for_an_upgrade_can_be_cancelled():
    _, server_stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0) as scope:
            await accept_websocket(nursery, server_stream, b"GET", name="test")
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await server_stream.receive_some()
