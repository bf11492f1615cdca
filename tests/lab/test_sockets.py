"""A whole client on a bad network, in front of the embedded server."""

from __future__ import annotations

import contextlib

import pytest
import trio

import trio_livekit as lk
from trio_livekit.server import serve
from trio_livekit.testing.faults import CONDITIONS, LinkModel

from ..support.servers import EmbeddedServer
from .sockets import bad_sockets

CONNECT_S = 20.0

PROBE = 1188 + 37
LARGEST = 1187 + 37
FITS = 1100
"""Datagrams: what fills a packet exactly is a question whether the path carries it."""


@pytest.mark.parametrize("name", ["loss 5 %", "reordering", "corruption", "MTU 1200", "narrow, short queue"])
async def test_a_client_sends_and_receives_over(name: str):
    async with serve() as embedded:
        server = EmbeddedServer(embedded)
        async with lk.connect(server.url, server.token("bob", "lab")) as bob:
            async with bad_sockets(CONDITIONS[name]), bob.data_packets() as packets:
                with trio.fail_after(CONNECT_S):
                    async with (
                        lk.connect(server.url, server.token("alice", "lab")) as alice,
                        alice.data_packets() as back,
                    ):
                        for number in range(20):
                            await alice.publish_data(b"%d " % number * 300)
                            await bob.publish_data(b"%d " % number * 300)
                        for arriving in (packets, back):
                            for number in range(20):
                                assert (await anext(arriving)).payload == b"%d " % number * 300


async def test_packets_fit_a_path_that_becomes_narrow():
    """The server's own packets do too, as it is one of ours. What was under way waits until the path is wide again."""
    async with serve() as embedded:
        server = EmbeddedServer(embedded)
        async with lk.connect(server.url, server.token("bob", "lab")) as bob:
            async with bad_sockets(LinkModel(delay_s=0.005)) as sockets, bob.data_packets() as packets:
                async with lk.connect(server.url, server.token("alice", "lab")) as alice:
                    with trio.fail_after(CONNECT_S):
                        await alice.publish_data(bytes(20_000))
                        await anext(packets)
                        sockets.set_model(CONDITIONS["MTU 1150"])
                        async with alice.publish_data_track("frames") as track:
                            sockets.sizes = {LARGEST}
                            mtu = alice.stats().transports[0].mtu
                            while (
                                alice.stats().transports[0].mtu >= mtu  # there may be nothing to see for a while
                                or max(sockets.sizes - {PROBE}, default=LARGEST) > FITS
                            ):
                                sockets.sizes.clear()
                                for _ in range(20):
                                    with contextlib.suppress(lk.PushError):  # full, while nothing gets through
                                        track.try_push(bytes(1100))
                                    await trio.sleep(0.02)
                        await alice.publish_data(bytes(20_000))
                        assert len((await anext(packets)).payload) == 20_000
