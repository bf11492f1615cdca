"""Cutting content into chunks, as every receiver takes them."""

from __future__ import annotations

__all__ = ["CHUNK_BYTES", "split_bytes", "split_text"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 15_000
"""Most bytes of content in one chunk, and most bytes of a header's whole packet: what the other SDKs keep to."""

_LONGEST_CHARACTER = 4
"""Bytes of UTF-8: a chunk of text may not be smaller."""


def split_bytes(data: bytes | memoryview, limit: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Pieces of at most ``limit`` bytes; none of nothing."""
    for start in range(0, len(data), limit):
        yield bytes(data[start : start + limit])


def split_text(data: bytes, limit: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Pieces of UTF-8 of at most ``limit`` bytes (at least 4), each of them whole characters; none of nothing."""
    assert limit >= _LONGEST_CHARACTER
    start, size = 0, len(data)
    while start < size:
        end = start + limit
        if end < size:
            while data[end] & 0xC0 == 0x80:  # in the middle of a character
                end -= 1
        yield data[start:end]
        start = end
