"""Where we can be reached: sockets on local addresses, and what STUN servers see of them (RFC 8445 section 5.1.1)."""

from __future__ import annotations

__all__ = ["HostSocket", "bind_hosts", "local_hosts", "reflexive_candidates"]

import errno
import logging
import os
from typing import TYPE_CHECKING, NamedTuple

import trio

from .._sansio.ice.candidate import Candidate, local_preferences
from .._sansio.ice.probe import StunProbe
from ..errors import TransportError
from . import interfaces
from .servers import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._sansio.types import Address
    from .config import PeerConfig
    from .datagrams import DatagramEndpoint
    from .servers import ServerUrl

logger = logging.getLogger(__name__)

_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_PROBING_S = 1.0
"""How long an offer waits for STUN servers. One that takes longer is not worth the wait."""


class HostSocket(NamedTuple):
    """A socket of ours, and how much its address is preferred."""

    endpoint: DatagramEndpoint
    preference: int

    @property
    def candidate(self) -> Candidate:
        return Candidate.local_host(self.endpoint.local_address, local_preference=self.preference)


def local_hosts(config: PeerConfig) -> Sequence[str]:
    """The local addresses to use."""
    if config.hosts is not None:
        return config.hosts
    return interfaces.host_addresses(include_loopback=config.include_loopback)


def bind_hosts(config: PeerConfig, hosts: Sequence[str]) -> list[HostSocket]:
    """A socket on each address; one that cannot be bound may have gone since it was listed, and is left out.

    Raises:
        OSError: the process or the system is out of files or memory. Nothing is left open.
        TransportError: not one address could be bound.
    """
    preferences = local_preferences(hosts)
    bound: list[HostSocket] = []
    refusal: OSError | None = None
    try:
        for host in hosts:
            try:
                bound.append(HostSocket(config.bind(host), preferences.get(host, 0)))
            except OSError as exc:
                if exc.errno in _OUT_OF_RESOURCES:
                    raise
                refusal = exc
    except BaseException:
        for host_socket in bound:
            host_socket.endpoint.close()
        raise
    if not bound:
        raise TransportError(f"no local address to send from could be bound: {refusal or 'none found'}")
    return bound


async def reflexive_candidates(sockets: Sequence[HostSocket], servers: Iterable[ServerUrl]) -> list[Candidate]:
    """Ask STUN servers, from each socket, what our addresses look like from outside. Takes a second at most.

    Nobody knows the sockets yet, so that whatever else arrives there meanwhile is thrown away.
    """
    probes: list[StunProbe] = []
    with trio.move_on_after(_PROBING_S):
        addresses = [address for server in servers for address in await _addresses(server)]
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            for host_socket in sockets:
                own = _probes(host_socket, addresses)
                probes += own
                nursery.start_soon(_run_probes, host_socket.endpoint, own)
    return [probe.candidate for probe in probes if probe.candidate is not None]


async def _addresses(server: ServerUrl) -> list[Address]:
    try:
        return await resolve(server.host, server.port)
    except OSError as exc:
        logger.debug("the STUN server %s cannot be found: %s", server.host, exc)
        return []


def _probes(host_socket: HostSocket, servers: Sequence[Address]) -> list[StunProbe]:
    base, now = host_socket.endpoint.local_address, trio.current_time()
    return [
        StunProbe(server, base, random_bytes=os.urandom, now=now, local_preference=host_socket.preference)
        for server in servers
        if (":" in server[0]) is (":" in base[0])
    ]


async def _run_probes(endpoint: DatagramEndpoint, probes: list[StunProbe]) -> None:
    try:
        while True:
            now = trio.current_time()
            for probe in probes:
                probe.handle_timeout(now)
                for data in probe.datagrams_to_send(now):
                    endpoint.send(data, probe.server)
            deadlines = [deadline for probe in probes if (deadline := probe.next_timeout()) is not None]
            if not deadlines:
                return
            with trio.move_on_at(min(deadlines)):
                await endpoint.wait_readable()
                for data, source in endpoint.receive_all(64):
                    for probe in probes:
                        if source == probe.server and probe.receive_datagram(data, trio.current_time()):
                            break
    except trio.ClosedResourceError:
        pass  # the peer connection was closed meanwhile
