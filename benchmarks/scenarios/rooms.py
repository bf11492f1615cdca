"""Two participants in a room of a real livekit-server, each in a process of its own."""

from __future__ import annotations

__all__ = ["TRACK", "Pair", "open_pair", "open_server"]

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from tests.support import livekit

from ..scenario import Peer, Unavailable
from ..worker import Worker, WorkerError, open_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACK = "track"

_QUIET_S = 0.25


@contextlib.contextmanager
def open_server() -> Iterator[livekit.LiveKitServer]:
    """A server with its default bounds. Raises ``Unavailable`` where there is no binary."""
    binary = livekit.find_server()
    if binary is None:
        raise Unavailable("there is no livekit-server: .ci/run builds one, and LIVEKIT_SERVER names one")
    with (
        tempfile.TemporaryDirectory() as directory,
        livekit.run_server(binary, Path(directory), {"logging": {"level": "error"}}) as server,
    ):
        yield server


class Pair(NamedTuple):
    """A publisher of ``TRACK`` and its one subscriber."""

    publisher: Worker
    subscriber: Worker

    def stream(self, size: int, rate: float, seconds: float) -> dict[str, Any]:
        """Push frames at a rate. ``share`` is of the frames that were due which arrived, intact."""
        self.subscriber.ask("expect", size=size)
        before = [worker.ask("usage")["cpu_s"] for worker in self]
        pushed = self.publisher.ask("push", name=TRACK, size=size, rate=rate, seconds=seconds)
        result = self.subscriber.ask("received", sent=pushed["pushed"], quiet_s=_QUIET_S)
        after = [worker.ask("usage")["cpu_s"] for worker in self]
        if result["damaged"]:
            raise WorkerError(f"{result['damaged']} of {result['received']} frames of {size} bytes arrived damaged")
        result["share"] = result["received"] / pushed["pushed"]
        result["kept_up"] = pushed["seconds"] < seconds * 1.05 + 0.02
        result["rate"] = result["received"] / max(pushed["seconds"], seconds)
        result["push_cpu_s"], result["receive_cpu_s"] = (b - a for a, b in zip(before, after, strict=True))
        return result


@contextlib.contextmanager
def open_pair(peer: Peer) -> Iterator[Pair]:
    """Both joined, the track published and subscribed to, and frames arriving."""
    with open_server() as server, open_workers(peer, "track") as workers:
        pair = Pair(*workers)
        room = uuid4().hex
        for identity, worker in zip(Pair._fields, pair, strict=True):
            worker.ask("connect", url=server.url, token=server.token(identity, room))
        pair.publisher.ask("publish", name=TRACK)
        pair.subscriber.ask("subscribe", publisher="publisher", name=TRACK)
        for _ in range(20):
            if pair.stream(100, 20, 0.2)["received"]:
                break
        else:
            raise WorkerError("no frame arrived")
        yield pair
