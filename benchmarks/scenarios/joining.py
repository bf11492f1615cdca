"""How long it takes to be in a room, and to see the first frame of a track that is already being published."""

from __future__ import annotations

__all__ = ["SCENARIOS"]

import statistics
from uuid import uuid4

from ..scenario import LOWER, OURSELVES, Metric, Options, Peer, Scenario
from ..worker import open_workers
from .rooms import TRACK, open_server

_RATE = 500.0  # frames a second, so that waiting for the next one adds 1 ms on average


def measure_joining(peer: Peer, options: Options) -> dict[str, float]:
    visits = options.pick(6, 3)
    with open_server() as server, open_workers(peer, "track") as (publisher, visitor):
        room = uuid4().hex
        publisher.ask("connect", url=server.url, token=server.token("publisher", room))
        publisher.ask("publish", name=TRACK)
        publisher.tell("push", name=TRACK, size=100, rate=_RATE, seconds=600.0)
        visitor.ask("usage")  # has started, and imported what it needs
        found = []
        for number in range(visits):
            token = server.token(f"visitor-{number}", room)
            found.append(visitor.ask("visit", url=server.url, token=token, publisher="publisher", name=TRACK))
    values: dict[str, float] = {}
    for name, key in (("connected", "connected_s"), ("first frame", "first_frame_s")):
        values[f"{name}, first time"] = found[0][key] * 1000
        values[f"{name}, later"] = statistics.median(visit[key] for visit in found[1:]) * 1000
    return values


SCENARIOS = (
    Scenario(
        "joining",
        "from connect() to connected, and to the first frame; the first time in a process, and later",
        (OURSELVES, "livekit"),
        tuple(
            Metric(f"{name}, {when}", "ms", LOWER)
            for name in ("connected", "first frame")
            for when in ("first time", "later")
        ),
        measure_joining,
    ),
)
