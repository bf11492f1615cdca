"""How fast counters grow: by the difference over the last moments."""

from __future__ import annotations

__all__ = ["Rates"]

import time
from collections import deque

_WINDOW_S = 2.0


class Rates:
    """The rates of several counters, which are all looked at together."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, tuple[int, ...]]] = deque()

    def tick(self, *counts: int) -> None:
        """Remember where the counters stand; call it at a steady pace."""
        now = time.monotonic()
        self._recent.append((now, counts))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()

    def per_second(self, counter: int) -> float:
        """How fast the counter of this number (from 0) has been growing; 0 while nobody knows."""
        if len(self._recent) < 2:
            return 0.0
        (began, first), (ended, last) = self._recent[0], self._recent[-1]
        return (last[counter] - first[counter]) / (ended - began) if ended > began else 0.0
