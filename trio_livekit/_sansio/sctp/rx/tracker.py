"""Which TSNs have arrived, as a SACK reports it (RFC 9260 section 3.3.4).

TSNs are unwrapped here: plain integers that grow without end, so that comparing them needs no serial arithmetic.
``unwrap`` maps a 32-bit TSN to the integer nearest to the cumulative one.
"""

from __future__ import annotations

__all__ = ["MAX_AHEAD", "TsnTracker"]

from bisect import bisect_right

MAX_AHEAD = 40_000
"""TSNs further ahead of the cumulative one are dropped. A peer's largest flight is far below."""

MAX_DUPLICATES = 32
MAX_BLOCK_OFFSET = 0xFFFF
MAX_RANGES = 4096
"""Separate ranges kept: each is a hole a peer must fill, and a list this long still updates in microseconds."""


class TsnTracker:
    """The cumulative TSN and the ranges received above it."""

    __slots__ = ("_ends", "cumulative", "duplicates", "starts")

    def __init__(self, initial_tsn: int) -> None:
        self.cumulative = initial_tsn - 1 + (1 << 32)  # never negative
        self.duplicates: list[int] = []
        # Range i is starts[i].._ends[i], both included; sorted, neither overlapping nor adjacent; none: no gaps.
        self.starts: list[int] = []
        self._ends: list[int] = []

    def unwrap(self, tsn: int) -> int:
        """The integer for a 32-bit TSN."""
        return self.cumulative + ((tsn - self.cumulative + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def add(self, tsn: int) -> bool:
        """Record the arrival of an unwrapped TSN; False when it is a duplicate or too far ahead to keep."""
        if tsn <= self.cumulative:
            self._note_duplicate(tsn)
            return False
        if tsn == self.cumulative + 1:
            self.cumulative = tsn
            if self.starts:
                self._absorb()
            return True
        if tsn - self.cumulative > MAX_AHEAD:
            return False
        return self._add_above(tsn)

    def advance_to(self, tsn: int) -> None:
        """Everything up to `tsn` is settled: received, or given up by the peer (FORWARD-TSN)."""
        if tsn <= self.cumulative:
            return
        self.cumulative = tsn
        keep = bisect_right(self._ends, tsn)
        del self.starts[:keep], self._ends[:keep]
        if self.starts and self.starts[0] <= tsn + 1:
            self._absorb()

    def gap_blocks(self, limit: int) -> list[tuple[int, int]]:
        """The lowest `limit` ranges, as offsets from the cumulative TSN that fit 16 bits."""
        base = self.cumulative
        blocks = []
        for start, end in zip(self.starts[:limit], self._ends[:limit], strict=True):
            if start - base > MAX_BLOCK_OFFSET:
                break
            blocks.append((start - base, min(end - base, MAX_BLOCK_OFFSET)))
        return blocks

    def _add_above(self, tsn: int) -> bool:
        starts, ends = self.starts, self._ends
        if starts and tsn == ends[-1] + 1:  # by far the most common: the flight behind one lost packet
            ends[-1] = tsn
            return True
        at = bisect_right(starts, tsn)  # ranges before `at` start at or before tsn
        if at and tsn <= ends[at - 1]:
            self._note_duplicate(tsn)
            return False
        joins_left = at > 0 and ends[at - 1] == tsn - 1
        joins_right = at < len(starts) and starts[at] == tsn + 1
        if joins_left and joins_right:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif joins_left:
            ends[at - 1] = tsn
        elif joins_right:
            starts[at] = tsn
        elif len(starts) >= MAX_RANGES:
            return False
        else:
            starts.insert(at, tsn)
            ends.insert(at, tsn)
        return True

    def _absorb(self) -> None:
        """The first range touches the cumulative TSN: it becomes part of it."""
        if self.starts[0] <= self.cumulative + 1:
            self.cumulative = max(self.cumulative, self._ends[0])
            del self.starts[0], self._ends[0]

    def _note_duplicate(self, tsn: int) -> None:
        if len(self.duplicates) < MAX_DUPLICATES:
            self.duplicates.append(tsn & 0xFFFFFFFF)
