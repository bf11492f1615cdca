"""What LiveKit Cloud adds to a server: a list of regions, here on loopback, and regions that do not work."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from .heads import read_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


class FakeCloud:
    """Answers ``/settings/regions``, and everything else with ``status``."""

    def __init__(self) -> None:
        self.url = ""
        self.regions: list[str] = []
        self.body: bytes | None = None
        """The list of regions as it is sent; made from ``regions`` unless set."""
        self.regions_status = 200
        self.status = 503
        self.requests: list[str] = []
        """The first line of each, and the token of those for regions."""
        self.hangs = False

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            head = await read_head(stream)
            if not head:
                return
            line = head.split(b"\r\n")[0].decode()
            self.requests.append(line.split("?")[0])
            if "/settings/regions" in line:
                if self.hangs:
                    await stream.receive_some()  # until the client gives up
                    return
                entries = [{"region": f"r{n}", "url": url, "distance": str(n)} for n, url in enumerate(self.regions)]
                body = json.dumps({"regions": entries}).encode() if self.body is None else self.body
                await stream.send_all(_answer(self.regions_status, body))
            else:
                await stream.send_all(_answer(self.status, b"nothing here"))

    @property
    def regions_asked(self) -> int:
        return sum("/settings/regions" in line for line in self.requests)


def _answer(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def fake_cloud(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCloud]:
    """A cloud on loopback, which the package takes for one as long as the block lasts."""
    cloud = FakeCloud()
    with monkeypatch.context() as patch:
        patch.setattr("trio_livekit._session.regions._CLOUD_HOSTS", ("127.0.0.1",))
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, cloud.serve, 0, host="127.0.0.1"))
            cloud.url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
            yield cloud
            nursery.cancel_scope.cancel("the test is over")
