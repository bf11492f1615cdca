"""The steps to a room one by one, each with an end of its own, for whoever wants to know which of them fails."""

from __future__ import annotations

__all__ = ["Admission", "Place", "knock", "open_connection", "place_of", "resolve", "shake_hands", "validate"]

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import trio

from .._transport import streams
from .._transport.http import HttpError, http_get
from ..errors import ConnectError, ConnectErrorReason
from .connection import Connection, Endpoint
from .joining import NOT_A_JWT, is_token, signal_base_url, token_problem, unreachable
from .nursery import lasting_nursery
from .regions import Regions

if TYPE_CHECKING:
    import ssl

    from .._sansio.signal import messages as m


class Place(NamedTuple):
    """Where a URL leads."""

    base_url: str
    host: str
    port: int
    is_secure: bool


class Admission(NamedTuple):
    """What a server says to somebody whom it lets in."""

    server: m.ServerInfo
    room: str
    identity: str
    relays: tuple[str, ...]
    """The URLs of TURN servers, without credentials."""


def place_of(url: str) -> Place:
    """Raises ``ConnectError`` for what is no server's URL."""
    base_url = signal_base_url(url)
    parts = urlsplit(base_url)
    is_secure = parts.scheme == "wss"
    return Place(base_url, parts.hostname or "", parts.port or (443 if is_secure else 80), is_secure)


async def resolve(place: Place) -> list[str]:
    """The addresses of the host. Raises ``OSError``."""
    found = await trio.socket.getaddrinfo(place.host, place.port, type=trio.socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def open_connection(place: Place) -> trio.SocketStream:
    """A TCP connection. Raises ``OSError``."""
    return await streams.open_tcp(place.host, place.port)


async def shake_hands(place: Place, stream: trio.SocketStream, context: ssl.SSLContext | None) -> str:
    """TLS on a TCP connection, which is closed afterwards: the version. Raises ``OSError``."""
    tls = await streams.shake_hands(stream, place.host, context)
    await trio.aclose_forcefully(tls)
    return str(tls.version())


async def validate(place: Place, token: str, context: ssl.SSLContext | None) -> str:
    """What the server has against the token; empty if nothing. Raises ``OSError`` or ``ConnectError``."""
    if not is_token(token):
        await trio.lowlevel.checkpoint()
        return NOT_A_JWT
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = await http_get(f"{place.base_url}/rtc/validate", headers=headers, ssl_context=context)
    except HttpError as exc:
        raise ConnectError(ConnectErrorReason.UNREACHABLE, f"{exc}: is this a LiveKit server?") from exc
    except streams.OnlyTls as exc:
        raise unreachable(place.base_url, exc) from exc
    if answer.status in (401, 403):
        return token_problem(answer.body.decode("utf-8", "replace"))
    return "" if answer.status == 200 else f"the server answered {answer.status}: is this a LiveKit server?"


async def knock(place: Place, token: str, context: ssl.SSLContext | None) -> Admission:
    """Join the room, without a peer connection, and leave it. Raises ``ConnectError``."""
    async with lasting_nursery("a probe") as (_, background):
        connection = Connection(
            background,
            Endpoint(Regions(place.base_url, context), ssl_context=context),
            on_response=lambda _: None,
            on_message=lambda *_: None,
            on_progress=lambda _: None,
            on_links_lost=lambda: None,
            on_room=lambda: None,
        )
        try:
            join = await connection.join(token)
        finally:
            await connection.leave()
    relays = tuple(url for server in join.ice_servers for url in server.urls if url.startswith("turn"))
    return Admission(join.server, join.room.name, join.participant.identity, relays)
