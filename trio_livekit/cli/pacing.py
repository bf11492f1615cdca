"""Not faster than so many frames, and so many bytes, per second."""

from __future__ import annotations

__all__ = ["Pacer"]

import trio

_LATE_S = 0.02
"""How much of a delay is made up for: more would be a burst, which a server drops."""


class Pacer:
    """Spaces frames out. ``None`` is no limit."""

    def __init__(self, frames_per_s: float | None, bytes_per_s: float | None) -> None:
        self._frame_s = 1 / frames_per_s if frames_per_s else 0.0
        self._byte_s = 1 / bytes_per_s if bytes_per_s else 0.0
        self._due = -float("inf")

    async def wait(self, size: int) -> None:
        """Wait until a frame of ``size`` bytes may go."""
        now = trio.current_time()
        start = max(self._due, now - _LATE_S)
        self._due = start + max(self._frame_s, size * self._byte_s)
        if start > now:
            await trio.sleep_until(start)
