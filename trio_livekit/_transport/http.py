"""One HTTP/1.1 GET: for the few things that a LiveKit server says without a websocket."""

from __future__ import annotations

__all__ = ["HttpAnswer", "HttpError", "http_get"]

from dataclasses import field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from .._sansio.records import dataclass
from ..errors import LiveKitError
from .streams import OnlyTls, asks_for_tls, is_tls
from .websocket import connect_stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_MAX_HEAD_BYTES = 16 << 10
_READ_BYTES = 16 << 10


class HttpError(LiveKitError):
    """The server broke off, or answered with something that is no HTTP, or with too much of it."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The status, and the body, which may hold anything."""

    status: int
    body: bytes = field(repr=False)


async def http_get(
    url: str,
    *,
    headers: Mapping[str, str],
    ssl_context: ssl.SSLContext | None = None,
    max_body_bytes: int = 64 << 10,
) -> HttpAnswer:
    """Ask for ``url`` (ws and http, wss and https mean the same) over a connection of its own.

    The caller bounds the time; a cancelled call leaves nothing behind. Redirections are not followed.
    Raises ``OSError`` where the server cannot be reached, ``HttpError`` where it does not answer.
    """
    import h11

    parts = urlsplit(url)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = h11.Request(
        method="GET",
        target=target,
        headers=[("Host", parts.netloc.rpartition("@")[2]), ("Connection", "close"), *headers.items()],
    )
    stream = await connect_stream(url, ssl_context=ssl_context)
    try:
        await stream.send_all((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
        status = 0
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                received = bytes(await stream.receive_some(_READ_BYTES))
                if not status and is_tls(received):
                    raise OnlyTls
                connection.receive_data(received)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > max_body_bytes:
                    raise HttpError(f"the answer is longer than {max_body_bytes} bytes")
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                if parts.scheme in ("http", "ws") and asks_for_tls(status, body.decode("utf-8", "replace")):
                    raise OnlyTls
                return HttpAnswer(status, bytes(body))
    except (h11.RemoteProtocolError, trio.BrokenResourceError) as exc:
        raise HttpError(f"the server does not speak HTTP as it should: {exc}") from exc
    finally:
        await trio.aclose_forcefully(stream)
