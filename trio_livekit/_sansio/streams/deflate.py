"""Raw deflate (RFC 1951) in steps of a bounded size, so that neither time nor memory is the sender's to choose."""

from __future__ import annotations

__all__ = ["STEP_BYTES", "Inflater", "deflate"]

import zlib
from typing import TYPE_CHECKING

from ...errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_BYTES = 64 << 10
"""Most bytes that go into one step of deflating, or come out of one of inflating: a millisecond or two."""

_RAW = -15


def deflate(content: bytes) -> Iterator[bytes]:
    """The compressed form, a part for each step; parts may be empty."""
    compressor = zlib.compressobj(wbits=_RAW)
    view = memoryview(content)
    for start in range(0, len(view), STEP_BYTES):
        yield compressor.compress(view[start : start + STEP_BYTES])
    yield compressor.flush()


class Inflater:
    """Decompresses what it is fed, as far as it is asked to."""

    __slots__ = ("_input", "_is_full", "_zlib")

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=_RAW)
        self._input = b""
        self._is_full = False  # the last step ended because it had its fill: there may be more without more input

    @property
    def is_hungry(self) -> bool:
        """Whether nothing can come out before more is fed."""
        return not self._input and not self._is_full

    @property
    def is_finished(self) -> bool:
        """Whether the compressed form says that this was all."""
        return self._zlib.eof

    def feed(self, data: bytes) -> None:
        """Give it more, when it is hungry. Raises ``DecodeError`` for bytes beyond the end."""
        assert self.is_hungry
        if data and self._zlib.eof:
            raise DecodeError("there are bytes after the end of the compressed data")
        self._input = data

    def step(self, limit: int = STEP_BYTES) -> bytes:
        """At most ``limit`` bytes of what comes next; may be empty. Raises ``DecodeError``."""
        try:
            content = self._zlib.decompress(self._input, limit)
        except zlib.error as exc:
            raise DecodeError("the compressed data is damaged") from exc
        self._input = self._zlib.unconsumed_tail
        self._is_full = len(content) == limit and not self._zlib.eof
        if self._zlib.unused_data:
            raise DecodeError("there are bytes after the end of the compressed data")
        return content
