"""What is sent, and the proof that it arrived: numbered messages whose every byte is known.

A message is its number and the time of sending (8 bytes each, little-endian) and then a fixed pattern. The pattern
repeats after a prime number of bytes, so that a part that went missing or to the wrong place shows.
"""

from __future__ import annotations

import struct
import time

HEAD = struct.Struct("<QQ")
_PATTERN = bytes(range(251)) * 4200  # of 251, a prime


def batch_size(size: int) -> int:
    """Messages to send between two looks at the clock and at what is buffered: 64 KiB of them, 256 at most."""
    return max(1, min(256, 65536 // size))


class Maker:
    """Messages of one size."""

    __slots__ = ("_body", "count")

    def __init__(self, size: int) -> None:
        self._body = _PATTERN[: size - HEAD.size]
        self.count = 0

    def next(self) -> bytes:
        """The next message, stamped with the time it is."""
        message = HEAD.pack(self.count, time.monotonic_ns()) + self._body
        self.count += 1
        return message


class Tally:
    """Counts what arrives, and looks at every byte of it."""

    __slots__ = ("_body", "_ordered", "_seen", "_size", "ages_ns", "damaged", "first_s", "last_s", "received")

    def __init__(self, size: int, *, ordered: bool, keep: bool = False) -> None:
        """``keep``: remember what came and how old it was, to find repetitions and latencies; it takes memory."""
        self._size = size
        self._body = _PATTERN[: size - HEAD.size]
        self._ordered = ordered
        self._seen: set[int] | None = set() if keep else None
        self.ages_ns: list[int] | None = [] if keep else None
        self.received = self.damaged = 0
        self.first_s = self.last_s = 0.0

    def take(self, message: bytes) -> None:
        """One message. Cut short, altered, out of order (where that matters) or arrived twice: it is damaged."""
        now_ns = time.monotonic_ns()
        if not self.first_s:
            self.first_s = now_ns / 1e9
        self.last_s = now_ns / 1e9
        if len(message) != self._size:
            self.damaged += 1
            return
        number, sent_ns = HEAD.unpack_from(message)
        is_due = number == self.received or not self._ordered
        if self._seen is not None:
            is_due = is_due and number not in self._seen
            self._seen.add(number)
        if not is_due or message[HEAD.size :] != self._body:
            self.damaged += 1
        self.received += 1
        if self.ages_ns is not None:
            self.ages_ns.append(now_ns - sent_ns)

    def result(self) -> dict[str, float]:
        """For the answer to the runner; latencies in microseconds."""
        result: dict[str, float] = {
            "received": self.received,
            "damaged": self.damaged,
            "seconds": self.last_s - self.first_s,
        }
        if self.ages_ns:
            for share in (50, 99, 99.9):
                result[f"p{share:g}_us"] = percentile(self.ages_ns, share) / 1000
        return result


def percentile(values: list[int], share: float) -> float:
    """The value below which ``share`` percent of them lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


class Pace:
    """When to send, at a given rate for a given time. Event loops sleep for whole milliseconds, so it catches up."""

    __slots__ = ("_rate", "_sent", "_start", "_total")

    def __init__(self, rate: float, seconds: float) -> None:
        self._rate = rate
        self._total = max(2, round(rate * seconds))
        self._sent = 0
        self._start = time.monotonic()

    def due(self) -> int | None:
        """How many to send now, which are then taken as sent; ``None`` when all have been."""
        if self._sent == self._total:
            return None
        count = min(self._total, int(self.elapsed_s() * self._rate) + 1) - self._sent
        self._sent += count
        return count

    def pause_s(self) -> float:
        """How long to sleep until the next is due; 0 if it is, or if there is none."""
        return max(0.0, self._sent / self._rate - self.elapsed_s()) if self._sent < self._total else 0.0

    def elapsed_s(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start
