"""The record layer of one connection: which epoch protects what we send, and the keys once there are any."""

from __future__ import annotations

__all__ = ["Protection"]

from typing import TYPE_CHECKING

from ...errors import TransportError
from .flight import packetize
from .record import ALERT, PlainSealer, make_opener, make_sealer
from .replay import ReplayWindow
from .roles import Role

if TYPE_CHECKING:
    from .flight import Flight
    from .keys import MasterSecret
    from .record import Opener, Sealer


class Protection:
    """Seals flights and alerts, and holds what seals and opens application data.

    Attributes:
        sealer: of epoch 1, once the keys are known.
        opener: of epoch 1, likewise.
    """

    __slots__ = ("_changed_cipher", "_plain", "opener", "sealer")

    def __init__(self) -> None:
        self._plain = PlainSealer()
        self._changed_cipher = False
        self.sealer: Sealer | None = None
        self.opener: Opener | None = None

    def install_keys(self, master: MasterSecret, role: Role, replay_window: int) -> None:
        keys = master.traffic_keys()
        client, server = (keys.client_key, keys.client_iv), (keys.server_key, keys.server_iv)
        ours, theirs = (client, server) if role is Role.CLIENT else (server, client)
        self.sealer = make_sealer(keys.suite, *ours)
        self.opener = make_opener(keys.suite, *theirs, ReplayWindow(replay_window))

    def seal_flight(self, flight: Flight, mtu: int) -> list[bytes]:
        """The flight as datagrams, with new record numbers even if it was sent before."""
        self._changed_cipher = self._changed_cipher or any(item.epoch == 1 for item in flight.items)
        try:
            return packetize(flight, (self._plain,) if self.sealer is None else (self._plain, self.sealer), mtu)
        except TransportError:
            return []  # no record number is left for repeating the last flight

    def seal_alert(self, alert: bytes) -> list[bytes]:
        """An alert as a datagram, protected if we have told the peer that our records are."""
        if not self._changed_cipher or self.sealer is None:
            return [self._plain.seal(alert, ALERT)]
        try:
            return [self.sealer.seal(alert, ALERT)]
        except TransportError:
            return []  # no record number is left: leave without a word

    def forget_keys(self) -> None:
        self.sealer = self.opener = None
