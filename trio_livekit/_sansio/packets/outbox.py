"""What a session has sent reliably and does not know to have arrived: the numbers of the packets, and a bounded memory.

A server takes reliable packets of one session in the order of their numbers, which begin at 1, and drops what it has
seen. What the server has is known from the channel: SCTP acknowledges in order, so the amount that is still buffered
says which messages have not arrived. And it is known from a resume, which tells the last number that was received.
"""

from __future__ import annotations

__all__ = ["Outbox"]

from collections import deque
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

MAX_BYTES = 8 * 1024 * 1024
"""Sent and not acknowledged. At a round trip of 100 ms this is 80 MB/s, more than the receive window of a server."""

MAX_AGE_S = 60.0
"""After this nobody waits for a packet any more: neither for its acknowledgement, nor for it to be sent again."""


class _Sent(NamedTuple, Generic[T]):
    item: T
    sequence: int
    size: int
    end: int  # bytes given to the channel up to and with this message
    sent_at: float


class Outbox(Generic[T]):
    """Items, one per packet, from sending to the knowledge that the server has them. All of it is in sending order."""

    def __init__(self, *, max_bytes: int = MAX_BYTES, max_age_s: float = MAX_AGE_S) -> None:
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._sent: deque[_Sent[T]] = deque()
        self._given = 0  # bytes, to the channel, in this session
        self.size = 0
        """Bytes sent and not acknowledged."""
        self.next_sequence = 1
        """The number of the next packet."""

    def __len__(self) -> int:
        return len(self._sent)

    def items(self) -> list[T]:
        """What was sent and is not acknowledged."""
        return [sent.item for sent in self._sent]

    def has_room(self, size: int) -> bool:
        """Whether a message of ``size`` bytes may be sent. The first one always may."""
        return not self._sent or self.size + size <= self._max_bytes

    def add(self, item: T, size: int, now: float) -> None:
        """A message of ``size`` bytes with the number ``next_sequence`` was given to the channel."""
        self._given += size
        self.size += size
        self._sent.append(_Sent(item, self.next_sequence, size, self._given, now))
        self.next_sequence += 1

    def on_buffered(self, amount: int) -> list[T]:
        """The channel holds so many bytes that are not acknowledged; returns what is not among them."""
        arrived = self._given - amount
        done: list[T] = []
        while self._sent and self._sent[0].end <= arrived:
            done.append(self._pop())
        return done

    def on_received(self, sequence: int) -> list[T]:
        """The server has everything up to this number, as it says; returns what that settles."""
        done: list[T] = []
        while self._sent and self._sent[0].sequence <= sequence:
            done.append(self._pop())
        return done

    def on_new_session(self) -> list[T]:
        """The channel is gone and the numbers begin anew; returns what may not have arrived."""
        left = self.items()
        self._sent.clear()
        self._given = self.size = 0
        self.next_sequence = 1
        return left

    def next_timeout(self) -> float | None:
        """When the oldest item is too old."""
        return self._sent[0].sent_at + self._max_age_s if self._sent else None

    def handle_timeout(self, now: float) -> list[T]:
        """Time has passed; returns what is too old to be waited for."""
        done: list[T] = []
        while self._sent and self._sent[0].sent_at + self._max_age_s <= now:
            done.append(self._pop())
        return done

    def _pop(self) -> T:
        sent = self._sent.popleft()
        self.size -= sent.size
        return sent.item
