"""A bounded queue with one rule for overflow: the newest wins, and what it displaced is counted.

Filling it never waits and never fails, so that whoever reads the network is not held up by whoever reads the queue.
Subscriptions and event readers each have one.
"""

from __future__ import annotations

__all__ = ["Mailbox"]

from collections import deque
from copy import copy
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Items for one reader (or several that share them)."""

    __slots__ = ("_capacity", "_closed", "_ended", "_error", "_items", "_readers", "displaced", "put_count")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._readers = trio.lowlevel.ParkingLot()
        self._closed = self._ended = False
        self._error: Exception | None = None
        self.displaced = 0
        self.put_count = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item; at capacity the oldest makes room for it."""
        if self._closed or self._ended:
            return
        items = self._items
        if len(items) >= self._capacity:
            items.popleft()
            self.displaced += 1
        items.append(item)
        self.put_count += 1
        if self._readers:
            self._readers.unpark()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come: after what is here readers get ``trio.EndOfChannel``, or ``error``."""
        if not self._ended:
            self._ended, self._error = True, error
            self._readers.unpark_all()

    def close(self) -> None:
        """The reading end is done: drop what is here; further reads raise ``trio.ClosedResourceError``."""
        self._closed = True
        self._items.clear()
        self._readers.unpark_all()

    def get_nowait(self) -> T:
        """Take the oldest item. Raises ``trio.WouldBlock``, or what ``get`` raises."""
        if self._items:
            return self._items.popleft()
        if self._closed:
            raise trio.ClosedResourceError("this reader was closed")
        if self._ended:
            raise trio.EndOfChannel if self._error is None else copy(self._error)  # to each reader its own traceback
        raise trio.WouldBlock

    async def get(self) -> T:
        """Take the oldest item, waiting for one. A cancelled call takes nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_idle():
            while self._is_idle():
                await self._readers.park()
            return self.get_nowait()
        try:
            return self.get_nowait()
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _is_idle(self) -> bool:
        return not self._items and not self._closed and not self._ended
