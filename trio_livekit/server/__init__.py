"""A LiveKit-compatible data server inside your own process: for tests, demos, and one machine.

It speaks LiveKit's protocol, so that any LiveKit client can join: rooms, participants, metadata, data tracks and data
packets. There is no media, no TURN, and no cluster.

    async with trio_livekit.server.serve() as server:
        async with trio_livekit.connect(server.url, server.token("robot", "lab")) as room:
            ...

Behind ``serving``: ``rooms``, ``room``, ``tracks``, ``participant``, ``requests`` and ``admission`` decide, without
I/O; ``entry``, ``member``, ``signal``, ``peering`` and ``http`` talk to clients; ``hub`` and ``forwarding`` bring to
the ones what the others did; ``limits`` bounds it all.
"""

from __future__ import annotations

__all__ = ["ForwardingCounters", "Limits", "Server", "serve"]

from .forwarding import ForwardingCounters
from .limits import Limits
from .serving import Server, serve
