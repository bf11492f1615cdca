"""From fragments to messages: joining by TSN, ordering by stream sequence number (RFC 9260 sections 6.5, 6.6, 6.9).

The fragments of a message have consecutive TSNs, so a partial message is a *run* of TSNs. Runs are found by their
first and by their last TSN; a fragment extends one, starts one, or welds two. No scan is ever longer than the
shorter of two runs, whatever order a peer chooses.

While nothing is missing there is at most one partial message, the one whose next fragment is due. It stays out of
the two indexes, as ``_current``: the fragments of a large message then cost one append each.
"""

from __future__ import annotations

__all__ = ["Reassembly"]

from ...serial import MASK16, gte16
from ..chunks import FLAG_FIRST, FLAG_LAST, FLAG_UNORDERED
from ..errors import OUT_OF_RESOURCE, Violation
from ..events import Event, MessageReceived

_new_message = tuple.__new__  # three times as fast as MessageReceived(...)

WHOLE = FLAG_FIRST | FLAG_LAST


class Run:
    """Consecutive fragments of one message, `start`..`end` in TSNs."""

    __slots__ = ("end", "first", "key", "last", "parts", "ppid", "size", "start")

    def __init__(self, tsn: int, flags: int, key: int, ppid: int, data: bytes) -> None:
        self.start = self.end = tsn
        self.first = flags & FLAG_FIRST != 0
        self.last = flags & FLAG_LAST != 0
        self.key = key
        self.ppid = ppid
        self.parts = [data]
        self.size = len(data)


class InboundStream:
    """Order within one stream: the sequence number due next, and complete messages that came early."""

    __slots__ = ("early", "next_ssn")

    def __init__(self) -> None:
        self.next_ssn = 0
        self.early: dict[int, tuple[int, bytes] | None] = {}  # None: skipped by the peer


class Reassembly:
    """Collects fragments and appends complete messages to `delivered`.

    ``held`` is the number of bytes that occupy the receive window: partial messages, complete ones that came before
    their turn, and, with a manual window, delivered ones that the application still has (``unconsumed``).
    """

    __slots__ = (
        "_by_end",
        "_by_start",
        "_current",
        "_delivered",
        "_manual",
        "_max_message",
        "_max_streams",
        "_streams",
        "held",
        "refused",
        "unconsumed",
    )

    def __init__(
        self, delivered: list[Event], *, max_message_size: int, max_streams: int, manual_window: bool
    ) -> None:  # fmt: skip
        self._delivered = delivered
        self._manual = manual_window
        self._max_message = max_message_size
        self._max_streams = max_streams
        self._current: Run | None = None
        self._by_start: dict[int, Run] = {}
        self._by_end: dict[int, Run] = {}
        self._streams: dict[int, InboundStream] = {}
        self.held = 0
        self.unconsumed = 0
        self.refused: int | None = None  # a stream id beyond the cap, for the association to report

    def deliver_to(self, delivered: list[Event]) -> None:
        """Append to another list from now on."""
        self._delivered = delivered

    def add_next(self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, data: bytes) -> None:
        """Take the fragment that was due next, while nothing is missing."""
        run = self._current
        if run is None and self._by_start:
            run = self._resume_run(tsn)
        position = flags & WHOLE
        if run is None:
            if position == WHOLE:
                self._complete(flags & FLAG_UNORDERED, stream_id, ssn, ppid, data)
            elif position:
                self._begin_run(tsn, flags, stream_id, ssn, ppid, data)
            return  # else: the rest of a message the peer gave up
        if position & FLAG_FIRST or run.key != (flags & FLAG_UNORDERED) << 32 | stream_id << 16 | ssn:
            self.add(tsn, flags, stream_id, ssn, ppid, data, settled=True)
            return
        size = len(data)
        run.parts.append(data)
        run.size += size
        if position:
            self._current = None
            self.held -= run.size - size
            self._complete(flags & FLAG_UNORDERED, stream_id, ssn, run.ppid, b"".join(run.parts))
        else:
            self.held += size
            if run.size > self._max_message:
                raise self._too_large(stream_id)

    def add(
        self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, data: bytes, settled: bool
    ) -> None:  # fmt: skip
        """Take one fragment that was not here before. `settled`: every TSN before this one is accounted for."""
        if self._current is not None:
            self._index_current()
        if flags & WHOLE == WHOLE:
            if self._by_start:
                self._end_neighbours(tsn)
            self._complete(flags & FLAG_UNORDERED, stream_id, ssn, ppid, data)
            return
        run = self._extend_or_open(tsn, flags, stream_id, ssn, ppid, data, settled)
        if run is None:
            return
        if (right := self._by_start.get(tsn + 1)) is not None:
            self._weld(run, right)
        if run.last and run.first:
            self._drop(run)
            self._complete(flags & FLAG_UNORDERED, stream_id, ssn, run.ppid, b"".join(run.parts))
        elif run.size > self._max_message:
            raise self._too_large(stream_id)

    def skip(self, cumulative: int, streams: list[tuple[int, int]]) -> None:
        """The peer gave up what is missing up to `cumulative`, and `streams` lists sequence numbers it skipped."""
        if self._current is not None:
            self._index_current()
        for run in [run for run in self._by_start.values() if run.start <= cumulative]:
            self._drop(run)
        following = self._by_start.get(cumulative + 1)
        if following is not None and not following.first:
            self._drop(following)
        for stream_id, ssn in streams:
            self._skip_stream(stream_id, ssn)

    def consume(self, size: int) -> None:
        """The application let go of `size` delivered bytes (manual window)."""
        size = min(size, self.unconsumed)
        self.unconsumed -= size
        self.held -= size

    def reset(self, stream_ids: tuple[int, ...]) -> None:
        """The peer begins these streams (all, if none is named) at sequence number 0 again."""
        for stream_id in stream_ids or tuple(self._streams):
            stream = self._streams.pop(stream_id, None)
            if stream is not None:
                self.held -= sum(len(message[1]) for message in stream.early.values() if message)

    def _complete(self, unordered: int, stream_id: int, ssn: int, ppid: int, data: bytes) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._open_stream(stream_id)
            if stream is None:
                return
        if unordered:
            self._delivered.append(_new_message(MessageReceived, (stream_id, ppid, data)))
        elif ssn == stream.next_ssn:
            self._delivered.append(_new_message(MessageReceived, (stream_id, ppid, data)))
            stream.next_ssn = ssn + 1 & MASK16
            if stream.early:
                self._release(stream_id, stream)
        elif gte16(ssn, stream.next_ssn) and ssn not in stream.early:
            stream.early[ssn] = (ppid, data)
            self.held += len(data)
            return
        else:
            return  # its turn has passed: the peer skipped it
        if self._manual:
            self.held += len(data)
            self.unconsumed += len(data)

    def _open_stream(self, stream_id: int) -> InboundStream | None:
        if len(self._streams) >= self._max_streams:
            self.refused = stream_id
            return None
        stream = self._streams[stream_id] = InboundStream()
        return stream

    def _release(self, stream_id: int, stream: InboundStream) -> None:
        """Deliver the messages whose turn has come."""
        early = stream.early
        while stream.next_ssn in early:
            message = early.pop(stream.next_ssn)
            stream.next_ssn = stream.next_ssn + 1 & MASK16
            if message is not None:
                self._deliver_early(stream_id, *message)

    def _deliver_early(self, stream_id: int, ppid: int, data: bytes) -> None:
        self._delivered.append(MessageReceived(stream_id, ppid, data))
        if self._manual:
            self.unconsumed += len(data)
        else:
            self.held -= len(data)

    def _skip_stream(self, stream_id: int, ssn: int) -> None:
        stream = self._streams.get(stream_id) or self._open_stream(stream_id)
        if stream is None or not gte16(ssn, stream.next_ssn):
            return
        before = sorted((number for number in stream.early if gte16(ssn, number)), key=lambda n: n - ssn - 1 & MASK16)
        for number in before:
            message = stream.early.pop(number)
            if message is not None:
                self._deliver_early(stream_id, *message)
        stream.next_ssn = ssn + 1 & MASK16
        self._release(stream_id, stream)

    def _begin_run(self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, data: bytes) -> None:
        """A message begins with the fragment that was due."""
        if flags & FLAG_FIRST:
            key = (flags & FLAG_UNORDERED) << 32 | stream_id << 16 | ssn
            self._current = Run(tsn, flags, key, ppid, data)
            self.held += len(data)

    def _index_current(self) -> None:
        """Something is missing now: the partial message must be found by TSN like any other."""
        run, self._current = self._current, None
        if run is not None:
            run.end = run.start + len(run.parts) - 1
            self._by_start[run.start] = self._by_end[run.end] = run

    def _resume_run(self, tsn: int) -> Run | None:
        """Nothing is missing any more: the run that ends before `tsn`, if any, is the current one again."""
        run = self._by_end.get(tsn - 1)
        if run is not None:
            del self._by_start[run.start], self._by_end[run.end]
            self._current = run
        return run

    def _too_large(self, stream_id: int) -> Violation:
        return Violation(
            OUT_OF_RESOURCE, f"a message of stream {stream_id} is larger than {self._max_message} bytes"
        )  # fmt: skip

    def _extend_or_open(
        self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, data: bytes, settled: bool
    ) -> Run | None:
        """The run that now holds this fragment; None when the fragment belongs to nothing that can be finished."""
        key = (flags & FLAG_UNORDERED) << 32 | stream_id << 16 | ssn
        run = self._by_end.get(tsn - 1)
        if run is not None and run.key == key and not run.last and not flags & FLAG_FIRST:
            del self._by_end[tsn - 1]
            run.end = tsn
            run.parts.append(data)
            run.size += len(data)
            run.last = flags & FLAG_LAST != 0
        elif flags & FLAG_FIRST or (run is None and not settled):
            self._end_neighbours(tsn, keep_following=True)
            self._by_start[tsn] = run = Run(tsn, flags, key, ppid, data)
        else:
            self._end_neighbours(tsn)
            return None
        self._by_end[tsn] = run
        self.held += len(data)
        return run

    def _weld(self, left: Run, right: Run) -> None:
        """Join two runs that touch, if they are of one message; else drop the one that can never be finished."""
        if right.first:
            return
        if left.last or left.key != right.key:
            self._drop(right)
            return
        del self._by_start[right.start], self._by_end[left.end]
        if len(right.parts) > len(left.parts):
            right.parts[:0] = left.parts
            left.parts = right.parts
        else:
            left.parts.extend(right.parts)
        left.end, left.last = right.end, right.last
        left.size += right.size
        self._by_end[left.end] = left

    def _end_neighbours(self, tsn: int, *, keep_following: bool = False) -> None:
        """What cannot go on past `tsn` was given up: a run that stops before it, a run that has no first part."""
        before = self._by_end.get(tsn - 1)
        if before is not None and not before.last:
            self._drop(before)
            if before.first and not before.key >> 32:
                self._give_up(before.key >> 16, before.key & MASK16)
        following = self._by_start.get(tsn + 1)
        if following is not None and not following.first and not keep_following:
            self._drop(following)

    def _give_up(self, stream_id: int, ssn: int) -> None:
        """Sequence number `ssn` of a stream will not come."""
        stream = self._streams.get(stream_id) or self._open_stream(stream_id)
        if stream is not None and gte16(ssn, stream.next_ssn):
            stream.early.setdefault(ssn, None)
            self._release(stream_id, stream)

    def _drop(self, run: Run) -> None:
        del self._by_start[run.start], self._by_end[run.end]
        self.held -= run.size
