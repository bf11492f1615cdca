"""The sockets of one peer connection on the addresses of this machine, which may change under it."""

from __future__ import annotations

__all__ = ["HostOwner", "Hosts"]

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from .._sansio.ice.candidate import Candidate
from ..errors import TransportError
from .gathering import bind_hosts, local_hosts, reflexive_candidates
from .servers import stun_servers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .config import PeerConfig
    from .datagrams import DatagramEndpoint
    from .gathering import HostSocket

logger = logging.getLogger(__name__)

_INTERVAL_S = 0.5
"""Between two looks at the system's addresses, while it is doubtful that there is a path to the peer."""


class HostOwner(Protocol):
    """The peer connection, as its local sockets see it."""

    def add_local_candidate(self, candidate: Candidate, *, is_named: bool = True) -> None: ...

    def attach(self, endpoint: DatagramEndpoint, candidate: Candidate) -> None: ...

    def detach(self, endpoint: DatagramEndpoint) -> None: ...

    def may_need_hosts(self) -> bool: ...

    def close(self) -> None: ...


class Hosts:
    """A socket for each local address, and the candidates that belong to them."""

    def __init__(self, config: PeerConfig, owner: HostOwner) -> None:
        self._config = config
        self._owner = owner
        self._bound: dict[str, DatagramEndpoint] = {}  # by IP address
        self._is_watching = False

    async def gather(self) -> None:
        """Bind a socket for each address, and ask STUN servers what they look like from outside.

        Raises ``TransportError`` where no address can be bound, ``OSError`` where there is not a file or a buffer left.
        Nothing is open then.
        """
        hosts = local_hosts(self._config)
        if self._config.udp:
            sockets = bind_hosts(self._config, hosts)
            self._attach(sockets)
            await self._gather_reflexive(sockets)
        self._dial_from(hosts)

    def refresh(self) -> None:
        """Use the addresses that there are by now, unless they were given: some may be new, and others gone."""
        if not self._may_change:
            return
        hosts = local_hosts(self._config)
        for host in self._bound.keys() - hosts:
            self._remove(host)
        fresh = [host for host in hosts if host not in self._bound]
        try:
            sockets = bind_hosts(self._config, fresh) if fresh else []
        except (OSError, TransportError) as exc:
            logger.debug("%s: new addresses cannot be used: %s", self._config.name, exc)
            return
        self._attach(sockets)
        self._dial_from(fresh)

    def start_watching(self, nursery: trio.Nursery) -> None:
        """The path went silent: our addresses may change, or have done so. What is new may reach the peer."""
        if self._may_change and not self._is_watching:
            self._is_watching = True
            nursery.start_soon(self._watch, name=f"{self._config.name}: addresses")

    def give_up(self) -> None:
        """Close all of them."""
        for host in list(self._bound):
            self._remove(host)

    async def _watch(self) -> None:
        while self._owner.may_need_hosts():
            self.refresh()
            await trio.sleep(_INTERVAL_S)
        self._is_watching = False

    @property
    def _may_change(self) -> bool:
        return self._config.hosts is None and self._config.udp

    async def _gather_reflexive(self, sockets: list[HostSocket]) -> None:
        servers = stun_servers(self._config.ice_servers)
        if not servers:
            return
        try:
            candidates = await reflexive_candidates(sockets, servers)
        except BaseException:
            self._owner.close()  # with the sockets that are open by now
            raise
        for candidate in candidates:
            self._owner.add_local_candidate(candidate)

    def _attach(self, sockets: list[HostSocket]) -> None:
        for host_socket in sockets:
            self._bound[host_socket.endpoint.local_address[0]] = host_socket.endpoint
            self._owner.attach(host_socket.endpoint, host_socket.candidate)

    def _remove(self, host: str) -> None:
        endpoint = self._bound.pop(host)
        endpoint.close()
        self._owner.detach(endpoint)

    def _dial_from(self, hosts: Sequence[str]) -> None:
        for host in hosts:
            self._owner.add_local_candidate(Candidate.tcp_active(host), is_named=False)
