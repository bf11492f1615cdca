"""Chunks that have a TSN and are not yet cumulatively acknowledged.

TSNs are unwrapped: plain integers that grow without end. ``records[i]`` is the chunk with TSN ``base + i``, so
finding a TSN costs nothing and a cumulative acknowledgement cuts a slice off the front.

A record is a list, indexed by the constants below, because making one costs a fifth of what an object does and
there is one for each packet. A record is IN_FLIGHT, ACKED (by a gap block), LOST (waits to be sent again) or
ABANDONED (its message was given up, RFC 3758 section 3.5). Only the first counts into ``flight``.
"""

from __future__ import annotations

__all__ = [
    "ABANDONED",
    "ACKED",
    "CHUNK",
    "IN_FLIGHT",
    "LOST",
    "MESSAGE",
    "SENDS",
    "SENT_AT",
    "SIZE",
    "STATE",
    "TSN",
    "Outstanding",
    "Record",
]

from collections import deque
from heapq import heappop, heappush
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..chunks import ForwardTsn

if TYPE_CHECKING:
    from .send_queue import Message, OutboundStream

Record = list[Any]

TSN, CHUNK, SIZE, MESSAGE, SENT_AT, STATE, SENDS = range(7)
IN_FLIGHT, ACKED, LOST, ABANDONED = range(4)

MAX_WAITED_FOR = 64
"""Chunks acknowledged behind one that was given up and may still arrive: it has been overtaken by enough of them. This
bounds what the peer has to report as gaps, too."""

MAX_SKIPPED_STREAMS = 256
"""In one FORWARD-TSN, so that it fits a packet; the next one goes on from there."""

_size_of = itemgetter(SIZE)


class Outstanding:
    """The records, the bytes in flight, what waits for retransmission, and how far was given up."""

    __slots__ = (
        "_gaps", "_held", "_lost", "_settled", "_told", "acked_alone", "acked_bytes", "advanced", "base", "drained",
        "finishing", "flight", "newest", "next_tsn", "records", "rescued", "rtt_record", "troubled_until", "waited_for",
    )  # fmt: skip

    def __init__(self, initial_tsn: int) -> None:
        self.base = self.next_tsn = initial_tsn + (1 << 32)
        self.records: list[Record] = []
        self.flight = 0
        self.advanced = self.base - 1
        """Advanced.Peer.Ack.Point: the last TSN of the settled front that was given up, and is not waited for."""
        self.waited_for: Record | None = None
        """Given up, and not yet to be skipped by the peer, as it may still arrive."""
        self.troubled_until = self.base - 1
        """Beyond this TSN every record is in flight for the first time, so an acknowledgement needs no look at it."""
        self._settled = self.base - 1
        self._told = (
            self.base - 1
        )  # what a FORWARD-TSN has told the peer to skip: acknowledged, whether it arrives or not
        self._lost: list[Record] = []  # heap by TSN; entries whose state has moved on are skipped
        self._held: list[Record] = []
        self._gaps: list[tuple[int, int]] = []
        self.finishing: deque[Message] = deque()  # with all TSNs given, in order of their last one
        # What the last acknowledgement did:
        self.acked_bytes = 0
        self.acked_alone = False  # all of it was sent at once
        self.rescued: list[Record] = []  # acknowledged while waiting for retransmission, or given up: never lost
        self.newest: Record | None = None  # the most recently sent of the acknowledged
        self.rtt_record: Record | None = None  # the most recently sent of those sent once
        self.drained: dict[OutboundStream, int] = {}  # streams that had messages settled, and their amount before

    @property
    def cumulative(self) -> int:
        """The last TSN the peer acknowledged cumulatively."""
        return self.base - 1

    @property
    def settled(self) -> int:
        """The last TSN up to which, when it was last looked at, everything was acknowledged or given up."""
        return max(self._settled, self.base - 1)

    @property
    def has_lost(self) -> bool:
        """Whether anything waits for retransmission."""
        lost = self._lost
        while lost and lost[0][STATE] != LOST:
            heappop(lost)
        return bool(lost)

    def unwrap(self, tsn: int) -> int:
        """The integer for a 32-bit TSN."""
        return self.base + ((tsn - self.base + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def is_plausible(self, cumulative: int, gaps: list[tuple[int, int]]) -> bool:
        """Whether a SACK can be true: not old, nothing that was never sent, blocks sorted and apart."""
        highest = self.next_tsn - 1
        if not self.base - 1 <= cumulative <= highest:
            return False
        if not gaps:
            return True
        if len(gaps) > len(self.records) or cumulative + gaps[-1][1] > highest:
            return False
        previous = 0
        for start, end in gaps:
            if not previous < start <= end:
                return False
            previous = end
        return True

    def acknowledge(self, cumulative: int, gaps: list[tuple[int, int]]) -> None:
        """Take a valid SACK: everything up to `cumulative`, and the `gaps`, in absolute TSNs."""
        self.acked_bytes = 0
        self.acked_alone = False
        self.rescued = []
        self.newest = self.rtt_record = None
        if cumulative >= self.base:
            self._acknowledge_front(cumulative)
        if gaps:
            self.troubled_until = self.next_tsn - 1
            for start, end in _beyond(self._gaps, gaps):
                self._acknowledge_each(self.records[max(0, start - self.base) : end - self.base + 1])
        self._gaps = gaps

    def lose(self, record: Record) -> None:
        """The record needs to be sent again."""
        self.flight -= record[SIZE]
        record[STATE] = LOST
        heappush(self._lost, record)
        self.troubled_until = self.next_tsn - 1

    def next_lost(self) -> Record | None:
        """The lowest record that waits for retransmission, taken from the queue."""
        return heappop(self._lost) if self.has_lost else None

    def hold(self, record: Record) -> None:
        """The record, just taken from those that wait, is too large for the path: it waits for a wider one."""
        self._held.append(record)

    @property
    def has_held(self) -> bool:
        """Whether anything waits for a wider path."""
        return any(record[STATE] == LOST for record in self._held)

    def release_held(self) -> None:
        """The path may be wide enough now."""
        held, self._held = self._held, []
        for record in held:
            if record[STATE] == LOST:
                heappush(self._lost, record)

    def restore_lost(self) -> None:
        """What waits for retransmission is in flight after all: the timeout was premature."""
        self.release_held()
        for record in self._lost:
            if record[STATE] == LOST:
                record[STATE] = IN_FLIGHT
                self.flight += record[SIZE]
        self._lost.clear()

    def in_flight(self) -> list[Record]:
        """All records in flight, in order of TSN."""
        return [record for record in self.records if record[STATE] == IN_FLIGHT]

    @property
    def peer_forgot(self) -> bool:
        """The chunk due next was acknowledged by a gap block, and is not acknowledged now."""
        return bool(self.records) and bool(self.records[0][STATE] == ACKED)

    def forget_gaps(self) -> None:
        """Gap blocks are advisory (RFC 9260 section 6.3.3): what only they acknowledged is in flight again."""
        for record in self.records:
            if record[STATE] == ACKED and record[MESSAGE].abandoned:
                record[STATE] = ABANDONED
            elif record[STATE] == ACKED:
                record[STATE] = IN_FLIGHT
                self.flight += record[SIZE]
        self._gaps = []
        self.troubled_until = self.next_tsn - 1
        self._settled = self.cumulative

    def abandon(self, message: Message, now: float) -> None:
        """Give up a message: none of its chunks is sent again, and the peer is to be told to skip them."""
        message.abandoned = True
        self._settle(message)
        if message.first_tsn < 0:
            return
        if message.last_tsn < 0:
            # The rest was never sent. One more TSN makes sure that a FORWARD-TSN follows even if the peer has all
            # that was sent: without it the peer would wait for the rest for ever.
            message.last_tsn = self.next_tsn
            self.records.append([self.next_tsn, b"", 0, message, now, ABANDONED, 0])
            self.next_tsn += 1
        for record in self.records[max(0, message.first_tsn - self.base) : message.last_tsn - self.base + 1]:
            state = record[STATE]
            if state == IN_FLIGHT:
                self.flight -= record[SIZE]
            if state != ACKED:
                record[STATE] = ABANDONED
        self.troubled_until = self.next_tsn - 1

    def advance(self, now: float, patience: float) -> bool:
        """Move the point up to which the peer may skip; True when it moved (RFC 3758 section 3.5 rule C2).

        A peer that was told to skip a chunk drops it when it comes. One that was sent less than ``patience`` ago may
        only be late, so that point stops in front of it, unless others wait for it: the rest of its stream, if that
        is ordered.
        """
        before = self.advanced = max(self.advanced, self.cumulative)
        self.waited_for = None
        if self.troubled_until < self.base:
            return False
        self._settle_front()
        records, base, settled = self.records, self.base, self._settled
        is_crowded = settled - base >= MAX_WAITED_FOR
        for tsn in range(before + 1, settled + 1):
            record = records[tsn - base]
            if record[STATE] != ABANDONED:
                continue
            is_recent = record[SIZE] and record[SENT_AT] + patience > now + 1e-9
            if is_recent and not is_crowded and not record[MESSAGE].ordered:
                self.waited_for = record
                break
            self.advanced = tsn
        return self.advanced > before

    def _settle_front(self) -> None:
        records = self.records
        at = max(self._settled, self.cumulative) + 1 - self.base
        while at < len(records) and records[at][STATE] in (ACKED, ABANDONED):
            at += 1
        self._settled = self.base + at - 1

    def forward_tsn(self) -> ForwardTsn:
        """What to tell the peer to skip."""
        skipped: dict[int, int] = {}
        upto = self.advanced
        for record in self.records[: self.advanced - self.base + 1]:
            message: Message = record[MESSAGE]
            if record[STATE] != ABANDONED or not message.ordered:
                continue
            if len(skipped) >= MAX_SKIPPED_STREAMS and message.stream.id not in skipped:
                upto = record[TSN] - 1
                break
            skipped[message.stream.id] = message.ssn
        self._told = max(self._told, upto)
        return ForwardTsn(upto & 0xFFFFFFFF, list(skipped.items()))

    def _acknowledge_front(self, cumulative: int) -> None:
        records = self.records
        count = cumulative - self.base + 1
        done = records[:count]
        del records[:count]
        if self.base > self.troubled_until:
            self.newest = last = done[-1]
            self.rtt_record = last
            self.acked_alone = done[0][SENT_AT] == last[SENT_AT]
            acked = sum(map(_size_of, done))
            self.flight -= acked
            self.acked_bytes = acked
        else:
            self._acknowledge_each(done)
        self.base = cumulative + 1
        finishing, drained = self.finishing, self.drained
        while finishing and finishing[0].last_tsn <= cumulative:
            message = finishing.popleft()
            if not message.abandoned:  # as _settle does, without a call for each small message
                stream = message.stream
                if stream not in drained:
                    drained[stream] = stream.buffered
                stream.buffered -= message.size

    def _settle(self, message: Message) -> None:
        """The message is acknowledged or given up: it does not count as buffered any more."""
        stream = message.stream
        if stream not in self.drained:
            self.drained[stream] = stream.buffered
        stream.buffered -= message.size

    def _acknowledge_each(self, acked: list[Record]) -> None:
        newest = self.newest
        for record in acked:
            state = record[STATE]
            if state == IN_FLIGHT:
                self.flight -= record[SIZE]
            elif state == LOST or (state == ABANDONED and record[TSN] > self._told):
                self.rescued.append(record)
            else:
                continue
            record[STATE] = ACKED
            self.acked_bytes += record[SIZE]
            if newest is None or record[SENT_AT] >= newest[SENT_AT]:
                newest = record
            if record[SENDS] == 1:
                self.rtt_record = record
        self.newest = newest


def _beyond(old: list[tuple[int, int]], new: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of the blocks `new` that no block of `old` covers. Both are sorted."""
    fresh = []
    at = 0
    for start, end in new:
        while at < len(old) and old[at][1] < start:
            at += 1
        begin, look = start, at
        while look < len(old) and old[look][0] <= end:
            if begin < old[look][0]:
                fresh.append((begin, old[look][0] - 1))
            begin = max(begin, old[look][1] + 1)
            look += 1
        if begin <= end:
            fresh.append((begin, end))
    return fresh
