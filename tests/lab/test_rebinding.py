"""A client whose NAT is given another port, in front of the real server: nothing of the session is lost."""

from __future__ import annotations

import pytest
import trio

import trio_livekit as lk

from ..support.servers import RealServer
from .sockets import bad_sockets

pytestmark = [pytest.mark.livekit_server, pytest.mark.timeout(60)]

PATIENCE_S = 10.0
"""For either direction to work again. It takes less than 3 seconds; a session that was lost and resumed, 15."""


@pytest.mark.parametrize("lite", [True, False], ids=["lite", "full"])
async def test_after_a_rebinding_data_flows_both_ways(start_livekit_server, lite: bool):
    server = RealServer(start_livekit_server({"rtc": {"use_ice_lite": lite}}))
    async with lk.connect(server.url, server.token("bob", "lab")) as bob, bad_sockets() as sockets:
        async with (
            lk.connect(server.url, server.token("alice", "lab")) as alice,
            alice.data_packets() as to_alice,
            bob.data_packets() as to_bob,
        ):
            for name in (b"before", b"after"):
                with trio.fail_after(PATIENCE_S):
                    await bob.publish_data(name)
                    assert (await anext(to_alice)).payload == name
                    await alice.publish_data(name)
                    assert (await anext(to_bob)).payload == name
                if name == b"before":
                    await trio.sleep(0.5)
                    sockets.rebind()
