"""How much may be in flight: congestion controllers behind one small interface.

A controller sees bytes acknowledged, losses (once per window of data) and timeouts, and answers with ``cwnd``.
``NewReno`` is RFC 9260 section 7.2 and the yardstick of the tests.
"""

from __future__ import annotations

__all__ = ["CongestionController", "NewReno", "make_controller"]

from typing import Protocol

MIN_WINDOW_PACKETS = 4


class CongestionController(Protocol):
    """What the sender needs of a congestion controller. Sizes are bytes of DATA chunks."""

    cwnd: int
    ssthresh: int

    def on_acked(self, acked: int, flight_before: int, now: float, rtt: float, min_rtt: float) -> None:
        """`acked` bytes were acknowledged outside recovery; `flight_before` were in flight until then."""

    def on_loss(self, flight: int, now: float, min_rtt: float) -> None:
        """The first loss of a window of data: recovery begins."""

    def on_timeout(self, flight: int) -> None:
        """T3 ran out with `flight` bytes unacknowledged."""

    def on_idle(self) -> None:
        """Nothing was sent for longer than an RTO."""

    def on_path_recovered(self) -> None:
        """An outage ended: what the timeouts of the outage did to the window says nothing about the path."""

    def undo(self) -> None:
        """The last reduction answered reordering or delay, not loss."""


class NewReno:
    """Slow start, congestion avoidance, halving."""

    __slots__ = ("_acked", "_before", "_initial", "_mtu", "cwnd", "ssthresh")

    def __init__(self, mtu: int, initial_packets: int, ssthresh: int) -> None:
        self._mtu = mtu
        self._initial = initial_packets * mtu
        self.cwnd = self._initial
        self.ssthresh = ssthresh
        self._acked = 0
        self._before = (self.cwnd, self.ssthresh)

    def on_acked(self, acked: int, flight_before: int, now: float, rtt: float, min_rtt: float) -> None:
        cwnd = self.cwnd
        if flight_before < cwnd // 2:
            return  # the application, not the path, is the limit: nothing was learned
        if cwnd < self.ssthresh:
            self.cwnd = cwnd + acked
            return
        self._acked += acked
        if self._acked >= cwnd:
            self._acked -= cwnd
            self.cwnd = cwnd + self._mtu

    def on_loss(self, flight: int, now: float, min_rtt: float) -> None:
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(self.cwnd // 2, MIN_WINDOW_PACKETS * self._mtu)
        self.cwnd = self.ssthresh
        self._acked = 0

    def on_timeout(self, flight: int) -> None:
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(self.cwnd // 2, MIN_WINDOW_PACKETS * self._mtu)
        self.cwnd = self._mtu
        self._acked = 0

    def on_idle(self) -> None:
        self.cwnd = min(self.cwnd, self._initial)

    def on_path_recovered(self) -> None:
        self.cwnd = self._initial

    def undo(self) -> None:
        self.cwnd, self.ssthresh = max(self.cwnd, self._before[0]), max(self.ssthresh, self._before[1])


def make_controller(name: str, mtu: int, initial_packets: int, peer_window: int) -> CongestionController:
    """The controller called `name`."""
    return NewReno(mtu, initial_packets, peer_window)
