"""The anti-replay window of one epoch (RFC 6347 section 4.1.2.6)."""

from __future__ import annotations

__all__ = ["ReplayWindow"]


class ReplayWindow:
    """Which record numbers were seen, among the newest ``size``.

    The bitmask marks the *holes* behind the newest number rather than the arrivals: as long as nothing is lost it stays
    zero, and a window of a thousand records costs no more than one of ten.

    Attributes:
        newest: the highest number recorded, or -1.
        holes: bit i is set where number ``newest - i`` has not arrived.
    """

    __slots__ = ("_mask", "_size", "holes", "newest")

    def __init__(self, size: int) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self.newest = -1
        self.holes = 0

    def is_fresh(self, number: int) -> bool:
        """Whether the number is new. Asked before decryption; changes nothing."""
        behind = self.newest - number
        return behind < 0 or (behind < self._size and self.holes >> behind & 1 == 1)

    def record(self, number: int) -> None:
        """Note a fresh number. Only for records that were authenticated: a forged number must not move the window."""
        ahead = number - self.newest
        if ahead == 1:
            self.holes = self.holes << 1 & self._mask
            self.newest = number
        elif ahead > 0:
            skipped = min(ahead, self._size)
            self.holes = (self.holes << skipped | (1 << skipped) - 2) & self._mask
            self.newest = number
        else:
            self.holes ^= 1 << -ahead
