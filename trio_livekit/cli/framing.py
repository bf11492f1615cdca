r"""Bytes into frames and frames into bytes: how ``publish`` cuts its input and ``subscribe`` writes its output.

A splitter is fed chunks of any size and gives back whole frames; ``finish`` gives what is left at the end. Frames come
one by one, so that those before an error are not lost with it.

    lines             a frame per line, without its newline. A frame cannot be empty, so an empty line is sent as "\n"
    blocks            a frame per N bytes; the last one is what is left
    length-prefixed   u32 big-endian length, then the frame
"""

from __future__ import annotations

__all__ = [
    "MAX_FRAME_BYTES",
    "BlockSplitter",
    "FramingError",
    "LineSplitter",
    "PrefixSplitter",
    "Splitter",
    "encode_line",
    "encode_prefixed",
    "encode_raw",
]

import struct
from typing import TYPE_CHECKING, Protocol

from .exits import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_FRAME_BYTES = 2_046_000
"""A little less than 128 packets of 16000 bytes carry, whatever extensions they have."""

_LENGTH = struct.Struct(">I")


class FramingError(CommandError):
    """The input is not framed as it was said to be."""


class Splitter(Protocol):
    """Chunks in, frames out."""

    def feed(self, chunk: bytes) -> Iterable[bytes]:
        """The frames that ``chunk`` completes; take all of them. Raises ``FramingError``."""

    def finish(self) -> list[bytes]:
        """The last frame, if the input ended within one. Raises ``FramingError``."""


class LineSplitter:
    """Frames are lines."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that is not complete
        self._size = 0
        self._lines = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that ``chunk`` completes."""
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            self._pieces.append(line)
            yield self._take() or b"\n"
        self._pieces.append(rest)
        self._size += len(rest)
        self._check(self._size)

    def finish(self) -> list[bytes]:
        """A last line without a newline."""
        line = self._take()
        return [line] if line else []

    def _take(self) -> bytes:
        line = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._check(len(line))
        self._lines += 1
        return line

    def _check(self, size: int) -> None:
        if size > MAX_FRAME_BYTES:
            raise FramingError(
                f"line {self._lines + 1} is longer than a frame can be ({MAX_FRAME_BYTES} bytes);"
                " is this binary? Then try --blocks or --length-prefixed"
            )


class BlockSplitter:
    """Frames are blocks of one size."""

    def __init__(self, block_bytes: int) -> None:
        if not 0 < block_bytes <= MAX_FRAME_BYTES:
            raise ValueError(f"a block is 1 to {MAX_FRAME_BYTES} bytes")
        self._block_bytes = block_bytes
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The blocks that ``chunk`` completes."""
        data = self._rest + chunk
        size = self._block_bytes
        end = len(data) - len(data) % size
        self._rest = data[end:]
        return [data[start : start + size] for start in range(0, end, size)]

    def finish(self) -> list[bytes]:
        """A last, shorter block."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class PrefixSplitter:
    """Frames bring their length."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._frames = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The frames that ``chunk`` completes."""
        buffer = self._buffer
        buffer += chunk
        offset = 0
        while len(buffer) - offset >= _LENGTH.size:
            end = offset + _LENGTH.size + self._length(offset)
            if end > len(buffer):
                break
            self._frames += 1
            yield bytes(buffer[offset + _LENGTH.size : end])
            offset = end
        del buffer[:offset]

    def finish(self) -> list[bytes]:
        """Nothing: the input has to end with a frame."""
        if self._buffer:
            raise FramingError(f"the input ends within frame {self._frames + 1}")
        return []

    def _length(self, offset: int) -> int:
        length: int = _LENGTH.unpack_from(self._buffer, offset)[0]
        if not 0 < length <= MAX_FRAME_BYTES:
            raise FramingError(
                f"frame {self._frames + 1} has the length {length}; a frame has 1 to {MAX_FRAME_BYTES} bytes"
            )
        return length


def encode_raw(frame: bytes) -> bytes:
    """The frame as it is."""
    return frame


def encode_line(frame: bytes) -> bytes:
    """The frame and a newline, unless it ends with one."""
    return frame if frame.endswith(b"\n") else frame + b"\n"


def encode_prefixed(frame: bytes) -> bytes:
    """Length and frame."""
    return _LENGTH.pack(len(frame)) + frame
