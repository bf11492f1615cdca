"""The 90 kHz clock of one track, which fills the timestamp of its packets."""

from __future__ import annotations

__all__ = ["RATE_HZ", "MediaClock"]

from ..serial import MASK32

RATE_HZ = 90_000


class MediaClock:
    """Turns instants into 32-bit timestamps that start at a random ``base`` and never go back.

    Ticks are kept whole and cut to 32 bits only on the way out. A clock that compared the cut values would stand still
    after half a turn (6.6 hours) without a frame.
    """

    __slots__ = ("_base", "_started", "_ticks")

    def __init__(self, base: int, started: float) -> None:
        self._base = base
        self._started = started
        self._ticks = 0

    def at(self, now: float) -> int:
        """The timestamp for ``now``, or the last one again if ``now`` lies before it."""
        ticks = int((now - self._started) * RATE_HZ + 0.5)
        if ticks > self._ticks:
            self._ticks = ticks
        else:
            ticks = self._ticks
        return (self._base + ticks) & MASK32
