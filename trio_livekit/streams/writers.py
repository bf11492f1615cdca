"""The sending ends of streams."""

from __future__ import annotations

__all__ = ["ByteStreamWriter", "TextStreamWriter"]

from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from .._sansio.streams.info import ByteStreamInfo, StreamInfo, TextStreamInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._session.stream_writers import Writer

_Info = TypeVar("_Info", bound=StreamInfo)


class _Writer(trio.abc.AsyncResource, Generic[_Info]):
    """What writers of texts and of bytes have in common."""

    def __init__(self, writer: Writer, info: _Info) -> None:
        self._writer = writer
        self._info = info

    @property
    def info(self) -> _Info:
        """What the readers are told of the stream."""
        return self._info

    @property
    def sent_bytes(self) -> int:
        """Bytes of content, UTF-8 where it is text, that the connection has taken."""
        return self._writer.sent_bytes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._info.topic!r}, {self.sent_bytes} bytes sent>"

    async def aclose(self, attributes: Mapping[str, str] | None = None) -> None:
        """End the stream well before its block ends, with more attributes if any; waits until the server has it all.

        Doing it twice is quiet. If it is cancelled before the end could be sent, the stream ends badly with its block.

        Raises:
            StreamError: it is less than ``total_bytes``, or the server did not say that it has all of it.
            PublishDataError: this participant may not send data any more.
            trio.ClosedResourceError: the stream cannot end well any more: its block is being cancelled, and says why.
        """
        await self._writer.finish(dict(attributes or {}))

    async def abort(self, reason: str) -> None:
        """End the stream badly: its readers get ``StreamError`` with this reason. Quiet if it has ended."""
        await trio.lowlevel.checkpoint()
        await self._writer.abort(reason)


class TextStreamWriter(_Writer[TextStreamInfo], trio.abc.SendChannel[str]):
    """Sends a text piece by piece. Comes from ``room.open_text_stream()``."""

    async def write(self, text: str) -> None:
        """Send some more text; the readers get it at once. Waits while the connection does not take it.

        If it is cancelled, text of up to 15,000 bytes was not sent, and writing can go on. Of a longer text a part may
        have been sent, and then the stream can only end badly.

        Raises:
            StreamError: it is more than ``total_bytes``, or an earlier write was cancelled halfway.
            PublishDataError: this participant may not send data any more.
            trio.ClosedResourceError: the stream has ended; if not by us, its block is being cancelled and says why.
            trio.BusyResourceError: another task is writing.
        """
        if not isinstance(text, str):
            raise TypeError(f"a text is a str, not {type(text).__name__}")
        await self._writer.write(text.encode())

    async def send(self, value: str) -> None:
        """The same as ``write``, as ``trio.abc.SendChannel`` has it."""
        await self.write(value)


class ByteStreamWriter(_Writer[ByteStreamInfo], trio.abc.SendStream):
    """Sends bytes part by part. Comes from ``room.open_byte_stream()``; a ``trio.abc.SendStream``.

    Where other streams raise ``trio.BrokenResourceError`` this one raises ``StreamError``, from its block.
    """

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send some more bytes. Waits while the connection does not take them.

        If it is cancelled, up to 15,000 bytes were not sent, and sending can go on. Of more a part may have been sent,
        and then the stream can only end badly.

        Raises:
            StreamError: they are more than ``total_bytes``, or an earlier call was cancelled halfway.
            PublishDataError: this participant may not send data any more.
            trio.ClosedResourceError: the stream has ended; if not by us, its block is being cancelled and says why.
            trio.BusyResourceError: another task is sending.
        """
        await self._writer.write(memoryview(data).cast("B"))

    async def wait_send_all_might_not_block(self) -> None:
        """Raises what ``send_all`` raises; whether that will wait is not known beforehand."""
        await trio.lowlevel.checkpoint()
        self._writer.check_open()
