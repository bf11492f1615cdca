"""The receiving ends of streams, one by one and as they come."""

from __future__ import annotations

__all__ = ["ByteStreamReader", "ByteStreams", "TextStreamReader", "TextStreams"]

from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.streams.info import ByteStreamInfo, TextStreamInfo
    from .._session.stream_readers import Listener, Reader

MAX_READ_ALL_BYTES = 16 << 20

_OneReader = TypeVar("_OneReader", covariant=True)


class _Reader(trio.abc.AsyncResource):
    """What readers of texts and of bytes have in common."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def received_bytes(self) -> int:
        """Bytes of content so far, UTF-8 where it is text: received, or if it comes compressed, read."""
        return self._reader.received_bytes

    async def aclose(self) -> None:
        """Read no more: the rest is dropped as it comes."""
        self._reader.close()
        await trio.lowlevel.checkpoint()


class TextStreamReader(_Reader, trio.abc.ReceiveChannel[str]):
    """One text that somebody sends. Comes from ``room.text_streams()``.

    Read it piece by piece with ``async for``, or as a whole with ``read_all``. It is closed with the block of the
    listener that it came from, or with one of its own: ``async with reader``.
    """

    @property
    def info(self) -> TextStreamInfo:
        """What its sender says of it. Attributes that come with the end are added then."""
        return self._reader.text_info

    def __repr__(self) -> str:
        return f"<TextStreamReader on {self.info.topic!r} from {self.info.sender_identity!r}>"

    async def receive(self) -> str:
        """The next piece: whole characters, as a rule what was written at once. If cancelled, nothing is lost.

        Raises:
            trio.EndOfChannel: that was all of it.
            StreamError: the rest will never come; its ``reason`` says why. So will each call after it.
            trio.ClosedResourceError: the reader was closed, or its listener's block has ended.
            RoomDisconnected: the room was lost before the text was complete.
        """
        text = await self._reader.read_text()
        if not text:
            raise trio.EndOfChannel
        return text

    async def read_all(self, max_bytes: int = MAX_READ_ALL_BYTES) -> str:
        """All of the rest. If cancelled, what was read by then is lost.

        Raises as ``receive`` does, and ``StreamError`` (``TOO_LARGE``) if it is more than ``max_bytes``.
        """
        return await self._reader.read_all_text(max_bytes)


class ByteStreamReader(_Reader, trio.abc.ReceiveStream):
    """Bytes that somebody sends. Comes from ``room.byte_streams()``; a ``trio.abc.ReceiveStream``.

    Read them part by part with ``async for`` or ``receive_some``, or as a whole with ``read_all``. It is closed with
    the block of the listener that it came from, or with one of its own: ``async with reader``.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self._rest = b""

    @property
    def info(self) -> ByteStreamInfo:
        """What their sender says of them. Attributes that come with the end are added then."""
        return self._reader.byte_info

    def __repr__(self) -> str:
        return f"<ByteStreamReader on {self.info.topic!r} from {self.info.sender_identity!r}: {self.info.name!r}>"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next part, of at most ``max_bytes``; ``b""`` at the end. If cancelled, nothing is lost.

        Raises:
            StreamError: the rest will never come; its ``reason`` says why. So will each call after it.
            trio.ClosedResourceError: the reader was closed, or its listener's block has ended.
            RoomDisconnected: the room was lost before the stream was complete.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes is a number of bytes, at least 1")
        part = self._rest
        if part:
            await trio.lowlevel.checkpoint()
            part = self._rest
            self._reader.check_open()
        else:
            part = await self._reader.read()
        size = len(part) if max_bytes is None else max_bytes
        self._rest = part[size:]
        return part[:size]

    async def read_all(self, max_bytes: int = MAX_READ_ALL_BYTES) -> bytes:
        """All of the rest. If cancelled, what was read by then is lost.

        Raises as ``receive_some`` does, and ``StreamError`` (``TOO_LARGE``) if it is more than ``max_bytes``.
        """
        rest, self._rest = self._rest, b""
        return rest + await self._reader.read_all(max_bytes - len(rest))


class _Streams(trio.abc.ReceiveChannel[_OneReader]):
    """The streams on a topic, as their readers."""

    def __init__(self, listener: Listener, open_reader: Callable[[Reader], _OneReader]) -> None:
        self._listener = listener
        self._open_reader = open_reader

    async def receive(self) -> _OneReader:
        """A reader for the next stream, as soon as it begins.

        Raises ``trio.EndOfChannel`` when the room was left, ``RoomDisconnected`` when it was lost, and
        ``trio.ClosedResourceError`` after ``aclose``.
        """
        return self._open_reader(await self._listener.accept())

    @property
    def refused_count(self) -> int:
        """Streams that were dropped because 4096 others waited to be received."""
        return self._listener.refused

    async def aclose(self) -> None:
        """Stop listening before the block ends; the readers that came of it are closed."""
        self._listener.close()
        await trio.lowlevel.checkpoint()


class TextStreams(_Streams[TextStreamReader]):
    """The texts on a topic, in the order in which they begin. Comes from ``room.text_streams()``."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener, TextStreamReader)


class ByteStreams(_Streams[ByteStreamReader]):
    """The byte streams on a topic, in the order in which they begin. Comes from ``room.byte_streams()``."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener, ByteStreamReader)
