"""Asking a peer whose window is shut whether it is open again (RFC 9260 section 6.1 rule A).

One chunk may be under way though the window has no room for it. When that was acknowledged and the window is still
shut, the next one has to wait, longer each time: else one chunk per round trip would trickle past the window.
"""

from __future__ import annotations

__all__ = ["WindowProbe"]


class WindowProbe:
    """When the next chunk may leave in spite of the window: ``at``, or at once when that is None."""

    __slots__ = ("_max_s", "at", "interval_s")

    def __init__(self, max_s: float) -> None:
        self._max_s = max_s
        self.interval_s = 0.0
        """0 while the window is open, as far as is known."""
        self.at: float | None = None

    def may_send(self, now: float, rto_s: float) -> bool:
        """Whether a chunk may leave now; if so, it is taken to do so."""
        if self.at is not None:
            return False
        self.interval_s = min(2 * self.interval_s, self._max_s) or rto_s
        self.at = now + self.interval_s
        return True

    def on_timeout(self, now: float) -> None:
        """The wait may be over."""
        if self.at is not None and now >= self.at:
            self.at = None

    def on_open(self) -> None:
        """The window has room for a chunk."""
        self.at, self.interval_s = None, 0.0
