"""The little HTTP/1.1 that an entry point needs: read one request head within bounds, send one short text answer."""

from __future__ import annotations

__all__ = ["HttpRefusal", "HttpRequest", "read_request", "send_text"]

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import h11

from ..errors import LiveKitError

if TYPE_CHECKING:
    import trio

_MAX_QUERY_FIELDS = 64
_READ_BYTES = 4096
_LINGER_READS = 64


class HttpRefusal(LiveKitError):
    """The request is answered with this status and text, and the connection closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request head. Of query fields and headers that occur twice the first counts, as in Go."""

    method: str
    path: str
    query: dict[str, str] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    received: bytes = field(repr=False)
    """Everything read so far, for a websocket library that wants to read it again."""

    @property
    def wants_websocket(self) -> bool:
        return self.headers.get("upgrade", "").lower() == "websocket"


async def read_request(stream: trio.abc.ReceiveStream, max_bytes: int) -> HttpRequest | None:
    """The head of a request, or ``None`` if the client hung up before it was complete. The caller bounds the time.

    Raises ``HttpRefusal`` where it is too long, or none.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=max_bytes)
    received = bytearray()
    while True:
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            return None
        received += data
        try:
            parser.receive_data(bytes(data))
            event = parser.next_event()
            if isinstance(event, h11.Request):
                return _parse(event, bytes(received))
        except (h11.RemoteProtocolError, ValueError) as exc:
            status = getattr(exc, "error_status_hint", HTTPStatus.BAD_REQUEST)
            raise HttpRefusal(status, HTTPStatus(status).phrase) from None


def _parse(request: h11.Request, received: bytes) -> HttpRequest:
    """Raises ``ValueError`` for targets that are no URL."""
    # A base URL with a slash at its end makes two of them, which urlsplit would take for the start of a host name.
    target = urlsplit("/" + request.target.decode("ascii").lstrip("/"))
    headers: dict[str, str] = {}
    for header, text in request.headers:
        headers.setdefault(header.decode("ascii"), text.decode("latin-1"))
    query: dict[str, str] = {}
    for name, value in parse_qsl(target.query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS):
        query.setdefault(name, value)
    return HttpRequest(request.method.decode("ascii"), target.path, query, headers, received)


async def send_text(stream: trio.abc.HalfCloseableStream, status: int, text: str) -> None:
    """Answer with ``text``, and say that the connection ends here. Browsers of any origin may read it."""
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Access-Control-Allow-Origin: *\r\n"
        "Connection: close\r\n\r\n"
    )
    await stream.send_all(head.encode("ascii") + body)
    await stream.send_eof()
    for _ in range(_LINGER_READS):  # closing on unread bytes would reset the connection, and the answer be lost
        if not await stream.receive_some(_READ_BYTES):
            break
