"""A firewall inside this process: sockets whose datagrams are lost while it is up. TCP passes."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from trio_livekit._sansio.ice.config import Config
from trio_livekit._transport.datagrams import UdpEndpoint
from trio_livekit._transport.peer import PeerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_livekit._sansio.types import Address


class Firewall:
    """Makes sockets whose datagrams, both ways, are lost while ``up``."""

    def __init__(self, *, up: bool = False) -> None:
        self.up = up

    def bind(self, host: str) -> UdpEndpoint:
        return _Walled(self, UdpEndpoint.bind(host))

    @contextmanager
    def around_rooms(self) -> Iterator[None]:
        """Peer connections of rooms that are joined meanwhile have their sockets behind it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trio_livekit._session.links.PeerConfig", partial(PeerConfig, bind=self.bind))
            yield


class _Walled:
    def __init__(self, firewall: Firewall, endpoint: UdpEndpoint) -> None:
        self._firewall = firewall
        self._endpoint = endpoint
        self.local_address = endpoint.local_address
        self.wait_readable, self.wait_writable = endpoint.wait_readable, endpoint.wait_writable
        self.close = endpoint.close

    def send_many(self, datagrams: list[bytes], remote: Address) -> int:
        return len(datagrams) if self._firewall.up else self._endpoint.send_many(datagrams, remote)

    def send(self, data: bytes, remote: Address) -> bool:
        return self.send_many([data], remote) == 1

    def receive_all(self, limit: int) -> list[tuple[bytes, Address]]:
        received = self._endpoint.receive_all(limit)
        return [] if self._firewall.up else received


@contextmanager
def impatient_ice(factor: float = 0.1) -> Iterator[None]:
    """Agents made meanwhile notice a dead path in so much of the usual time. They give it up no sooner than usual, so
    that on a busy machine there is time for what is to happen before.
    """
    usual = Config()
    names = (
        "consent_interval_s",
        "idle_interval_s",
        "retry_interval_s",
        "suspect_after_s",
        "recheck_interval_s",
        "disconnected_after_s",
    )
    quick = {name: factor * getattr(usual, name) for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trio_livekit._sansio.ice.agent.Config", partial(Config, **quick))
        yield
