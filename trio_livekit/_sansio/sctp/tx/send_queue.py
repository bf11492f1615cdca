"""Messages that wait for their turn, and the order in which streams take turns.

A message's fragments need consecutive TSNs, so turns are whole messages. Whose turn it is follows weighted fair
queueing (as RFC 8260 section 3.6 describes for whole messages): a stream's next message is due at the stream's
virtual time plus its size over the stream's weight, and the message due first goes first. A small message on a
quiet stream is therefore due before the next large one of a stream that never stops, and nobody starves.
"""

from __future__ import annotations

__all__ = ["DEFAULT_WEIGHT", "Message", "OutboundStream", "SendQueue"]

from collections import deque
from heapq import heappop, heappush

DEFAULT_WEIGHT = 256
"""The priority "normal" of RFC 8832 section 5.1."""

MESSAGE_OVERHEAD = 64
"""Bytes added to each message's size when sharing turns, so that tiny messages are not free."""


class Message:
    """One message of the application, from ``send`` until it is acknowledged or given up."""

    __slots__ = (
        "abandoned", "data", "expires_at", "first_tsn", "last_tsn", "max_retransmits", "offset", "ordered", "ppid",
        "size", "ssn", "stream",
    )  # fmt: skip

    def __init__(
        self, stream: OutboundStream, ppid: int, data: bytes, ordered: bool, max_retransmits: int | None,
        expires_at: float | None,
    ) -> None:  # fmt: skip
        self.stream = stream
        self.ppid = ppid
        self.data = data
        self.size = len(data)
        self.ordered = ordered
        self.max_retransmits = max_retransmits
        self.expires_at = expires_at
        self.offset = 0  # bytes that were given TSNs
        self.ssn = 0  # given with the first TSN
        self.first_tsn = -1
        self.last_tsn = -1  # of the last fragment; -1 until that has one
        self.abandoned = False


class OutboundStream:
    """A stream's queue, its numbering, and how much of it is unacknowledged."""

    __slots__ = (
        "buffered", "id", "low_water", "next_ssn", "paused", "queue", "scheduled",
        "unsent", "virtual_time", "weight",
    )  # fmt: skip

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.queue: deque[Message] = deque()
        self.buffered = 0  # bytes neither acknowledged nor given up
        self.unsent = 0  # bytes of the messages in the queue, of which nothing was sent yet
        self.low_water = 0
        self.next_ssn = 0
        self.weight = DEFAULT_WEIGHT
        self.virtual_time = 0.0
        self.paused = False  # while the stream is being reset
        self.scheduled = False


class SendQueue:
    """All outbound streams, and the choice of the next message."""

    __slots__ = ("_alone", "_clock", "_current", "_due", "_turn", "streams")

    def __init__(self) -> None:
        self.streams: dict[int, OutboundStream] = {}
        self._due: list[tuple[float, int, OutboundStream]] = []  # heap of streams with messages
        self._alone: OutboundStream | None = None  # has messages, and no other has: it needs no heap
        self._current: Message | None = None  # begun, not finished: it keeps its turn
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
            self._schedule(stream)

    def _take_back(self, message: Message) -> None:
        """The message has its turn, and nothing of it was sent yet: who comes now may be due before it."""
        stream, self._current = message.stream, None
        stream.queue.appendleft(message)
        stream.unsent += message.size
        cost = (message.size + MESSAGE_OVERHEAD) / stream.weight
        stream.virtual_time -= cost
        self._clock = min(self._clock, stream.virtual_time)
        if not stream.paused:
            self._schedule(stream)

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
                self._clock = alone.virtual_time = alone.virtual_time + (message.size + MESSAGE_OVERHEAD) / alone.weight
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
        if not stream.queue:
            stream.scheduled = False
        elif self._due:
            self._schedule(stream)
        else:
            self._alone = stream

    def _take_due(self) -> Message | None:
        due = self._due
        while due:
            at, _, stream = heappop(due)
            if stream.paused or not stream.queue:
                stream.scheduled = False
                continue
            self._clock = stream.virtual_time = at
            self._current = message = stream.queue.popleft()
            stream.unsent -= message.size
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

    def _schedule(self, stream: OutboundStream) -> None:
        if not stream.queue:
            stream.scheduled = False
            return
        begins = max(stream.virtual_time, self._clock)
        size = stream.queue[0].size + MESSAGE_OVERHEAD
        self._turn += 1
        heappush(self._due, (begins + size / stream.weight, self._turn, stream))
        stream.scheduled = True
