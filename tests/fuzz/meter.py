"""Counting work in calls of functions, which no machine can change."""

from __future__ import annotations

__all__ = ["Meter", "TooMuchWork", "meter"]

import gc
import sys
from typing import Any

CALLS_AT_LEAST = 3000
CALLS_PER_BYTE = 60
"""What taking an input may cost: calls of functions, in Python or C. Time would depend on the machine."""


class TooMuchWork(AssertionError):
    """An input costs more than its size explains."""


class Meter:
    """Counts calls while the block runs, and raises ``TooMuchWork`` beyond a limit."""

    def __init__(self, limit: int) -> None:
        self.calls = 0
        self._gc = False
        self._limit = limit

    def __enter__(self) -> Meter:
        self._gc = gc.isenabled()
        gc.disable()  # what it calls is not the input's fault
        sys.setprofile(self._count)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)
        if self._gc:
            gc.enable()

    def _count(self, _frame: Any, event: str, _argument: Any) -> None:
        if event in ("call", "c_call"):
            self.calls += 1
            if self.calls > self._limit:
                sys.setprofile(None)
                raise TooMuchWork(f"more than {self._limit} calls")


def meter(data: bytes, *, at_least: int = CALLS_AT_LEAST) -> Meter:
    return Meter(at_least + CALLS_PER_BYTE * len(data))
