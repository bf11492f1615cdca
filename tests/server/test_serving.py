"""The server as a scope: cancelled anywhere, it leaves nothing behind; and strangers stay cheap."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from trio_livekit._sansio.signal import messages as m
from trio_livekit.server import Limits, serve

from ..fuzz.flood import resident_kib
from ..support.cancel import cancel_everywhere
from .clients import http, signal_client


async def test_serving_can_be_cancelled_anywhere():
    async def serve_a_request():
        async with serve() as server:
            assert (await http(server, "/"))[0] == 200

    await cancel_everywhere(serve_a_request)


async def test_serving_a_client_can_be_cancelled_anywhere():
    async def serve_a_client():
        async with serve() as server, signal_client(server) as client:
            await client.expect(m.RefreshToken)

    await cancel_everywhere(serve_a_client)


async def test_a_connection_that_says_nothing_costs_little():
    """5,000 of them at once, where the server is told to keep so many; meanwhile it lets others in."""
    count = 5000
    if not may_open(2 * count + 200):
        pytest.skip("this process may not have 10,200 files open (see `ulimit -Hn`)")
    async with serve(limits=Limits(pending_connections=count + 10, handshake_timeout_s=300.0)) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with ExitStack() as stack, trio.fail_after(120):
            strangers = [stack.enter_context(socket.socket()) for _ in range(count)]
            before = resident_kib()
            for number, stranger in enumerate(strangers):
                stranger.setblocking(False)
                stranger.connect_ex(address)
                if number % 50 == 49:
                    await trio.testing.wait_all_tasks_blocked()  # the kernel keeps but so many for the server
            for stranger in strangers:
                stranger.send(b"GET /rtc?access_token=")
            assert (await http(server, "/"))[0] == 200
            await trio.testing.wait_all_tasks_blocked()
            assert (resident_kib() - before) / count < 100
            for stranger in strangers:
                with pytest.raises(BlockingIOError):  # open, and not answered
                    stranger.recv(1)


def may_open(files: int) -> bool:
    """Whether this process may have so many files open, if it asks for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(most, soft) >= files


async def test_one_room_does_not_hear_of_another_being_flooded():
    """A client that publishes and unpublishes without end costs its own room alone."""
    with trio.fail_after(20):
        async with serve() as server, signal_client(server, "loud", "noisy") as loud, signal_client(server) as quiet:
            await quiet.expect(m.RefreshToken)
            for _ in range(200):
                await loud.send(m.PublishDataTrack(1, "t"))
                await loud.send(m.UnpublishDataTrack(1))
            await quiet.send(m.Ping(1))
            assert isinstance(await quiet.next(), m.Pong)
            for _ in range(200):
                await loud.expect(m.DataTrackUnpublished)
