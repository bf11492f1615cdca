"""Connections to TURN servers: over UDP, TCP or TLS, with one face."""

from __future__ import annotations

__all__ = ["Carrier", "open_carrier"]

from typing import TYPE_CHECKING, Protocol

import trio

from .addressing import plain_address
from .servers import resolve
from .streams import open_tcp, shake_hands

if TYPE_CHECKING:
    from .._sansio.types import Address
    from .config import PeerConfig
    from .datagrams import DatagramEndpoint
    from .servers import ServerUrl

_UNSENT_LIMIT_BYTES = 256 * 1024
"""What a stream has not taken yet and is kept here, before senders have to wait."""

_READ_BYTES = 65536
_BATCH = 64


class Carrier(Protocol):
    """What the messages of a TURN client travel in. ``receive`` raises ``trio.BrokenResourceError`` at the end."""

    is_stream: bool
    server: Address

    def send_many(self, messages: list[bytes]) -> int: ...

    async def receive(self) -> list[bytes]: ...

    async def wait_writable(self) -> None: ...

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


async def open_carrier(url: ServerUrl, config: PeerConfig, *, at: Address | None = None) -> Carrier:
    """Connect to a server; ``at`` another address than its name says, but as if it were the same server.

    Raises ``OSError``. The caller bounds the time.
    """
    host, port = at or (url.host, url.port)
    if url.transport == "udp":
        return await _open_datagrams(host, port, config)
    stream = await open_tcp(host, port)
    try:
        server = plain_address(stream.socket.getpeername())  # which fails if it has hung up
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    if url.transport == "tcp":
        return StreamCarrier(stream, server)
    return StreamCarrier(await shake_hands(stream, url.host, config.ssl_context), server)


async def _open_datagrams(host: str, port: int, config: PeerConfig) -> DatagramCarrier:
    refusal: OSError | None = None
    for server in await resolve(host, port):
        is_ipv6 = ":" in server[0]
        anywhere = "::" if is_ipv6 else "0.0.0.0"  # noqa: S104 - the route decides which address it leaves from
        own = next((own for own in config.hosts or () if (":" in own) is is_ipv6), anywhere)
        try:
            return DatagramCarrier(config.bind(own), server)
        except OSError as exc:
            refusal = exc
    raise refusal or OSError(f"{host} has no address")


class DatagramCarrier:
    """To the server over UDP. Nothing but what the server sends is listened to."""

    is_stream = False

    def __init__(self, endpoint: DatagramEndpoint, server: Address) -> None:
        self.server = server
        self._endpoint = endpoint

    def send_many(self, messages: list[bytes]) -> int:
        """Send in order; return how many were taken."""
        return self._endpoint.send_many(messages, self.server)

    async def receive(self) -> list[bytes]:
        """Wait for datagrams of the server's."""
        await self._endpoint.wait_readable()
        return [data for data, source in self._endpoint.receive_all(_BATCH) if source == self.server]

    async def wait_writable(self) -> None:
        """Wait until sending is worth trying again."""
        await self._endpoint.wait_writable()

    async def run(self) -> None:
        """Nothing is left to be done later."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Close the socket."""
        self._endpoint.close()
        await trio.lowlevel.checkpoint()


class StreamCarrier:
    """To the server over TCP or TLS. ``run`` writes what the callers of ``send_many`` leave here."""

    is_stream = True

    def __init__(self, stream: trio.abc.Stream, server: Address) -> None:
        self.server = server
        self._stream = stream
        self._unsent = bytearray()
        self._wake = trio.Event()
        self._drained = trio.Event()

    def send_many(self, messages: list[bytes]) -> int:
        """Take all messages, or none if too much is waiting already."""
        if len(self._unsent) > _UNSENT_LIMIT_BYTES:
            return 0
        self._unsent += b"".join(messages)
        self._wake.set()
        return len(messages)

    async def receive(self) -> list[bytes]:
        """Wait for the next piece of the stream."""
        data = await self._stream.receive_some(_READ_BYTES)
        if not data:
            raise trio.BrokenResourceError("the TURN server closed the connection")
        return [bytes(data)]

    async def wait_writable(self) -> None:
        """Wait until sending is worth trying again."""
        await trio.lowlevel.checkpoint()
        while len(self._unsent) > _UNSENT_LIMIT_BYTES:
            await self._drained.wait()

    async def run(self) -> None:
        """Write until cancelled. Raises ``trio.BrokenResourceError`` when the connection breaks."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            data, self._unsent = self._unsent, bytearray()
            self._drained.set()
            self._drained = trio.Event()
            await self._stream.send_all(data)

    async def aclose(self) -> None:
        """Close the connection at once, and wake whoever waits to write."""
        self._unsent.clear()
        self._drained.set()
        await trio.aclose_forcefully(self._stream)


if TYPE_CHECKING:
    _conform: tuple[type[Carrier], ...] = (DatagramCarrier, StreamCarrier)
