"""The server as a scope: cancelled anywhere, it leaves nothing behind; and strangers stay cheap."""

from __future__ import annotations

import tracemalloc

import trio
import trio.testing

from trio_livekit._sansio.signal import messages as m
from trio_livekit.server import Limits, serve

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
    async with serve(limits=Limits(pending_connections=200)) as server:
        port = int(server.url.rpartition(":")[2])
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(100)]
            for stream in streams:
                await stream.send_all(b"GET /rtc?access_token=")
            await trio.testing.wait_all_tasks_blocked()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (after - before) / len(streams) < 100 * 1024  # both ends together
        for stream in streams:
            await stream.aclose()


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
