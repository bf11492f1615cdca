"""Records of epoch 1 that arrive too early: before the keys, or application data before the handshake is done."""

from __future__ import annotations

__all__ = ["EarlyRecords"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .record import Record

MAX_RECORDS = 16
MAX_BYTES = 16 * 1024


class EarlyRecords:
    """A short queue. When it is full the newest is dropped, as if the network had lost it."""

    __slots__ = ("_bytes", "_records")

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._bytes = 0

    def keep(self, record: Record) -> bool:
        """Whether there was room."""
        size = len(record.data)
        if len(self._records) >= MAX_RECORDS or self._bytes + size > MAX_BYTES:
            return False
        self._records.append(record)
        self._bytes += size
        return True

    def take(self) -> list[Record]:
        """Everything, in order of arrival; the queue is empty afterwards."""
        records, self._records = self._records, []
        self._bytes = 0
        return records
