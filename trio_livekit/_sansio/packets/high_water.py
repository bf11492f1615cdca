"""How much may be stuck here before senders wait: about a second's worth of what the network takes.

Less would leave a fast network idle between two looks at it. More would put whatever comes next, a call perhaps, at the
end of a long queue that cannot be overtaken.
"""

from __future__ import annotations

__all__ = ["MIN_BYTES", "HighWater"]

MAX_BYTES = 256 * 1024
MIN_BYTES = 32 * 1024

_WORTH_S = 1.0
_MEASURE_S = 0.25
"""Over which the rate is measured: some round trips, and short enough to follow a network that changes."""


class HighWater:
    """The bound on bytes of which nothing has been sent yet.

    Attributes:
        limit: the bound as it is now.
    """

    def __init__(self) -> None:
        self.limit = MAX_BYTES
        self._since: float | None = None  # when the network began to be behind
        self._taken = 0

    def on_acknowledged(self, size: int, now: float, *, is_behind: bool) -> None:
        """So many bytes were acknowledged. Only while it ``is_behind`` does that say what the network can take."""
        if not is_behind:
            self._since = None
            return
        if self._since is None:
            self._since, self._taken = now, 0
            return
        self._taken += size
        elapsed = now - self._since
        if elapsed >= _MEASURE_S:
            self.limit = int(min(MAX_BYTES, max(MIN_BYTES, self._taken / elapsed * _WORTH_S)))
            self._since, self._taken = now, 0
