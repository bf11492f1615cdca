"""How far the sending of a file has come, for another task to watch."""

from __future__ import annotations

__all__ = ["StreamProgress", "reporting"]

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class StreamProgress:
    """How far something that is being sent has come. Give one to ``send_file``, and watch it from another task.

    ``sent_bytes``, ``total_bytes`` and ``fraction`` are there to read at any time. Iterating yields ``sent_bytes``
    whenever it has changed: the latest, however slow the loop; it ends when sending has, one way or the other.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._total: int | None = None
        self._is_over = False
        self._news = trio.lowlevel.ParkingLot()

    @property
    def sent_bytes(self) -> int:
        """Bytes of content that the connection has taken."""
        return self._sent

    @property
    def total_bytes(self) -> int | None:
        """How many there are to be sent; ``None`` before sending has begun."""
        return self._total

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        if not self._total:
            return 0.0 if self._total is None else 1.0
        return self._sent / self._total

    @property
    def is_over(self) -> bool:
        """Whether sending has ended, well or badly."""
        return self._is_over

    def __aiter__(self) -> AsyncIterator[int]:
        return _Progressing(self)

    async def _next(self, seen: int | None) -> int:
        await trio.lowlevel.checkpoint()
        while self._total is None or self._sent == seen:
            if self._is_over:
                raise StopAsyncIteration
            await self._news.park()
        return self._sent

    def _begin(self, total: int) -> None:
        self._total = (self._total or 0) + total
        self._news.unpark_all()

    def _add(self, size: int) -> None:
        self._sent += size
        self._news.unpark_all()

    def _end(self) -> None:
        self._is_over = True
        self._news.unpark_all()


class _Progressing:
    """One loop over a progress."""

    def __init__(self, progress: StreamProgress) -> None:
        self._progress = progress
        self._seen: int | None = None

    def __aiter__(self) -> _Progressing:
        return self

    async def __anext__(self) -> int:
        self._seen = await self._progress._next(self._seen)
        return self._seen


@contextmanager
def reporting(progress: StreamProgress | None) -> Iterator[None]:
    """Whoever watches is told when it is over, however it ends."""
    try:
        yield
    finally:
        if progress is not None:
            progress._end()
