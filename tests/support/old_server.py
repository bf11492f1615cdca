"""A proxy that makes a LiveKit server look older than its single-connection endpoint: ``/rtc/v1`` is not there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from .heads import read_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\nConnection: close\r\n\r\n404 page not found"


@asynccontextmanager
async def without_v1(url: str) -> AsyncIterator[str]:
    """The URL of a proxy to the server at ``url``, for as long as the block lasts."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    upstream_address = parts.hostname, parts.port

    async def relay(client: trio.SocketStream) -> None:
        async with client:
            head = await read_head(client)
            if not head:
                return
            if head.split()[1].startswith(b"/rtc/v1"):
                await client.send_all(_NOT_FOUND)
                return
            async with await trio.open_tcp_stream(*upstream_address) as upstream, trio.open_nursery() as nursery:
                await upstream.send_all(head)
                nursery.start_soon(_pump, upstream, client)
                await _pump(client, upstream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, relay, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for chunk in source:
            await sink.send_all(chunk)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
