"""Datagrams over a TCP connection that we open: ICE-TCP for networks that block UDP (RFC 6544, framing RFC 4571)."""

from __future__ import annotations

__all__ = ["TcpEndpoint"]

import ipaddress
import math
import socket
from typing import TYPE_CHECKING

import trio

from .._sansio.ice.framing import MAX_FRAME, StreamFramer, frame
from ..errors import DecodeError
from .addressing import plain_address, socket_address

if TYPE_CHECKING:
    from .._sansio.types import Address
    from .datagrams import DatagramEndpoint

_READ_BYTES = 65536
_UNSENT_LIMIT_BYTES = 256 * 1024
"""What the kernel has not taken yet and is kept here, before senders have to wait."""


class TcpEndpoint:
    """A ``DatagramEndpoint`` on one TCP connection. ``run`` must be running for what the kernel defers to be sent.

    When the connection ends, ``receive_all`` raises ``trio.BrokenResourceError``.
    """

    def __init__(self, sock: socket.socket, remote: Address) -> None:
        self._sock = sock
        self._remote = remote
        self._local = plain_address(sock.getsockname())
        self._framer = StreamFramer()
        self._unsent = bytearray()
        self._stuck = trio.Event()
        self._drained = trio.Event()

    @classmethod
    async def connect(cls, remote: Address) -> TcpEndpoint:
        """Connect to an IP address. Raises ``OSError``; the caller bounds the time."""
        version = ipaddress.ip_address(remote[0].partition("%")[0]).version
        sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await trio.socket.from_stdlib_socket(sock).connect(socket_address(remote))
            return cls(sock, remote)
        except BaseException:
            sock.close()
            raise

    @property
    def local_address(self) -> Address:
        """Our end of the connection."""
        return self._local

    def allow_large_frames(self) -> None:
        """DTLS is up: the peer has proved who it is, and may send frames as large as its records."""
        self._framer.max_frame = MAX_FRAME

    def send(self, data: bytes, remote: Address) -> bool:
        """Send one datagram; False: too much is waiting already."""
        return self.send_many([data], remote) == 1

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        """Send datagrams in order; return how many were taken, which is all or none."""
        if len(self._unsent) > _UNSENT_LIMIT_BYTES:
            return 0
        self._unsent += b"".join(map(frame, datagrams))
        self._write()
        if self._unsent:
            self._stuck.set()
        return len(datagrams)

    async def wait_readable(self) -> None:
        """Wait until something arrived, or an unfinished frame has taken too long."""
        deadline = self._framer.next_timeout()
        with trio.CancelScope(deadline=math.inf if deadline is None else deadline):
            await trio.lowlevel.wait_readable(self._open_socket())

    def receive_all(self, limit: int) -> list[tuple[bytes, Address]]:
        """Take what has arrived, up to one read's worth. Raises ``trio.BrokenResourceError`` at the end."""
        now = trio.current_time()
        try:
            data = self._open_socket().recv(_READ_BYTES)
            if not data:
                raise trio.BrokenResourceError("the peer closed the TCP connection")
            frames = self._framer.receive(data, now)
        except BlockingIOError:
            frames = []
        except (OSError, DecodeError) as exc:
            raise trio.BrokenResourceError(f"the TCP connection broke: {exc}") from exc
        if self._framer.is_stalled(now):
            raise trio.BrokenResourceError("the peer did not finish a frame in time")
        return [(data, self._remote) for data in frames]

    async def wait_writable(self) -> None:
        """Wait until sending is worth trying again."""
        await trio.lowlevel.checkpoint()
        while len(self._unsent) > _UNSENT_LIMIT_BYTES:
            self._open_socket()
            await self._drained.wait()
        self._open_socket()

    async def run(self) -> None:
        """Send what the kernel did not take at once, until cancelled or closed."""
        try:
            while True:
                await self._stuck.wait()
                self._stuck = trio.Event()
                while self._unsent:
                    await trio.lowlevel.wait_writable(self._open_socket())
                    self._write()
                    if len(self._unsent) <= _UNSENT_LIMIT_BYTES // 2:
                        self._drained.set()
                        self._drained = trio.Event()
        except trio.ClosedResourceError:
            pass

    def close(self) -> None:
        """Close the connection, and wake whoever waits. Idempotent."""
        if self._sock.fileno() >= 0:
            if trio.lowlevel.in_trio_run():
                trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._unsent.clear()
            self._drained.set()

    def _write(self) -> None:
        try:
            sent = self._open_socket().send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self._unsent)  # broken: whoever reads will find out
        del self._unsent[:sent]

    def _open_socket(self) -> socket.socket:
        if self._sock.fileno() < 0:
            raise trio.ClosedResourceError("this connection was closed")
        return self._sock


if TYPE_CHECKING:
    _conforms: type[DatagramEndpoint] = TcpEndpoint
