"""Datagram endpoints: what a peer connection sends and receives UDP through, and the real one on a socket.

``DatagramEndpoint`` is the interface; ``trio_livekit.testing.network`` has one in memory. Everything but the two
``wait_`` methods is synchronous and never blocks, so that sending happens in the caller's own step and a receiver
drains many datagrams for one switch of tasks:

    while True:
        await endpoint.wait_readable()
        for data, remote in endpoint.receive_all(64):
            ...

UDP promises nothing, and neither does an endpoint: what the kernel refuses for good (no route, a firewall, a full
device queue) is counted and forgotten, as if the network had lost it. Only "not now" is reported to the sender.
"""

from __future__ import annotations

__all__ = ["DatagramEndpoint", "EndpointStatistics", "UdpEndpoint"]

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Protocol

import trio

from .._sansio.records import dataclass
from .addressing import plain_address, socket_address
from .offload import (
    GRO_ANCILLARY_BYTES,
    enable_coalescing,
    kernel_segments,
    run_end,
    segment_size,
    segmentation_header,
)

if TYPE_CHECKING:
    from .._sansio.types import Address
    from .addressing import SocketAddress

_BUFFER_BYTES = 4 << 20
"""Socket buffers asked for, both ways: some 3,000 full packets, a burst at 80 MB/s while another task has the core."""

_RECEIVE_BYTES = 9216
"""The longest datagram received whole: a jumbo frame. A longer one arrives cut, and fails its authentication."""

_COALESCED_BYTES = 65535
_COALESCING_TRIAL = 1000
"""Receives after which UDP_GRO is dropped if it never joined two datagrams: it then only costs (0.6 us each)."""

_MAX_REMOTES = 4096
"""Socket addresses remembered per endpoint, before the memory starts afresh."""

_REFUSES_THIS_SIZE = frozenset({errno.EINVAL, errno.EMSGSIZE})
_REFUSES_SEGMENTS = frozenset({errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP})


class DatagramEndpoint(Protocol):
    """A bound source of datagrams. After ``close`` every other call raises ``trio.ClosedResourceError``."""

    @property
    def local_address(self) -> Address:
        """Where this endpoint is bound."""
        ...

    def send(self, data: bytes, remote: Address) -> bool:
        """Send one datagram. False: not now, nothing was taken, see ``wait_writable``."""
        ...

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        """Send datagrams in order; return how many were taken. The rest may be offered after ``wait_writable``."""
        ...

    async def wait_readable(self) -> None:
        """Wait until ``receive_all`` has something to return."""
        ...

    def receive_all(self, limit: int) -> list[tuple[bytes, Address]]:
        """Take what has arrived, in order, with its source. Stops after ``limit``; coalesced datagrams stay together,
        so a few more than ``limit`` may come."""
        ...

    async def wait_writable(self) -> None:
        """Wait until a send is worth trying again."""
        ...

    def close(self) -> None:
        """Give the address back, and wake whoever waits. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class EndpointStatistics:
    """Counters of one ``UdpEndpoint`` since it was bound."""

    datagrams_sent: int
    datagrams_received: int
    send_calls: int
    send_blocked: int
    """Sends that met a full socket buffer."""
    datagrams_refused: int
    """Datagrams the kernel refused for good: lost, as far as a peer can tell."""
    receive_errors: int
    last_error: str


class UdpEndpoint:
    """A ``DatagramEndpoint`` on a UDP socket, IPv4 or IPv6, that sends in segmented bursts where the kernel can."""

    __slots__ = (
        "_blocked",
        "_calls",
        "_coalesced",
        "_coalescing",
        "_last_error",
        "_local",
        "_receive_errors",
        "_received",
        "_refused",
        "_remotes",
        "_sent",
        "_sock",
        "_trial",
        "_v6",
        "_widest_segment",
    )

    def __init__(self, sock: socket.socket, *, segmented: bool = True, coalescing: bool = False) -> None:
        """Take over a bound UDP socket. Most callers want ``bind``.

        ``segmented=False`` never uses UDP_SEGMENT. ``coalescing=True`` tries UDP_GRO, and drops it when nothing comes
        of it; not worth trying on a loopback interface.
        """
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            try:
                sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
            except OSError:
                pass  # some systems refuse more than their limit instead of granting the limit
        self._sock = sock
        self._v6 = sock.family == socket.AF_INET6
        self._local = plain_address(sock.getsockname())
        self._remotes: dict[Address, SocketAddress] = {}
        self._widest_segment = _COALESCED_BYTES if segmented and kernel_segments() else 0
        self._coalescing = coalescing and enable_coalescing(sock, True)
        self._trial = _COALESCING_TRIAL
        self._coalesced = False
        self._sent = self._received = self._calls = self._blocked = self._refused = self._receive_errors = 0
        self._last_error = ""

    @classmethod
    def bind(cls, host: str, port: int = 0, *, segmented: bool = True, coalescing: bool = False) -> UdpEndpoint:
        """Bind a new socket to an IP address (text; a link-local IPv6 one needs its ``%scope``); port 0: any free one.

        Raises:
            OSError: the address is not ours, or the port is taken.
            ValueError: ``host`` is not an IP address.
        """
        version = ipaddress.ip_address(host).version
        sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(socket_address((host, port)))
            return cls(sock, segmented=segmented, coalescing=coalescing)
        except BaseException:
            sock.close()
            raise

    @property
    def local_address(self) -> Address:
        """Where this endpoint is bound, with the port the system chose."""
        return self._local

    def statistics(self) -> EndpointStatistics:
        """A snapshot of the counters."""
        return EndpointStatistics(
            datagrams_sent=self._sent,
            datagrams_received=self._received,
            send_calls=self._calls,
            send_blocked=self._blocked,
            datagrams_refused=self._refused,
            receive_errors=self._receive_errors,
            last_error=self._last_error,
        )

    def send(self, data: bytes, remote: Address) -> bool:
        """Send one datagram. False: the socket buffer is full and nothing was taken; ``wait_writable``, then again."""
        return self._send_each([data], remote) == 1

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        """Send datagrams in order, in as few system calls as the kernel allows; return how many were taken.

        What the kernel refuses for good counts as taken: it is lost, and the peer's protocol will notice.
        """
        total = len(datagrams)
        if total < 2 or not self._widest_segment:
            return self._send_each(datagrams, remote)
        address = self._remotes.get(remote) or self._remember(remote)
        if address is None:
            return self._send_each(datagrams, remote)
        taken = 0
        while taken < total:
            end = run_end(datagrams, taken)
            run = datagrams if end - taken == total else datagrams[taken:end]
            size = len(run[0])
            if len(run) == 1 or size > self._widest_segment:
                sent = self._send_each(run, remote)
                taken += sent
                if sent < len(run):
                    break
                continue
            try:
                self._sock.sendmsg(run, segmentation_header(size), 0, address)
            except BlockingIOError:
                self._blocked += 1
                break
            except OSError as exc:
                if not self._narrow_segments(size, exc):
                    self._refuse(len(run), exc)
                    taken = end
                continue  # a narrowed endpoint meets the same run again, and sends it one by one
            self._calls += 1
            self._sent += len(run)
            taken = end
        return taken

    async def wait_readable(self) -> None:
        """Wait until something arrived."""
        await trio.lowlevel.wait_readable(self._open_socket())

    async def wait_writable(self) -> None:
        """Wait until the socket buffer has room again."""
        await trio.lowlevel.wait_writable(self._open_socket())

    def receive_all(self, limit: int) -> list[tuple[bytes, Address]]:
        """Take up to ``limit`` datagrams that have arrived (some more if the kernel coalesced them). Never blocks."""
        if self._coalescing:
            received = self._receive_coalesced(limit)
        else:
            received = self._receive_each(limit)
        self._received += len(received)
        return received

    def close(self) -> None:
        """Close the socket; tasks in ``wait_readable`` and ``wait_writable`` get ``trio.ClosedResourceError``."""
        if self._sock.fileno() >= 0:
            if trio.lowlevel.in_trio_run():  # outside of one nobody can be waiting
                trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def _send_each(self, datagrams: list[bytes], remote: Address) -> int:
        address = self._remotes.get(remote) or self._remember(remote)
        if address is None:
            self._refused += len(datagrams)
            return len(datagrams)
        sendto = self._sock.sendto
        taken = lost = 0
        for data in datagrams:
            try:
                sendto(data, address)
            except BlockingIOError:
                self._blocked += 1
                break
            except OSError as exc:
                self._refuse(1, exc)
                lost += 1
            taken += 1
        self._calls += taken
        self._sent += taken - lost
        return taken

    def _narrow_segments(self, size: int, exc: OSError) -> bool:
        """Whether a refusal was about segmenting, in which case less of it is asked for from now on.

        The kernel refuses segments wider than the path's MTU, and devices that cannot checksum (EIO).
        """
        if exc.errno in _REFUSES_SEGMENTS:
            self._widest_segment = 0
        elif exc.errno in _REFUSES_THIS_SIZE:
            self._widest_segment = size - 1
        else:
            return False
        return True

    def _refuse(self, count: int, exc: OSError) -> None:
        self._open_socket()
        self._refused += count
        self._last_error = str(exc)

    def _remember(self, remote: Address) -> SocketAddress | None:
        """The socket's form of an address seen for the first time; None for what cannot be sent to.

        Only addresses pass, never names: resolving one would block every task.
        """
        self._open_socket()
        if len(self._remotes) >= _MAX_REMOTES:
            self._remotes.clear()
        try:
            if (ipaddress.ip_address(remote[0]).version == 6) is not self._v6 or not 0 < remote[1] < 65536:
                raise OSError(errno.EAFNOSUPPORT, f"{remote} is no address for this socket")
            address = self._remotes[remote] = socket_address(remote)
        except (OSError, ValueError) as exc:
            self._last_error = str(exc)
            return None
        return address

    def _receive_each(self, limit: int) -> list[tuple[bytes, Address]]:
        recvfrom = self._sock.recvfrom
        v6 = self._v6
        received: list[tuple[bytes, Address]] = []
        append = received.append
        for _ in range(limit):
            try:
                packet = recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error on its way up (Windows, connected sockets): about a send, not about this
                self._open_socket()
                self._receive_errors += 1
                continue
            append((packet[0], plain_address(packet[1])) if v6 else packet)
        return received

    def _receive_coalesced(self, limit: int) -> list[tuple[bytes, Address]]:
        received: list[tuple[bytes, Address]] = []
        while len(received) < limit:
            try:
                data, ancillary, _, source = self._sock.recvmsg(_COALESCED_BYTES, GRO_ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError:
                self._open_socket()
                self._receive_errors += 1
                break
            address = plain_address(source)
            size = segment_size(ancillary)
            if 0 < size < len(data):
                self._coalesced = True
                received += [(data[at : at + size], address) for at in range(0, len(data), size)]
            else:
                received.append((data, address))
            self._trial -= 1
        if self._trial <= 0 and not self._coalesced:
            self._coalescing = not enable_coalescing(self._sock, False)
        return received

    def _open_socket(self) -> socket.socket:
        if self._sock.fileno() < 0:
            raise trio.ClosedResourceError("this endpoint was closed")
        return self._sock


if TYPE_CHECKING:
    _conforms: type[DatagramEndpoint] = UdpEndpoint
