"""Finding lost chunks by time rather than by count: RACK and tail loss probes (RFC 8985, applied to TSNs).

A chunk is lost when one sent later was acknowledged, and a reordering window has passed since it should have been.
The window follows the reordering that is seen, so a path that shuffles packets by tens of milliseconds costs
patience, not throughput. A probe after a silence of about 1.5 round trips uncovers loss at the tail.
"""

from __future__ import annotations

__all__ = ["LossDetector"]

from collections import deque
from typing import TYPE_CHECKING

from .outstanding import IN_FLIGHT, SENDS, SENT_AT, STATE, TSN, Outstanding, Record
from .rto import PEER_ACK_DELAY_S

if TYPE_CHECKING:
    from .rto import RtoEstimator

MIN_REORDERING_S = 0.001
MAX_REORDERING_S = 0.1
"""The window may exceed the SRTT that RFC 8985 caps it at: a 5 ms path can still shuffle by 20 ms."""

REORDERING_DECAY = 16
"""Losses repaired without a sign of reordering until the window shrinks by half (RFC 8985 section 7.3.4)."""

REMEMBERED = 512
"""Chunks declared lost of late, to recognise that one arrived after all."""

PROBE_SLACK_S = 0.002


class LossDetector:
    """Which of the outstanding chunks are lost, and when to look again."""

    __slots__ = (
        "_declared", "_out", "_quiet", "_reordering", "_resent", "_rto", "_scan", "check_at", "probe_at", "rack_rtt",
        "rack_time", "rack_tsn",
    )  # fmt: skip

    def __init__(self, out: Outstanding, rto: RtoEstimator) -> None:
        self._out = out
        self._rto = rto
        self._scan = out.base  # first transmissions below this TSN have been judged
        self._resent: deque[Record] = deque()  # in order of their last transmission
        self._declared: dict[int, tuple[float, float]] = {}  # TSN -> (first sent at, declared lost at)
        self._reordering = 0.0
        self._quiet = 0
        self.rack_time = -1.0
        self.rack_tsn = -1
        self.rack_rtt = 0.0
        self.check_at: float | None = None
        self.probe_at: float | None = None

    @property
    def reordering_window(self) -> float:
        """How long past its due time a chunk may stay unacknowledged."""
        usual = self._rto.min_rtt / 4 if self._rto.srtt is not None else MIN_REORDERING_S
        return max(MIN_REORDERING_S, usual, self._reordering)

    @property
    def lateness(self) -> float:
        """How long after it was sent a chunk may still arrive, and nobody would be surprised."""
        return self.rack_rtt + MAX_REORDERING_S

    def on_resent(self, record: Record) -> None:
        """The record was sent once more, just now."""
        self._resent.append(record)

    def on_acked(self, now: float) -> bool:
        """Learn from what the last SACK acknowledged; True when it shows that a chunk had been sent again in vain."""
        record = self._out.newest
        if record is None:
            return False
        sent_at, tsn = record[SENT_AT], record[TSN]
        rtt = now - sent_at
        if record[SENDS] > 1 and rtt < self._rto.min_rtt * 0.9:
            return self._note_late(tsn, now)  # too soon for the retransmission: the original was only late
        if (sent_at, tsn) > (self.rack_time, self.rack_tsn):
            self.rack_time, self.rack_tsn, self.rack_rtt = sent_at, tsn, rtt
        elif record[SENDS] == 1 and rtt - self.rack_rtt > self._reordering / 2:  # as much as ever, or more
            self._widen(rtt - self.rack_rtt)
        return False

    def on_duplicates(self, tsns: list[int], now: float) -> int:
        """The peer reports TSNs that arrived twice; returns how many of them had been declared lost wrongly."""
        late = 0
        for tsn in tsns:
            late += self._note_late(self._out.unwrap(tsn), now)
        return late

    def on_rescued(self, records: list[Record], now: float) -> int:
        """These arrived, though they were not sent again; returns how many of them had been declared lost wrongly."""
        return sum(self._note_late(record[TSN], now) for record in records)

    def on_restored(self) -> None:
        """What a timeout had declared lost is in flight after all: judge it anew, also what had been sent again."""
        self._scan = self._out.base
        again = [record for record in self._out.records if record[STATE] == IN_FLIGHT and record[SENDS] > 1]
        self._resent = deque(sorted(again, key=lambda record: record[SENT_AT]))

    def detect(self, now: float) -> list[Record]:
        """The records that are lost as of now. The caller changes their state; ``check_at`` says when to ask again."""
        out = self._out
        self.check_at = None
        patience = self.rack_rtt + self.reordering_window
        lost: list[Record] = []
        records, base = out.records, out.base
        at, count = max(self._scan, base) - base, len(records)
        while at < count:
            record = records[at]
            if record[STATE] == IN_FLIGHT and record[SENDS] == 1 and not self._is_lost(record, patience, now, lost):
                break
            at += 1
        self._scan = base + at
        resent = self._resent
        while resent:
            record = resent[0]
            if record[STATE] == IN_FLIGHT and not self._is_lost(record, patience, now, lost):
                break
            resent.popleft()
        for record in lost:
            self._remember(record, now)
        return lost

    def on_all_lost(self, records: list[Record], now: float) -> None:
        """A timeout declared these lost."""
        self._scan = self._out.next_tsn
        self._resent.clear()
        self.check_at = None
        for record in records[:REMEMBERED]:
            self._remember(record, now)

    def arm_probe(self, now: float, *, single: bool) -> None:
        """Data is under way: look for loss at its tail in a while. `single`: only one packet is."""
        srtt = self._rto.srtt
        if srtt is None:
            self.probe_at = None
            return
        self.probe_at = now + 1.5 * srtt + (PEER_ACK_DELAY_S if single else PROBE_SLACK_S)

    def on_recovered(self) -> None:
        """A recovery ended: reordering that has not been seen for long is forgotten by and by."""
        self._quiet += 1
        if self._quiet >= REORDERING_DECAY:
            self._quiet = 0
            self._reordering /= 2

    def _is_lost(self, record: Record, patience: float, now: float, lost: list[Record]) -> bool:
        if (record[SENT_AT], record[TSN]) >= (self.rack_time, self.rack_tsn):
            return False
        due = record[SENT_AT] + patience
        if due > now + 1e-9:  # a float's rounding must not make a timer fire twice
            self.check_at = due if self.check_at is None else min(due, self.check_at)
            return False
        lost.append(record)
        return True

    def _remember(self, record: Record, now: float) -> None:
        declared = self._declared
        first_sent_at = declared.pop(record[TSN], (record[SENT_AT], 0.0))[0]
        declared[record[TSN]] = (first_sent_at, now)
        if len(declared) > REMEMBERED:
            del declared[next(iter(declared))]

    def _note_late(self, tsn: int, now: float) -> bool:
        known = self._declared.pop(tsn, None)
        if known is None:
            return False
        self._widen(now - known[0] - self.rack_rtt)
        return True

    def _widen(self, lateness: float) -> None:
        self._quiet = 0
        cap = max(MAX_REORDERING_S, self._rto.srtt or 0.0)
        self._reordering = max(self._reordering, min(cap, lateness * 1.25))
