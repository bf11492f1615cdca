"""The beginning of an HTTP exchange, for servers that are made for one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio


async def read_head(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes up to the end of a request's head, or of what there was of it when the client went."""
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = await stream.receive_some()
        if not chunk:
            break
        head += chunk
    return head
