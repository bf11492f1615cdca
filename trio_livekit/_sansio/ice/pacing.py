"""How fast checks leave, and how much an address may get that never answered (RFC 8445 sections 14.2 and 19.5.1)."""

from __future__ import annotations

__all__ = ["Pacer", "SilenceBudget"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..types import Address
    from .config import Config

_IP_UDP_BYTES = 28


class Pacer:
    """One clock for all checks. Ordinary checks wait for it, triggered ones may run ahead of it a little."""

    __slots__ = ("_ahead_s", "_interval_s", "ordinary_at")

    def __init__(self, config: Config) -> None:
        self._interval_s = config.check_interval_s
        self._ahead_s = config.triggered_burst * config.check_interval_s
        self.ordinary_at = float("-inf")

    @property
    def triggered_at(self) -> float:
        return self.ordinary_at - self._ahead_s

    def on_sent(self, now: float) -> None:
        self.ordinary_at = max(self.ordinary_at, now) + self._interval_s


class SilenceBudget:
    """Bytes sent to addresses that have not shown that they know our credentials.

    Anybody who can write a candidate can name a victim as one; this bounds what the victim gets.
    """

    __slots__ = ("_heard", "_limit", "_spent")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._spent: dict[Address, int] = {}
        self._heard: set[Address] = set()

    def spend(self, address: Address, payload_bytes: int) -> bool:
        """Account for one datagram; False if it must not be sent."""
        if address in self._heard:
            return True
        spent = self._spent.get(address, 0) + payload_bytes + _IP_UDP_BYTES
        if spent > self._limit:
            return False
        self._spent[address] = spent
        return True

    def on_heard(self, address: Address) -> None:
        if address not in self._heard:
            self._heard.add(address)
            self._spent.pop(address, None)

    def is_heard(self, address: Address) -> bool:
        return address in self._heard
