"""What ``publish`` says of frames that were sent, and did not arrive."""

from __future__ import annotations

import trio

import trio_livekit as lk
from trio_livekit.cli.publish import what_was_lost
from trio_livekit.server import serve

from ..support.waiting import wait_until
from ..support.walls import Firewall


async def test_what_is_lost_before_the_server_is_told():
    """A dead path takes frames for many seconds before it is given up."""
    wall = Firewall()
    with trio.fail_after(60), wall.around_rooms():
        async with serve() as server, lk.connect(server.url, server.token("alice", "room")) as room:
            async with room.publish_data_track("track") as track, room.events() as events:
                await track.send(b"arrives")
                await track.flush()
                await wait_until(lambda: not room.stats().transports[0].buffered)
                assert what_was_lost(room.stats()) == ""
                wall.up = True
                for _ in range(5):
                    await track.send(b"lost")
                await wait_until(lambda: room.stats().transports[0].abandoned_messages >= 5)
                said = "; 5 packets lost on the way to the server, 0 bytes unacknowledged"
                assert what_was_lost(room.stats()) == said
                wall.up = False
                await room.simulate(lk.SimulateScenario.FULL_RECONNECT)
                while not isinstance(await events.receive(), lk.events.Reconnected):
                    pass
                said = "; reconnected 1 time, 1 to a new session (what was on its way then is not counted)"
                assert what_was_lost(room.stats()).endswith(said)
