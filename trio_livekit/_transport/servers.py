"""STUN and TURN servers as URLs (RFC 7064, RFC 7065), and where they are.

turn:host[:port][?transport=udp|tcp]        turns:host[:port][?transport=tcp]        stun:host[:port]
"""

from __future__ import annotations

__all__ = ["ServerUrl", "TurnServer", "resolve", "stun_servers", "turn_servers"]

import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, NamedTuple

import trio

from ..errors import DecodeError
from .addressing import plain_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._sansio.signal.messages import IceServer
    from .._sansio.types import Address

logger = logging.getLogger(__name__)

_HOST_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:%")
"""Of names and addresses. A name in another script has to come encoded (RFC 7065 section 3.1)."""

_DEFAULT_PORTS = {"stun": 3478, "turn": 3478, "turns": 5349}


class ServerUrl(NamedTuple):
    """A parsed URL. ``transport`` is ``udp``, ``tcp`` or ``tls``."""

    kind: str
    host: str
    port: int
    transport: str

    @classmethod
    def parse(cls, url: str) -> ServerUrl:
        """Read a URL. Raises ``DecodeError``, also for what is not spoken here, such as STUN over TCP."""
        scheme, _, rest = url.partition(":")
        scheme = scheme.lower()
        if scheme not in _DEFAULT_PORTS:
            raise DecodeError(f"not the URL of a STUN or TURN server: {scheme[:20]}")
        place, _, query = rest.partition("?")
        host, port = _host_and_port(place, _DEFAULT_PORTS[scheme])
        transport = "udp"
        for parameter in query.split("&"):
            name, _, value = parameter.partition("=")
            if name == "transport":
                transport = value.lower()
        if scheme == "turns":
            transport = "tls" if transport == "tcp" or not query else transport + " with TLS"
        if transport not in ("udp", "tcp", "tls") or (scheme == "stun" and transport != "udp"):
            raise DecodeError(f"a {scheme} server over {transport[:20]} is not supported")
        return cls("stun" if scheme == "stun" else "turn", host, port, transport)


class TurnServer(NamedTuple):
    """A relay that may be used, and the credentials for it."""

    url: ServerUrl
    username: str
    password: str

    def __repr__(self) -> str:
        return f"TurnServer({self.url!r})"


def turn_servers(servers: Iterable[IceServer]) -> list[TurnServer]:
    """The relays among the servers: UDP first, for it costs the least. What cannot be read is left out."""
    found = [
        TurnServer(url, server.username, server.credential)
        for server in servers
        for url in _readable(server.urls)
        if url.kind == "turn"
    ]
    return sorted(dict.fromkeys(found), key=lambda server: server.url.transport != "udp")


def stun_servers(servers: Iterable[IceServer]) -> list[ServerUrl]:
    """The STUN servers among the servers."""
    urls = (url for server in servers for url in _readable(server.urls) if url.kind == "stun")
    return list(dict.fromkeys(urls))


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a server, in the system's order of preference; of an IP address, itself. Raises ``OSError``."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        return [plain_address(place) for *_, place in found if isinstance(place[0], str)]
    await trio.lowlevel.checkpoint()
    return [(host, port)]


def _readable(urls: Iterable[str]) -> Iterator[ServerUrl]:
    for url in urls:
        try:
            yield ServerUrl.parse(url)
        except DecodeError as exc:
            logger.debug("ignored a server: %s", exc)


def _host_and_port(place: str, default: int) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or ":" not in host:
            raise DecodeError("a server URL has half an IPv6 address")
        port = rest.removeprefix(":") if rest.startswith(":") else ("" if not rest else "?")
    else:
        host, _, port = place.partition(":")
    if not _HOST_CHARACTERS.issuperset(host) or any(not 0 < len(label) < 64 for label in host.split(".")):
        raise DecodeError("a server URL has no usable host")
    if not port:
        return host, default
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise DecodeError("a server URL has a port that is not a number in range")
    return host, int(port)
