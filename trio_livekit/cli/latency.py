"""A histogram of latencies: quantiles to within one percent, in constant memory."""

from __future__ import annotations

__all__ = ["Latencies"]

import math
from collections import Counter

_STEPS = 1 / math.log(1.02)  # each bucket is 2 % wider than the one before
_SMALLEST_S = 1e-7


class Latencies:
    """Durations, in seconds."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.minimum = math.inf
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._buckets[int(math.log(max(seconds, _SMALLEST_S) / _SMALLEST_S) * _STEPS)] += 1
        self.count += 1
        self.minimum = min(self.minimum, seconds)
        self.maximum = max(self.maximum, seconds)

    def quantile(self, share: float) -> float | None:
        """The duration that ``share`` of them (0 to 1) do not exceed; ``None`` if there are none."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                middle = _SMALLEST_S * math.exp((bucket + 0.5) / _STEPS)
                return min(max(middle, self.minimum), self.maximum)
        return self.maximum

    def summary_ms(self) -> dict[str, float | int | None]:
        """Quantiles and extremes in milliseconds, for JSON."""

        def ms(seconds: float | None) -> float | None:
            return None if seconds is None else round(seconds * 1000, 3)

        return {
            "samples": self.count,
            "min": ms(self.minimum) if self.count else None,
            "p50": ms(self.quantile(0.5)),
            "p99": ms(self.quantile(0.99)),
            "max": ms(self.maximum) if self.count else None,
        }
