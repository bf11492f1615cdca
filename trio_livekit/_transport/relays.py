"""Which TURN servers are used, and when: not before a connection without them has had its chance.

An allocation costs the server memory and every datagram a detour, so relays are started only when nothing else has
worked for half a second, one after the other, and given back when another path carries the data.
"""

from __future__ import annotations

__all__ = ["RelayOwner", "Relays"]

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from .._sansio.ice.candidate import MAX_LOCAL_PREFERENCE, Candidate
from .carriers import open_carrier
from .relay import Relay

if TYPE_CHECKING:
    from .._sansio.types import Address
    from .config import PeerConfig
    from .datagrams import DatagramEndpoint
    from .relay import RelayEndpoint
    from .servers import TurnServer

logger = logging.getLogger(__name__)

_HEAD_START_S = 0.5
"""What a connection without a relay gets, and each relay before the next one is tried."""

_CONNECT_TIMEOUT_S = 10.0
"""How long the name, TCP and TLS of a TURN server may take together."""

_IDLE_S = 10.0
"""How long an allocation is kept that another path made needless: that path may not last."""


class RelayOwner(Protocol):
    """The peer connection, as relays see it."""

    def attach(self, endpoint: DatagramEndpoint, candidate: Candidate) -> None: ...

    def detach(self, endpoint: DatagramEndpoint) -> None: ...

    def is_connected(self) -> bool: ...

    def is_sending_from(self, local: Address) -> bool: ...


class Relays:
    """The relays of one peer connection."""

    def __init__(self, config: PeerConfig, owner: RelayOwner, servers: list[TurnServer], *, relay_only: bool) -> None:
        self.relay_only = relay_only
        self._config = config
        self._owner = owner
        self._servers = servers
        self._running: set[TurnServer] = set()
        self._needed = trio.Event()
        if relay_only:
            self.need()

    def use(self, servers: list[TurnServer], *, relay_only: bool) -> None:
        """Use these servers from the next time that one is needed."""
        self._servers = servers
        self.relay_only = relay_only
        if relay_only:
            self.need()

    def need(self) -> None:
        """There is no path to the peer now. If that stays so, relays will be started."""
        self._needed.set()

    async def run(self) -> None:
        """Run relays as they are needed, until cancelled."""
        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            while True:
                await self._needed.wait()
                self._needed = trio.Event()
                if not self.relay_only:
                    await trio.sleep(_HEAD_START_S)
                for server in self._servers:
                    if self._owner.is_connected():
                        break
                    if server not in self._running:
                        self._running.add(server)
                        nursery.start_soon(self._run_relay, server, name=f"{self._config.name}: relay")
                        await trio.sleep(_HEAD_START_S)

    async def _run_relay(self, server: TurnServer) -> None:
        try:
            elsewhere = await self._run_at(server, None)
            if elsewhere is not None:
                await self._run_at(server, elsewhere)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as exc:
            logger.debug("%s: no relay at %s: %s", self._config.name, server.url.host, exc)
        finally:
            self._running.discard(server)

    async def _run_at(self, server: TurnServer, at: Address | None) -> Address | None:
        """Run one allocation to its end; returns the server's word on where to go instead (once, RFC 8656 5)."""
        with trio.fail_after(_CONNECT_TIMEOUT_S):
            carrier = await open_carrier(server.url, self._config, at=at)
        relay = Relay(server, carrier, may_redirect=at is None)

        def on_allocated(endpoint: RelayEndpoint) -> None:
            nursery.start_soon(self._close_when_idle, relay, endpoint.local_address)
            self._owner.attach(endpoint, self._candidate(relay, server, endpoint.local_address))

        async with trio.open_nursery(strict_exception_groups=True) as nursery:
            await relay.run(on_allocated, self._owner.detach)
            nursery.cancel_scope.cancel("the relay ended")
        if relay.refusal:
            logger.debug("%s: the relay at %s: %s", self._config.name, server.url.host, relay.refusal)
        return relay.redirected

    def _candidate(self, relay: Relay, server: TurnServer, relayed: Address) -> Candidate:
        rank = self._servers.index(server) if server in self._servers else len(self._servers)
        preference = max(0, MAX_LOCAL_PREFERENCE - 256 * rank)
        return Candidate.relayed(relayed, relay.mapped_address, relay.server_address, local_preference=preference)

    async def _close_when_idle(self, relay: Relay, relayed: Address) -> None:
        was_idle = False
        while True:
            await trio.sleep(_IDLE_S)
            is_idle = self._owner.is_connected() and not self._owner.is_sending_from(relayed)
            if is_idle and was_idle:
                relay.close()
            was_idle = is_idle
