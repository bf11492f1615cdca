"""Messages that wait for their turn, and the order in which streams take turns.

A message's fragments need consecutive TSNs, so turns are whole messages. Whose turn it is follows weighted fair
queueing (as RFC 8260 section 3.6 describes for whole messages): a stream's next message is due at the stream's
virtual time plus its size over the stream's weight, and the message due first goes first. A small message on a
quiet stream is therefore due before the next large one of a stream that never stops, and nobody starves.

Messages that make up something larger, and say so (``more``), keep together: their stream goes on once it has its turn,
for ``TOGETHER_BYTES`` beyond the first. It pays for them as usual, so that its next turn comes later. Streams that had
messages waiting all the time wait until then; one that was idle and has a message now takes its turn in between.
"""

from __future__ import annotations

__all__ = ["DEFAULT_WEIGHT", "Message", "OutboundStream", "SendQueue"]

from collections import deque
from heapq import heappop, heappush

DEFAULT_WEIGHT = 256
"""The priority "normal" of RFC 8832 section 5.1."""

MESSAGE_OVERHEAD = 64
"""Bytes added to each message's size when sharing turns, so that tiny messages are not free."""


TOGETHER_BYTES = 8 * 1024
"""A frame of a few packets."""


class Message:
    """One message of the application, from ``send`` until it is acknowledged or given up."""

    __slots__ = (
        "abandoned", "data", "expires_at", "first_tsn", "last_tsn", "max_retransmits", "more", "offset", "ordered",
        "ppid", "size", "ssn", "stream",
    )  # fmt: skip

    def __init__(
        self, stream: OutboundStream, ppid: int, data: bytes, ordered: bool, max_retransmits: int | None,
        expires_at: float | None, more: bool = False,
    ) -> None:  # fmt: skip
        self.stream = stream
        self.ppid = ppid
        self.data = data
        self.size = len(data)
        self.ordered = ordered
        self.max_retransmits = max_retransmits
        self.expires_at = expires_at
        self.more = more  # is to follow that belongs together with it
        self.offset = 0  # bytes that were given TSNs
        self.ssn = 0  # given with the first TSN
        self.first_tsn = -1
        self.last_tsn = -1  # of the last fragment; -1 until that has one
        self.abandoned = False


class OutboundStream:
    """A stream's queue, its numbering, and how much of it is unacknowledged."""

    __slots__ = (
        "buffered", "expired", "id", "low_water", "next_ssn", "paused", "queue", "scheduled",
        "unsent", "virtual_time", "weight",
    )  # fmt: skip

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.queue: deque[Message] = deque()
        self.buffered = 0  # bytes neither acknowledged nor given up
        self.unsent = 0  # bytes of the messages in the queue, of which nothing was sent yet
        self.expired = 0  # messages given up before anything of them was sent, as their lifetime was over
        self.low_water = 0
        self.next_ssn = 0
        self.weight = DEFAULT_WEIGHT
        self.virtual_time = 0.0
        self.paused = False  # while the stream is being reset
        self.scheduled = False


class SendQueue:
    """All outbound streams, and the choice of the next message."""

    __slots__ = ("_alone", "_clock", "_current", "_due", "_run", "_run_until", "_turn", "_woken_due", "streams")

    def __init__(self) -> None:
        self.streams: dict[int, OutboundStream] = {}
        self._due: list[tuple[float, int, OutboundStream]] = []  # heap of streams with messages
        self._alone: OutboundStream | None = None  # has messages, and no other has: it needs no heap
        self._current: Message | None = None  # begun, not finished: it keeps its turn
        self._run: OutboundStream | None = None  # what was sent of it last is to be followed by more
        self._run_until = 0.0  # its virtual time at which that ends
        self._woken_due = 0.0  # when a stream is due that was idle: it does not wait for the end of the run
        self._clock = 0.0  # virtual time of the last turn given
        self._turn = 0  # breaks ties, first come first served

    def stream(self, stream_id: int) -> OutboundStream:
        """The stream with this id, made when it is new."""
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.streams[stream_id] = OutboundStream(stream_id)
        return stream

    def push(self, message: Message) -> None:
        """Queue a message behind the others of its stream."""
        stream = message.stream
        stream.queue.append(message)
        stream.buffered += message.size
        stream.unsent += message.size
        if not stream.scheduled and not stream.paused:
            if self._current is not None and self._current.first_tsn < 0:
                self._take_back(self._current)
            if self._alone is not None:
                self._schedule(self._alone)
                self._alone = None
            if stream is self._run:
                self._schedule_run(stream)
            elif self._due or self._current is not None or self._run is not None:
                self._woken_due = self._schedule(stream)
            else:
                self._alone, stream.scheduled = stream, True

    def _take_back(self, message: Message) -> None:
        """The message has its turn, and nothing of it was sent yet: who comes now may be due before it."""
        stream, self._current = message.stream, None
        stream.queue.appendleft(message)
        stream.unsent += message.size
        self._refund(message)
        if not stream.paused:
            self._schedule(stream)

    def withdraw(self, stream: OutboundStream) -> list[bytes]:
        """Take back the messages of which nothing was sent. The stream keeps its place among those that wait."""
        if self._current is not None and self._current.stream is stream and self._current.first_tsn < 0:
            self._take_back(self._current)
        taken = [message.data for message in stream.queue]
        stream.queue.clear()
        stream.buffered -= stream.unsent
        stream.unsent = 0
        return taken

    def _refund(self, message: Message) -> None:
        """The turn was not used."""
        stream = message.stream
        stream.virtual_time -= (message.size + MESSAGE_OVERHEAD) / stream.weight
        self._clock = min(self._clock, stream.virtual_time)

    def next(self) -> Message | None:
        """The message whose turn it is; it keeps the turn until ``finished``."""
        if self._current is not None:
            return self._current
        alone = self._alone
        if alone is not None:
            self._alone = None
            if not self._due and not alone.paused and alone.queue:
                self._current = message = alone.queue.popleft()
                alone.unsent -= message.size
                begins = alone.virtual_time if alone.virtual_time > self._clock else self._clock
                self._clock = alone.virtual_time = begins + (message.size + MESSAGE_OVERHEAD) / alone.weight
                return message
            self._schedule(alone)
        return self._take_due() if self._due else None

    @property
    def is_alone(self) -> bool:
        """Whether no other stream waits for the turn of the message that has it."""
        return not self._due

    def finished(self) -> None:
        """The message whose turn it was has all its TSNs, or was given up."""
        message, self._current = self._current, None
        if message is None:
            return
        stream = message.stream
        if message.more or stream is self._run:
            self._follow_run(message)
        if not stream.queue:
            stream.scheduled = False
        elif not self._due:
            self._alone = stream
        elif stream is self._run:
            self._schedule_run(stream)
        else:
            self._schedule(stream)

    def _follow_run(self, message: Message) -> None:
        stream = message.stream
        if not message.more:
            self._run = None
        elif stream is not self._run:
            self._run, self._run_until = stream, stream.virtual_time + TOGETHER_BYTES / stream.weight
            self._woken_due = 0.0
        elif stream.virtual_time >= self._run_until:
            self._run = None

    def skipped(self) -> None:
        """The message whose turn it was is given up, and nothing of it was sent: its stream goes on."""
        if self._current is not None:
            self._refund(self._current)
        self.finished()

    def _take_due(self) -> Message | None:
        due = self._due
        while due:
            at, _, stream = heappop(due)
            if stream.paused or not stream.queue:
                stream.scheduled = False
                continue
            self._current = message = stream.queue.popleft()
            stream.unsent -= message.size
            if stream is self._run:
                stream.virtual_time += (message.size + MESSAGE_OVERHEAD) / stream.weight
            else:
                self._clock = stream.virtual_time = at
            return message
        return None

    def pause(self, stream: OutboundStream) -> None:
        """Give the stream no turns until ``resume``."""
        stream.paused = True

    def resume(self, stream: OutboundStream) -> None:
        """Undo ``pause``."""
        stream.paused = False
        if stream.queue and not stream.scheduled:
            self._schedule(stream)

    def __bool__(self) -> bool:
        return self.next() is not None

    def _schedule_run(self, stream: OutboundStream) -> None:
        """The stream is due at once, or after the last of those that woke up meanwhile."""
        self._turn += 1
        heappush(self._due, (self._woken_due, self._turn, stream))
        stream.scheduled = True
        self._woken_due = 0.0

    def _schedule(self, stream: OutboundStream) -> float:
        """Let it wait for its turn; returns when it is due."""
        if not stream.queue:
            stream.scheduled = False
            return 0.0
        begins = max(stream.virtual_time, self._clock)
        size = stream.queue[0].size + MESSAGE_OVERHEAD
        self._turn += 1
        due = begins + size / stream.weight
        heappush(self._due, (due, self._turn, stream))
        stream.scheduled = True
        return due
