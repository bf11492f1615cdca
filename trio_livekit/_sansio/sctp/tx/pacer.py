"""Spreading packets over the round trip, so that a window does not leave as one burst.

A token bucket in bytes: it fills at a little more than the window per round trip and holds one burst.
"""

from __future__ import annotations

__all__ = ["Pacer"]

MIN_RTT_S = 0.005
"""Below this a timer is too coarse to spread anything; only the burst limit per turn remains."""

TICK_S = 0.001
"""Timers of the drivers are rounded to this, so that much must fit in one turn."""

SLOW_START_GAIN = 2.0
STEADY_GAIN = 1.25
MIN_BURST_PACKETS = 10
MAX_BURST_PACKETS = 128


class Pacer:
    """How many bytes may leave now, and when more may."""

    __slots__ = ("_burst", "_filled_at", "_max_burst", "_mtu", "_rate", "_tokens", "release_at")

    def __init__(self, mtu: int, max_burst_packets: int) -> None:
        self._mtu = mtu
        self._max_burst = max_burst_packets * mtu
        self._burst = self._tokens = float(self._max_burst)
        self._rate = 0.0  # bytes per second; 0: unlimited but for the burst
        self._filled_at = 0.0
        self.release_at: float | None = None

    def set_rate(self, cwnd: int, srtt: float | None, *, slow_start: bool) -> None:
        """Follow the window and the round trip time."""
        if srtt is None or srtt < MIN_RTT_S:
            self._rate = 0.0
            self._burst = self._max_burst
            return
        self._rate = (SLOW_START_GAIN if slow_start else STEADY_GAIN) * cwnd / srtt
        burst = min(self._max_burst, max(cwnd / 4, MIN_BURST_PACKETS * self._mtu))
        self._burst = min(max(burst, 2 * TICK_S * self._rate), MAX_BURST_PACKETS * self._mtu)

    def allowance(self, now: float) -> int:
        """Bytes that may leave now."""
        self.release_at = None
        if not self._rate:
            return int(self._burst)
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return int(self._tokens)

    def spent(self, size: int) -> None:
        """`size` bytes left."""
        if self._rate:
            self._tokens -= size

    def hold(self, now: float) -> None:
        """More wants to leave than was allowed: come back when it may."""
        if not self._rate:
            self.release_at = now
        else:
            missing = max(self._mtu - self._tokens, 0.0)
            self.release_at = now + max(missing / self._rate, TICK_S)
