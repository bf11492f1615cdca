"""A server that answers the upgrade with lies, or breaks the rules of websockets afterwards (S33)."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import struct
import tracemalloc
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing

import trio_livekit as lk
from tests.support.heads import read_head
from tests.support.tls import make_certificate
from tests.support.waiting import wait_until
from trio_livekit._sansio.signal.frames import MAX_PIECES
from trio_livekit._transport.websocket import (
    MAX_MESSAGE_BYTES,
    UpgradeRefused,
    Websocket,
    WebsocketClosed,
    secure,
    upgrade,
)
from trio_livekit.server import serve

if TYPE_CHECKING:
    from pathlib import Path

URL = "ws://server/rtc"
BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, rsv1: bool = False, length: int | None = None):
    """A server's frame, whose head may announce another ``length`` than it has."""
    return bytes([final << 7 | rsv1 << 6 | opcode, 127]) + struct.pack("!Q", length or len(payload)) + payload \
        if (length or len(payload)) > 65_535 \
        else bytes([final << 7 | rsv1 << 6 | opcode]) + _short(len(payload)) + payload  # fmt: skip


def _short(length: int) -> bytes:
    return bytes([length]) if length < 126 else bytes([126]) + struct.pack("!H", length)


async def request_key(stream: trio.abc.Stream) -> bytes:
    """The key of the upgrade that the client asks for."""
    match = re.search(rb"(?i)sec-websocket-key: *(\S+)", await read_head(stream))
    assert match
    return match[1]


def accepting(key: bytes) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )


async def upgraded_by(answer: bytes) -> BaseException:
    """What becomes of an upgrade that is answered so."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def server() -> None:
        await request_key(theirs)
        await theirs.send_all(answer)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            with pytest.raises((UpgradeRefused, WebsocketClosed)) as caught:
                await upgrade(nursery, ours, URL, headers=[("Authorization", "Bearer secret")])
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_some()
    return caught.value


@asynccontextmanager
async def upgraded():
    ours, theirs = trio.testing.memory_stream_pair()

    async def server() -> None:
        await theirs.send_all(accepting(await request_key(theirs)))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            websocket = await upgrade(nursery, ours, URL)
            yield websocket, theirs
            await theirs.aclose()
            await websocket.aclose()


async def test_s33_a_101_with_the_wrong_accept_is_no_websocket() -> None:
    assert isinstance(await upgraded_by(accepting(b"another key")), WebsocketClosed)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_s33_a_redirect_is_a_refusal_and_not_followed(status: int) -> None:
    """Neither with credentials nor without: nothing but the one stream there is is ever written to."""
    answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: ws://evil/rtc\r\nContent-Length: 0\r\n\r\n".encode()
    error = await upgraded_by(answer)
    assert isinstance(error, UpgradeRefused)
    assert error.status == status
    assert "secret" not in repr(error)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 500 Oops\r\nContent-Length: 999999999999\r\n\r\n",
], ids=["heads", "a refusal"])  # fmt: skip
async def test_s33_answers_without_end_are_hung_up_on(answer: bytes) -> None:
    """Ten megabytes are offered: at most one is taken before the stream is closed."""
    ours, theirs = trio.testing.memory_stream_pair()
    taken = 0

    async def server() -> None:
        nonlocal taken
        await request_key(theirs)
        await theirs.send_all(answer)
        try:
            for _ in range(10 << 10):
                await theirs.send_all(b"X-Filling: " + b"a" * 1011 + b"\r\n")
                await trio.testing.wait_all_tasks_blocked()
                taken += 1024
        except trio.BrokenResourceError:
            pass

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            with pytest.raises((UpgradeRefused, WebsocketClosed)):
                await upgrade(nursery, ours, URL)
    assert taken <= 1 << 20


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (frame(BINARY, b"x", rsv1=True), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(3), 1002),
        (frame(TEXT, b"text"), 1003),
        (frame(PING, bytes(126)), 1002),
        (frame(PING, b"", final=False), 1002),
        (bytes([0x82, 0x81]) + bytes(5), 1002),
    ],
    ids=["compressed", "continues nothing", "opcode", "text", "long ping", "ping in parts", "masked"],
)
async def test_s33_a_server_that_breaks_the_rules_is_told_and_left(frames: bytes, code: int) -> None:
    async with upgraded() as (websocket, server):
        await server.send_all(frame(BINARY, b"well-formed") + frames)
        await server.send_eof()
        assert await websocket.receive() == b"well-formed"
        with pytest.raises(WebsocketClosed) as caught:
            await websocket.receive()
        assert caught.value.code == code
        assert close_code(await all_of(server)) == code


async def all_of(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything up to the end."""
    return b"".join([bytes(data) async for data in stream])


def close_code(sent: bytes) -> int:
    """The code of the client's close frame, which is all that was sent."""
    assert sent[0] == 0x80 | CLOSE
    assert sent[1] & 0x80, "clients mask"
    assert len(sent) == 6 + (sent[1] & 0x7F)
    mask, payload = sent[2:6], sent[6:]
    return int.from_bytes(bytes(byte ^ mask[place] for place, byte in enumerate(payload[:2])), "big")


@pytest.mark.parametrize("rule", ["text", "too large"])
async def test_s33_a_server_that_does_not_read_is_left_all_the_same(
    autojump_clock: trio.testing.MockClock, rule: str
) -> None:
    """Somebody is in the midst of sending and will never be done, and others wait for their turn: all are told.

    Half a frame is the last of what was sent, for what would be put behind it were none. Within a second of the
    stream's own time everything is over.
    """
    ours, theirs = trio.testing.lockstep_stream_pair()
    broken = {"text": (frame(TEXT, b"text"), 1003), "too large": (frame(BINARY, length=1 << 30), 1009)}
    frames, code = broken[rule]
    told: list[int] = []

    async def server() -> None:
        await theirs.send_all(accepting(await request_key(theirs)))

    async def send(websocket: Websocket) -> None:
        with pytest.raises(WebsocketClosed) as caught:
            await websocket.send(bytes(1000))
        told.append(caught.value.code)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            websocket = await upgrade(nursery, cast("trio.SocketStream", ours), URL)
            for _ in range(3):
                nursery.start_soon(send, websocket)
            await trio.testing.wait_all_tasks_blocked()
            assert len(await theirs.receive_some(10)) == 10, "the first is in the midst of it"
            await theirs.send_all(frames)
            begun = trio.current_time()
            with pytest.raises(WebsocketClosed) as caught:
                await websocket.receive()
            assert caught.value.code == code
            assert trio.current_time() - begun <= 1
            await websocket.aclose()
    assert told == [code] * 3
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


async def test_s33_whoever_is_sending_is_done_before_the_server_is_told() -> None:
    """And is sent whole; those whose turn it was next are not."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    outcomes: list[object] = []

    async def server() -> None:
        await theirs.send_all(accepting(await request_key(theirs)))

    async def send(websocket: Websocket, message: bytes) -> None:
        try:
            outcomes.append(await websocket.send(message))
        except WebsocketClosed as exc:
            outcomes.append(exc.code)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            websocket = await upgrade(nursery, cast("trio.SocketStream", ours), URL)
            nursery.start_soon(send, websocket, bytes(100))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(send, websocket, bytes(100))
            await theirs.send_all(frame(TEXT, b"text"))
            await trio.testing.wait_all_tasks_blocked()
            message = b"".join([bytes(await theirs.receive_some(53)) for _ in range(2)])
            assert message[:2] == bytes([0x80 | BINARY, 0x80 | 100])
            assert len(message) == 106, "all of it"
            await trio.testing.wait_all_tasks_blocked()
            goodbye = bytes(await theirs.receive_some(1000))
            await theirs.send_eof()
            assert await theirs.receive_some() == b""
            with pytest.raises(WebsocketClosed):
                await websocket.receive()
            await websocket.aclose()
    assert close_code(goodbye) == 1003
    assert outcomes == [None, 1003]


async def test_s33_what_a_server_is_told_gets_through_what_it_still_sends() -> None:
    """Over TCP: a socket that is closed with something unread would be reset, and what was told might be lost."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    theirs = await listener.accept()
    goodbye: list[bytes] = []

    async def server() -> None:
        await theirs.send_all(accepting(await request_key(theirs)))
        await theirs.send_all(frame(BINARY, bytes(2 * MAX_MESSAGE_BYTES)))  # all of it, before it listens
        goodbye.append(await theirs.receive_some())
        await theirs.aclose()

    async with listener, theirs:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server)
                websocket = await upgrade(nursery, ours, URL)
                with pytest.raises(WebsocketClosed) as caught:
                    await websocket.receive()
                await websocket.aclose()
    assert caught.value.code == close_code(goodbye[0]) == 1009


@pytest.mark.parametrize("in_parts", [False, True], ids=["one frame", "fragments"])
async def test_s33_more_than_a_message_may_be_is_not_collected(in_parts: bool) -> None:
    part = bytes(256 << 10)
    async with upgraded() as (websocket, server):
        await server.send_all(frame(BINARY, part, final=False, length=None if in_parts else 1 << 40))
        sent = len(part)
        with suppress(trio.BrokenResourceError):  # it hears us out for a while, and no longer
            while sent < 4 * MAX_MESSAGE_BYTES:
                await server.send_all(frame(CONTINUATION, part, final=False) if in_parts else part)
                await trio.testing.wait_all_tasks_blocked()
                sent += len(part)
        await server.send_eof()
        with pytest.raises(WebsocketClosed) as caught:
            await websocket.receive()
        assert caught.value.code == 1009


@pytest.mark.parametrize("part", [b"", b"xy"], ids=["nothing", "two bytes"])
async def test_s33_a_message_in_ever_more_fragments_is_not_collected(part: bytes) -> None:
    """The library would join them for ever, at many times their size in memory; fragments of nothing at no size."""
    async with upgraded() as (websocket, server):
        await server.send_all(frame(BINARY, b"whole") + frame(BINARY, part, final=False))
        tracemalloc.start()
        try:
            with suppress(trio.BrokenResourceError):  # it hears us out for a while, and no longer
                for _ in range(2 * MAX_PIECES // 256):
                    await server.send_all(frame(CONTINUATION, part, final=False) * 256)
                    await trio.testing.wait_all_tasks_blocked()
            await server.send_eof()
            assert tracemalloc.get_traced_memory()[1] < MAX_MESSAGE_BYTES
        finally:
            tracemalloc.stop()
        assert await websocket.receive() == b"whole"
        for use in (websocket.receive, lambda: websocket.send(b"")):
            with pytest.raises(WebsocketClosed, match=f"more than {MAX_PIECES} pieces") as caught:
                await use()
            assert caught.value.code == 1008


async def test_s33_pings_are_answered_and_a_flood_of_them_ends_it() -> None:
    async with upgraded() as (websocket, server):
        for number in range(100):
            await server.send_all(frame(PING, b"%4d" % number))
        await server.send_all(frame(BINARY, b"still here"))
        assert await websocket.receive() == b"still here"
        await server.send_all(frame(PING) * 1000)
        await server.send_eof()
        with pytest.raises(WebsocketClosed, match="flood") as caught:
            await websocket.receive()
        assert caught.value.code == 1008


async def test_s33_the_words_of_a_refusal_are_not_taken_for_frames() -> None:
    """They would be many fragments, and pings."""
    error = await upgraded_by(b"HTTP/1.1 400 Bad\r\nContent-Length: 4096\r\n\r\n" + b"\x02\x00\x89\x00" * 1024)
    assert isinstance(error, UpgradeRefused)


async def test_s33_a_room_too_large_to_be_heard_of_says_what_to_do() -> None:
    """All who are in it come in one message."""
    metadata = "m" * 1000
    async with serve() as server, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(hold, server.url, server.token(f"p{number}", "room", metadata=metadata))
        await wait_until(lambda: len(server.participants("room")) >= 5, within_s=20)
        token = server.token("late", "room")
        with pytest.raises(lk.ConnectError, match="max_signal_message_bytes") as refused:
            async with lk.connect(server.url, token, max_signal_message_bytes=5000):
                pytest.fail("joined")
        assert refused.value.reason is lk.ConnectErrorReason.SERVER_ERROR
        async with lk.connect(server.url, token) as room:
            assert len(room.participants) == 5
        nursery.cancel_scope.cancel("enough")


async def hold(url: str, token: str) -> None:
    async with lk.connect(url, token):
        await trio.sleep_forever()


async def test_s33_certificates_are_verified_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is Python's, which verifies both the chain and the name."""
    made: list[ssl.SSLContext] = []
    genuine = ssl.create_default_context

    def remember() -> ssl.SSLContext:
        made.append(genuine())
        raise OSError("as far as this test goes")

    monkeypatch.setattr(ssl, "create_default_context", remember)
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(OSError, match="as far"):
        await secure(ours, "wss://server/rtc")  # type: ignore[arg-type]
    assert made[0].verify_mode is ssl.CERT_REQUIRED
    assert made[0].check_hostname
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


async def test_s33_a_certificate_is_for_the_name_that_was_asked_for(tmp_path: Path) -> None:
    """Trusted or not: one for another name is none. And of what may be secret nothing was sent before that."""
    certificate, key, trusted = make_certificate(tmp_path, "elsewhere.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    received: list[bytes] = []

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            received.append(bytes(await stream.receive_some()))
            await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        for url, ours in ((f"wss://localhost:{port}", trusted), (f"wss://127.0.0.1:{port}", None)):
            with pytest.raises(lk.ConnectError, match="certificate") as failed:
                async with lk.connect(url, "a.secret.token", ssl_context=ours):
                    pytest.fail("connected")
            assert failed.value.reason is lk.ConnectErrorReason.UNREACHABLE
        assert received == []
        with pytest.raises(lk.ConnectError):
            async with lk.connect(f"wss://127.0.0.1:{port}", "a.secret.token", ssl_context=trusted):
                pytest.fail("connected")
        assert received
        nursery.cancel_scope.cancel("enough")
    for request in received:  # S32: in the header, which proxies do not log, and not in the address
        line, _, headers = request.partition(b"\r\n")
        assert b"secret" not in line
        assert b"authorization: bearer a.secret.token\r\n" in headers.lower()
