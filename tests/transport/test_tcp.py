"""Datagrams over a TCP connection: framing, limits, full buffers, ends."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_livekit._sansio.ice.framing import MAX_FRAME_BEFORE_HANDSHAKE, MAX_PARTIAL_FRAME_S, frame
from trio_livekit._transport.tcp import TcpEndpoint


@asynccontextmanager
async def connected():
    """An endpoint, and the raw socket at the other end."""
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen()
    endpoint = await TcpEndpoint.connect(listener.getsockname())
    other, _ = await listener.accept()
    listener.close()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.run)
            yield endpoint, other
            nursery.cancel_scope.cancel()
    finally:
        endpoint.close()
        other.close()


async def receive(endpoint: TcpEndpoint) -> list[bytes]:
    await endpoint.wait_readable()
    return [data for data, _ in endpoint.receive_all(64)]


async def test_datagrams_are_framed_both_ways(no_leaks):
    async with connected() as (endpoint, other):
        assert endpoint.local_address == other.getpeername()
        assert endpoint.send_many([b"one", b"two"], other.getsockname()) == 2
        assert endpoint.send(b"three", other.getsockname())
        assert await other.recv(100) == b"\0\3one\0\3two\0\5three"
        await other.send(frame(b"four") + frame(b"five") + b"\0")
        assert await receive(endpoint) == [b"four", b"five"]
        await other.send(b"\3six")
        assert await receive(endpoint) == [b"six"]
        assert endpoint.receive_all(64) == []


async def test_a_frame_too_large_before_the_handshake_breaks_the_connection(no_leaks):
    async with connected() as (endpoint, other):
        await other.send(frame(bytes(MAX_FRAME_BEFORE_HANDSHAKE + 1)))
        with pytest.raises(trio.BrokenResourceError):
            await receive(endpoint)


async def test_a_large_frame_after_the_handshake(no_leaks):
    async with connected() as (endpoint, other):
        endpoint.allow_large_frames()
        sent = bytes(MAX_FRAME_BEFORE_HANDSHAKE + 1)
        await other.send(frame(sent))
        received: list[bytes] = []
        while not received:
            received += await receive(endpoint)
        assert received == [sent]


async def test_a_frame_that_is_never_finished_breaks_the_connection(no_leaks, monkeypatch):
    """The other end says nothing more, so that only the time can tell."""
    async with connected() as (endpoint, other):
        await other.send(b"\x10\x00abc")
        assert await receive(endpoint) == []
        started = trio.current_time()
        monkeypatch.setattr(trio, "current_time", lambda: started + MAX_PARTIAL_FRAME_S)
        endpoint._framer._began_at = started - MAX_PARTIAL_FRAME_S
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError, match="finish a frame"):
            await receive(endpoint)


async def test_the_end_of_the_connection(no_leaks):
    async with connected() as (endpoint, other):
        await other.send(frame(b"last words"))
        other.close()
        assert await receive(endpoint) == [b"last words"]
        with pytest.raises(trio.BrokenResourceError):
            await receive(endpoint)
        assert endpoint.send(b"into the void", endpoint.local_address)


async def test_a_reset_connection(no_leaks):
    async with connected() as (endpoint, other):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        other.close()
        with pytest.raises(trio.BrokenResourceError):
            await receive(endpoint)


async def fill(endpoint: TcpEndpoint) -> int:
    """Send until nothing more is taken; returns how much was."""
    count = 0
    while endpoint.send(bytes(16000), endpoint.local_address):
        count += 1
    return count


async def test_full_buffers_push_back_and_drain(no_leaks):
    async with connected() as (endpoint, other):
        count = await fill(endpoint)
        writable = trio.Event()

        async def wait_writable() -> None:
            await endpoint.wait_writable()
            writable.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_writable)
            await trio.testing.wait_all_tasks_blocked()
            assert not writable.is_set()
            received = 0
            while received < count * 16002:
                received += len(await other.recv(1 << 20))
        assert writable.is_set()
        assert received == count * 16002
        assert endpoint.send(b"again", endpoint.local_address)


async def test_closing_wakes_whoever_waits(no_leaks):
    async with connected() as (endpoint, _):
        await fill(endpoint)
        closed = []

        async def wait(method) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await method()
            closed.append(method)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, endpoint.wait_readable)
            nursery.start_soon(wait, endpoint.wait_writable)
            await trio.testing.wait_all_tasks_blocked()
            endpoint.close()
            endpoint.close()
        assert len(closed) == 2
        for use in (lambda: endpoint.send(b"", ("127.0.0.1", 1)), lambda: endpoint.receive_all(1)):
            with pytest.raises(trio.ClosedResourceError):
                use()


async def test_nobody_listens(no_leaks):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await TcpEndpoint.connect(unused.getsockname())


async def test_connecting_can_be_cancelled(no_leaks):
    with socket.create_server(("127.0.0.1", 0)) as listener, trio.CancelScope() as scope:
        scope.cancel()
        await TcpEndpoint.connect(listener.getsockname())
    assert scope.cancelled_caught
