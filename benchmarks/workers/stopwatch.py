"""CPU time of a step that is repeated, in nanoseconds for each packet."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def cost_ns(step: Callable[[], int], seconds: float) -> float:
    """Repeat ``step``, which returns how many packets it handled; the best of five stretches, as others disturb."""
    step()
    best = float("inf")
    gc.collect()
    for _ in range(5):
        packets = 0
        start = now = time.thread_time_ns()
        while now - start < seconds * 2e8:
            packets += step()
            now = time.thread_time_ns()
        best = min(best, (now - start) / packets)
    return best
