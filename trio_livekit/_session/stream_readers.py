"""Streams on their way to the application: what was received is read here, in steps and at the reader's pace."""

from __future__ import annotations

__all__ = ["Listener", "Reader"]

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import trio

from .._sansio.streams.info import ByteStreamInfo, TextStreamInfo, info_of
from ..errors import StreamError, StreamErrorReason
from .mailbox import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.streams.incoming_stream import IncomingStream, Limits

T = TypeVar("T", bytes, str)

_MAX_WAITING = 4096
"""Streams that wait to be accepted. Their content holds up the peer long before, unless they have next to none."""


class Reader:
    """One stream, in the hands of its reader.

    ``consume(size)`` is told of packets that need not be held any more, ``on_done(reader)`` once when there is nothing
    left to read.
    """

    def __init__(
        self, stream: IncomingStream, consume: Callable[[int], None], on_done: Callable[[Reader], None]
    ) -> None:
        self._stream = stream
        self._consume = consume
        self._on_done = on_done
        self._info = info_of(stream.header, stream.sender_identity, is_encrypted=stream.is_encrypted)
        self._news = trio.lowlevel.ParkingLot()
        self._is_closed = self._is_done = False
        stream.wake = self._wake

    @property
    def info(self) -> TextStreamInfo | ByteStreamInfo:
        """What the header says, and the attributes that came with the end."""
        more = self._stream.trailer_attributes
        return replace(self._info, attributes=self._info.attributes | more) if more else self._info

    @property
    def text_info(self) -> TextStreamInfo:
        """The same, of a text."""
        info = self.info
        assert isinstance(info, TextStreamInfo)
        return info

    @property
    def byte_info(self) -> ByteStreamInfo:
        """The same, of a byte stream."""
        info = self.info
        assert isinstance(info, ByteStreamInfo)
        return info

    @property
    def received_bytes(self) -> int:
        """Bytes of content so far: received, or where it comes compressed, read."""
        return self._stream.content_bytes

    async def read(self) -> bytes:
        """The next part of the content; ``b""`` at the end. Raises ``StreamError``, or what ended the room."""
        return await self._next(self._stream.read)

    async def read_text(self) -> str:
        """The same for text: whole characters, ``""`` at the end."""
        return await self._next(self._stream.read_text)

    async def read_all(self, limit: int) -> bytes:
        """All of the rest. Raises ``StreamError``, also if it is more than ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        while part := await self.read():
            size += len(part)
            self._check_size(size, limit)
            parts.append(part)
        return b"".join(parts)

    async def read_all_text(self, limit: int) -> str:
        """The same for text; the limit is in bytes of UTF-8."""
        parts: list[str] = []
        size = 0
        while part := await self.read_text():
            size += len(part.encode())
            self._check_size(size, limit)
            parts.append(part)
        return "".join(parts)

    def read_text_nowait(self) -> str | None:
        """The next part of a text; ``None`` if it has yet to come. Raises ``StreamError``."""
        return self._try(self._stream.read_text)

    def close(self) -> None:
        """Nobody reads any more; the rest of the stream is dropped as it comes."""
        if not self._is_closed:
            self._is_closed = True
            self._stream.discard()
            self._wake()
            self._done()

    # --- the rest -----------------------------------------------------------------------------------------------------

    async def _next(self, read: Callable[[float], T | None]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        has_waited = False
        try:
            while (part := self._try(read)) is None:
                has_waited = True
                await self._news.park()
            return part
        finally:
            if not has_waited:
                await trio.lowlevel.cancel_shielded_checkpoint()

    def _try(self, read: Callable[[float], T | None]) -> T | None:
        self.check_open()
        is_last = True
        try:
            part = read(trio.current_time())
            is_last = part is not None and not part
        finally:  # also after a StreamError
            self._release()
            if is_last:
                self._done()
        return part

    def check_open(self) -> None:
        """Raises ``trio.ClosedResourceError`` after ``close``."""
        if self._is_closed:
            raise trio.ClosedResourceError("the stream was closed by its reader, or with the block it was for")

    def _check_size(self, size: int, limit: int) -> None:
        if size > limit:
            self.close()
            text = f"the stream is more than the {limit} bytes that may be read at once: read it part by part"
            raise StreamError(StreamErrorReason.TOO_LARGE, text, stream_id=self._info.stream_id)

    def _release(self) -> None:
        released = self._stream.take_released()
        if released:
            self._consume(released)

    def _done(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._on_done(self)

    def _wake(self) -> None:
        self._release()  # if the stream was given up, what it held is free
        self._news.unpark_all()


class Listener:
    """The streams of one topic, for as long as somebody listens."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refused = 0
        """Streams that were dropped because too many waited to be accepted."""
        self._waiting: Mailbox[Reader] = Mailbox(_MAX_WAITING)
        self._readers: dict[Reader, None] = {}  # all that are not done, waiting or accepted

    def offer(self, stream: IncomingStream, consume: Callable[[int], None]) -> None:
        """A stream has begun."""
        reader = Reader(stream, consume, self._on_done)
        if len(self._waiting) >= _MAX_WAITING:
            self.refused += 1
            reader.close()
        else:
            self._readers[reader] = None
            self._waiting.put(reader)

    async def accept(self) -> Reader:
        """The next stream, in the order in which they began.

        Raises ``trio.EndOfChannel`` when the room was left, what ended it otherwise, and ``trio.ClosedResourceError``
        after ``close``.
        """
        return await self._waiting.get()

    def close(self) -> None:
        """Nobody listens any more, and nobody reads what has been accepted."""
        self._waiting.close()
        for reader in list(self._readers):
            reader.close()

    def on_over(self, error: Exception | None) -> None:
        """Nothing more will come."""
        self._waiting.end(error)

    def _on_done(self, reader: Reader) -> None:
        self._readers.pop(reader, None)
