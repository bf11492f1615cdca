"""Round trip times and the retransmission timeout (RFC 9260 section 6.3.1)."""

from __future__ import annotations

__all__ = ["PEER_ACK_DELAY_S", "RtoEstimator"]

ALPHA = 1 / 8
BETA = 1 / 4
PEER_ACK_DELAY_S = 0.2
"""A peer may sit on the acknowledgement of a single packet for this long (RFC 9260 section 6.2)."""

MIN_RTT_WINDOW_S = 30.0
"""A path change shows as a longer minimum only when the old minimum is forgotten."""


class RtoEstimator:
    """SRTT, RTTVAR, the least RTT of late, and the RTO with its back-off."""

    __slots__ = (
        "_expected", "_floor", "_min_at", "_next_min",
        "backoff", "latest", "max_s", "min_rtt", "rttvar", "srtt", "timeout",
    )  # fmt: skip

    def __init__(self, initial_s: float, variance_floor_s: float, max_s: float) -> None:
        self._floor = variance_floor_s
        self._expected: float | None = None
        self.max_s = max_s
        self.timeout = initial_s
        self.srtt: float | None = None
        self.rttvar = 0.0
        self.latest = 0.0
        self.min_rtt = float("inf")
        self._next_min = float("inf")
        self._min_at = 0.0
        self.backoff = 1

    def expect(self, rtt: float) -> None:
        """Something else than data has made the round trip: until data has, this is the first measurement (C2)."""
        if self.srtt is None:
            self._expected = rtt
            self.timeout = min(self.max_s, rtt + max(2 * rtt, self._floor))

    def sample(self, rtt: float, now: float, *, was_alone: bool = False) -> None:
        """Take one measurement. Karn's rule is the caller's: never of a chunk that was sent twice.

        The acknowledgement of a packet that ``was_alone`` may have been delayed by the peer. Of such a measurement what
        is above the usual counts only as far as no permitted delay explains it: a stream that begins after a pause
        would else be paced for a round trip of 0.2 s.
        """
        took = rtt
        usual = self._expected if self.srtt is None else self.srtt
        if was_alone and usual is not None and rtt > usual:
            rtt = max(usual, rtt - PEER_ACK_DELAY_S)
        self.latest = rtt
        if self.srtt is None:
            self.srtt, self.rttvar = rtt, rtt / 2
            self._min_at = now
        else:
            self.rttvar += BETA * (abs(self.srtt - rtt) - self.rttvar)
            self.srtt += ALPHA * (rtt - self.srtt)
        self._track_minimum(rtt, now)
        self.timeout = min(self.max_s, max(took, self.srtt + max(4 * self.rttvar, self._floor)))
        self.backoff = 1

    @property
    def current(self) -> float:
        """The timeout with back-off applied."""
        return min(self.max_s, self.timeout * self.backoff)

    def back_off(self) -> None:
        """A timer ran out: double the timeout (rule E3)."""
        if self.current < self.max_s:
            self.backoff *= 2

    def clear_back_off(self) -> None:
        """The path answers again."""
        self.backoff = 1

    def forget_minimum(self) -> None:
        """What was the least round trip says nothing about the path as it is now: begin with the latest."""
        if self.srtt is not None:
            self.min_rtt = self._next_min = self.latest

    def on_path_recovered(self, round_trip_s: float | None) -> None:
        """The path may be another one: its least round trip is not known yet, but perhaps about how long one takes."""
        self.forget_minimum()
        self.clear_back_off()
        if round_trip_s is not None:
            self.min_rtt = max(self.latest, round_trip_s)
            self.timeout = max(self.timeout, min(self.max_s, round_trip_s + max(2 * round_trip_s, self._floor)))

    def _track_minimum(self, rtt: float, now: float) -> None:
        self._next_min = min(self._next_min, rtt)
        if rtt <= self.min_rtt:
            self.min_rtt, self._min_at, self._next_min = rtt, now, float("inf")
        elif now - self._min_at > MIN_RTT_WINDOW_S:
            self.min_rtt, self._min_at, self._next_min = self._next_min, now, float("inf")
