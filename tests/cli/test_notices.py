"""What a running command says on standard error."""

from __future__ import annotations

import trio_livekit as lk
from trio_livekit.cli.notices import telling_of_the_connection
from trio_livekit.testing.rooms import open_rooms


async def test_a_lost_connection_is_told_of(capsys):
    async with open_rooms("reader") as (server, room), telling_of_the_connection(room), room.events() as events:
        server.drop_signal("test", "reader")
        assert await events.receive() == lk.events.Reconnecting()
        assert await events.receive() == lk.events.Reconnected(resumed=True)
    lost, back = capsys.readouterr().err.splitlines()
    assert lost == "trio-livekit: the connection is lost, and looked for"
    assert back == "trio-livekit: connected again"
