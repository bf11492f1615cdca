"""Text and byte streams: content of any size or length, in order, to everyone in the room or to some.

A stream is complete, or it is an error: a reader gets every byte that was sent, or ``StreamError`` where one is
missing, never a silent end. Writers and readers are blocks, and each side keeps the other's pace: a reader that is slow
fills the connection's window, and holds up the server.

``async with room.open_text_stream("chat") as writer`` sends text piece by piece, and ``room.open_byte_stream()`` bytes;
``room.send_text``, ``room.send_bytes`` and ``room.send_file`` send what is there already. ``async with
room.text_streams("chat") as streams`` and ``room.byte_streams()`` yield a reader for each stream of a topic.
"""

from __future__ import annotations

__all__ = [
    "ByteStreamInfo",
    "ByteStreamReader",
    "ByteStreamWriter",
    "ByteStreams",
    "StreamProgress",
    "StreamingRoom",
    "TextOperation",
    "TextStreamInfo",
    "TextStreamReader",
    "TextStreamWriter",
    "TextStreams",
]

import mimetypes
import os
from contextlib import asynccontextmanager, contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import trio

from ._room_part import DEFAULT_RECIPIENTS_WITHIN_S, RoomPart, names_of
from ._sansio.packets.messages import StreamHeader, TextHeader, TextOperation
from ._sansio.streams.chunking import CHUNK_BYTES
from ._sansio.streams.incoming import IDLE_S, Limits
from ._sansio.streams.info import ByteStreamInfo, TextStreamInfo, info_of
from ._session.stream_writers import settled
from .data_tracks import now_ms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from ._session.stream_readers import Listener, Reader
    from ._session.stream_writers import Writer

MAX_READ_ALL_BYTES = 16 << 20
MAX_INFLATED_TEXT_BYTES = 16 << 20
MAX_INFLATED_BYTES = 1 << 30
DEFAULT_NAME = "unknown"

_FILE_PART_BYTES = 255_000
"""How much of a file is read at once, 17 chunks: each read is a trip to another thread."""

TEXT_MIME_TYPE = "text/plain"
BYTES_MIME_TYPE = "application/octet-stream"


_OneReader = TypeVar("_OneReader", covariant=True)


class StreamProgress:
    """How far something that is being sent has come. Give one to ``send_file``, and watch it from another task.

    ``sent_bytes``, ``total_bytes`` and ``fraction`` are there to read at any time. Iterating yields ``sent_bytes``
    whenever it has changed: the latest, however slow the loop; it ends when sending has, one way or the other.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._total: int | None = None
        self._is_over = False
        self._news = trio.Event()

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
            await self._news.wait()
        return self._sent

    def _begin(self, total: int) -> None:
        self._total = (self._total or 0) + total
        self._notify()

    def _add(self, size: int) -> None:
        self._sent += size
        self._notify()

    def _end(self) -> None:
        self._is_over = True
        self._notify()

    def _notify(self) -> None:
        self._news.set()
        self._news = trio.Event()


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


# --- writing ----------------------------------------------------------------------------------------------------------


class TextStreamWriter(trio.abc.SendChannel[str]):
    """Sends a text piece by piece. Comes from ``room.open_text_stream()``."""

    def __init__(self, writer: Writer, info: TextStreamInfo) -> None:
        self._writer = writer
        self._info = info

    @property
    def info(self) -> TextStreamInfo:
        """What the readers are told of the stream."""
        return self._info

    @property
    def sent_bytes(self) -> int:
        """Bytes of UTF-8 that the connection has taken."""
        return self._writer.sent_bytes

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
        await self._writer.write(text.encode())

    async def send(self, value: str) -> None:
        """The same as ``write``, as ``trio.abc.SendChannel`` has it."""
        await self.write(value)

    async def aclose(self, attributes: Mapping[str, str] | None = None) -> None:
        """End the stream well before its block ends, with more attributes if any; waits until the server has it all.

        Doing it twice is quiet. If it is cancelled before the end could be sent, the stream ends badly with its block.
        """
        await self._writer.finish(dict(attributes or {}))

    async def abort(self, reason: str) -> None:
        """End the stream badly: its readers get ``StreamError`` with this reason. Quiet if it has ended."""
        await trio.lowlevel.checkpoint()
        await self._writer.abort(reason)


class ByteStreamWriter(trio.abc.SendStream):
    """Sends bytes part by part. Comes from ``room.open_byte_stream()``; a ``trio.abc.SendStream``.

    Where other streams raise ``trio.BrokenResourceError`` this one raises ``StreamError``, from its block.
    """

    def __init__(self, writer: Writer, info: ByteStreamInfo) -> None:
        self._writer = writer
        self._info = info

    @property
    def info(self) -> ByteStreamInfo:
        """What the readers are told of the stream."""
        return self._info

    @property
    def sent_bytes(self) -> int:
        """Bytes that the connection has taken."""
        return self._writer.sent_bytes

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

    async def aclose(self, attributes: Mapping[str, str] | None = None) -> None:
        """End the stream well before its block ends, with more attributes if any; waits until the server has it all.

        Doing it twice is quiet. If it is cancelled before the end could be sent, the stream ends badly with its block.
        """
        await self._writer.finish(dict(attributes or {}))

    async def abort(self, reason: str) -> None:
        """End the stream badly: its readers get ``StreamError`` with this reason. Quiet if it has ended."""
        await trio.lowlevel.checkpoint()
        await self._writer.abort(reason)


# --- reading ----------------------------------------------------------------------------------------------------------


class TextStreamReader(trio.abc.ReceiveChannel[str]):
    """One text that somebody sends. Comes from ``room.text_streams()``.

    Read it piece by piece with ``async for``, or as a whole with ``read_all``. It is closed with the block of the
    listener that it came from, or with one of its own: ``async with reader``.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def info(self) -> TextStreamInfo:
        """What its sender says of it. Attributes that come with the end are added then."""
        return self._reader.text_info

    @property
    def received_bytes(self) -> int:
        """Bytes of UTF-8 so far: received, or of a text that comes compressed, read."""
        return self._reader.received_bytes

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
        """All of the rest.

        Raises as ``receive`` does, and ``StreamError`` (``TOO_LARGE``) if it is more than ``max_bytes``.
        """
        return await self._reader.read_all_text(max_bytes)

    async def aclose(self) -> None:
        """Read no more: the rest is dropped as it comes."""
        self._reader.close()
        await trio.lowlevel.checkpoint()


class ByteStreamReader(trio.abc.ReceiveStream):
    """Bytes that somebody sends. Comes from ``room.byte_streams()``; a ``trio.abc.ReceiveStream``.

    Read them part by part with ``async for`` or ``receive_some``, or as a whole with ``read_all``. It is closed with
    the block of the listener that it came from, or with one of its own: ``async with reader``.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rest = b""

    @property
    def info(self) -> ByteStreamInfo:
        """What their sender says of them. Attributes that come with the end are added then."""
        return self._reader.byte_info

    @property
    def received_bytes(self) -> int:
        """Bytes so far: received, or where they come compressed, read."""
        return self._reader.received_bytes

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
        """All of the rest.

        Raises as ``receive_some`` does, and ``StreamError`` (``TOO_LARGE``) if it is more than ``max_bytes``.
        """
        rest, self._rest = self._rest, b""
        return rest + await self._reader.read_all(max_bytes - len(rest))

    async def aclose(self) -> None:
        """Read no more: the rest is dropped as it comes."""
        self._reader.close()
        await trio.lowlevel.checkpoint()


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


# --- what a room can do -----------------------------------------------------------------------------------------------


class StreamingRoom(RoomPart):
    """What ``Room`` can do with streams."""

    @asynccontextmanager
    async def open_text_stream(
        self,
        topic: str = "",
        *,
        destination_identities: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        total_bytes: int | None = None,
        reply_to: TextStreamInfo | str | None = None,
        replaces: TextStreamInfo | None = None,
        is_generated: bool = False,
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
    ) -> AsyncIterator[TextStreamWriter]:
        """Send a text piece by piece, for as long as the block lasts.

        Leaving the block normally ends the text, and waits until the server has all of it. Leaving it by an exception
        or by cancellation tells the readers that the rest will not come. If nothing can come of the stream any more,
        because this client had to join anew or everybody that it was for has left, the block is cancelled, and ends
        with ``StreamError``.

        Args:
            topic: what listeners choose by.
            destination_identities: for whom it is; nobody named is everybody.
            attributes: key and value pairs for the readers.
            total_bytes: the size in UTF-8, if it is known; then it has to be met.
            reply_to: the text that this one answers, or its ``stream_id``.
            replaces: a text of ours that this one takes the place of.
            is_generated: whether a machine writes it.
            recipients_within: seconds to wait for those named who are not in the room; ``None`` to send to whoever of
                them is there.

        Raises:
            StreamError: the stream did not come about, or could not be completed; its ``reason`` says why.
            PublishDataError: this participant may not send data, or some of those named are not in the room.
        """
        self._check_text_topic(topic)
        header, info = _text_header(
            self.local_participant.identity,
            topic=topic,
            attributes=attributes,
            total_bytes=total_bytes,
            reply_to=reply_to,
            replaces=replaces,
            is_generated=is_generated,
        )
        names = names_of(destination_identities)
        async with self._session.streams.open(header, names, within_s=recipients_within) as writer:
            yield TextStreamWriter(writer, info)

    @asynccontextmanager
    async def open_byte_stream(
        self,
        name: str = DEFAULT_NAME,
        *,
        topic: str = "",
        mime_type: str = BYTES_MIME_TYPE,
        destination_identities: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        total_bytes: int | None = None,
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
    ) -> AsyncIterator[ByteStreamWriter]:
        """Send bytes part by part, for as long as the block lasts. ``name`` and ``mime_type`` say what they are.

        Everything else is as for ``open_text_stream``.
        """
        self._check_open()
        header, info = _byte_header(
            self.local_participant.identity,
            name=name,
            topic=topic,
            mime_type=mime_type,
            attributes=attributes,
            total_bytes=total_bytes,
        )
        names = names_of(destination_identities)
        async with self._session.streams.open(header, names, within_s=recipients_within) as writer:
            yield ByteStreamWriter(writer, info)

    async def send_text(
        self,
        text: str,
        *,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        reply_to: TextStreamInfo | str | None = None,
        replaces: TextStreamInfo | None = None,
        attachments: Sequence[str | os.PathLike[str]] = (),
        is_generated: bool = False,
        compress: bool = True,
        progress: StreamProgress | None = None,
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
    ) -> TextStreamInfo:
        """Send a text, in one packet and compressed where it fits and all recipients understand that.

        Returns when the server has it: what is then to be known of it can be answered (``reply_to``) and replaced
        (``replaces``). ``attachments`` are files, which follow as byte streams on the same topic; the text names them
        in ``attached_stream_ids``, and ``progress`` is theirs. Cancelled, it may or may not have been sent. Everything
        else is as for ``open_text_stream``.
        """
        self._check_text_topic(topic)
        identity, names = self.local_participant.identity, names_of(destination_identities)
        attached = {str(uuid4()): path for path in attachments}
        content = text.encode()
        header, info = _text_header(
            identity,
            topic=topic,
            attributes=attributes,
            total_bytes=len(content),
            reply_to=reply_to,
            replaces=replaces,
            attached=tuple(attached),
            is_generated=is_generated,
        )
        await self._send_whole(header, content, names, recipients_within, inline=not attached, compress=compress)
        with _reporting(progress):
            for stream_id, path in attached.items():
                await self._send_file(path, topic, names, progress, stream_id=stream_id)
        return info

    async def send_bytes(
        self,
        data: bytes | bytearray | memoryview,
        *,
        name: str = DEFAULT_NAME,
        topic: str = "",
        mime_type: str = BYTES_MIME_TYPE,
        destination_identities: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        compress: bool = True,
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
    ) -> ByteStreamInfo:
        """Send bytes, in one packet and compressed where they fit and all recipients understand that.

        Returns when the server has them. Cancelled, they may or may not have been sent. Everything else is as for
        ``open_byte_stream``.
        """
        self._check_open()
        content = bytes(data)
        header, info = _byte_header(
            self.local_participant.identity,
            name=name,
            topic=topic,
            mime_type=mime_type,
            attributes=attributes,
            total_bytes=len(content),
        )
        names = names_of(destination_identities)
        await self._send_whole(header, content, names, recipients_within, inline=True, compress=compress)
        return info

    async def send_file(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        topic: str = "",
        mime_type: str | None = None,
        destination_identities: Sequence[str] = (),
        attributes: Mapping[str, str] | None = None,
        progress: StreamProgress | None = None,
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
    ) -> ByteStreamInfo:
        """Send a file as it is, from the disk to the connection, at the pace of the connection.

        Returns when the server has all of it. ``name`` and ``mime_type`` are the file's own where they are not given.
        Another task may watch the ``progress``. Cancelled, the readers are told that the rest will not come. Everything
        else is as for ``open_byte_stream``.

        Raises:
            OSError: the file cannot be read.
            StreamError: it became shorter while it was being sent (``INCOMPLETE``), or as for ``open_byte_stream``.
        """
        self._check_open()
        with _reporting(progress):
            return await self._send_file(
                path,
                topic,
                names_of(destination_identities),
                progress,
                name=name,
                mime_type=mime_type,
                attributes=attributes,
                within_s=recipients_within,
            )

    @asynccontextmanager
    async def text_streams(
        self,
        topic: str,
        *,
        idle_timeout: float = IDLE_S,
        max_inflated_bytes: int = MAX_INFLATED_TEXT_BYTES,
    ) -> AsyncIterator[TextStreams]:
        """Get the texts that others send on a topic, from now until the block ends.

        Within a second of joining, texts since joining are among them. A topic has one such block at a time. What is
        not read fills the connection's window of 4 MB, which everything that the server sends here shares, and holds
        the server up: so give each reader to a task that reads it, or close it. What nobody has read from for a minute,
        while it held up the connection, ends with ``StreamError`` (``NOT_READ``).

        Args:
            topic: what the senders said.
            idle_timeout: seconds in which something has to come of a stream, or it ends with ``StreamError``
                (``IDLE``); ``math.inf`` for no limit.
            max_inflated_bytes: how much a compressed stream may become, 16 MiB of text and 1 GiB of bytes unless given;
                more ends with ``StreamError`` (``TOO_LARGE``).

        Raises:
            StreamError: somebody listens to the topic already, or it is the library's own (``TOPIC_TAKEN``).
        """
        self._check_open()
        limits = Limits(max_inflated_bytes, idle_timeout)
        with self._session.streams.listen(topic, limits, text=True) as listener:
            await trio.lowlevel.checkpoint()
            yield TextStreams(listener)

    @asynccontextmanager
    async def byte_streams(
        self,
        topic: str,
        *,
        idle_timeout: float = IDLE_S,
        max_inflated_bytes: int = MAX_INFLATED_BYTES,
    ) -> AsyncIterator[ByteStreams]:
        """Get the byte streams that others send on a topic, from now until the block ends; see ``text_streams``.

        Compressed or not, they are read in parts of bounded size, so that it takes little memory to receive much.
        """
        self._check_open()
        limits = Limits(max_inflated_bytes, idle_timeout)
        with self._session.streams.listen(topic, limits, text=False) as listener:
            await trio.lowlevel.checkpoint()
            yield ByteStreams(listener)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _check_text_topic(self, topic: str) -> None:
        self._check_open()
        self._session.streams.check_topic(topic)

    async def _send_whole(
        self,
        header: StreamHeader,
        content: bytes,
        names: tuple[str, ...],
        within_s: float | None,
        *,
        inline: bool,
        compress: bool,
    ) -> None:
        streams = self._session.streams
        receipt = await streams.send(header, content, names, within_s=within_s, inline=inline, compress=compress)
        with settled(header.stream_id):
            await receipt.wait_acked()

    async def _send_file(
        self,
        path: str | os.PathLike[str],
        topic: str,
        names: tuple[str, ...],
        progress: StreamProgress | None,
        *,
        name: str | None = None,
        mime_type: str | None = None,
        attributes: Mapping[str, str] | None = None,
        within_s: float | None = None,
        stream_id: str = "",
    ) -> ByteStreamInfo:
        name = PurePath(path).name if name is None else name
        if mime_type is None:  # in a thread: it reads files of the system's
            guess, _encoding = await trio.to_thread.run_sync(mimetypes.guess_type, name)
            mime_type = guess or BYTES_MIME_TYPE
        async with await trio.open_file(path, "rb") as file:
            size = await trio.to_thread.run_sync(_size_of, file.wrapped)
            header, info = _byte_header(
                self.local_participant.identity,
                name=name,
                topic=topic,
                mime_type=mime_type,
                attributes=attributes,
                total_bytes=size,
                stream_id=stream_id,
            )
            if progress is not None:
                progress._begin(size)
            async with self._session.streams.open(header, names, within_s=within_s) as writer:
                while left := size - writer.sent_bytes:
                    part = await file.read(min(left, _FILE_PART_BYTES))
                    if not part:
                        break  # it has become shorter: the end of the block says so
                    for start in range(0, len(part), CHUNK_BYTES):
                        await writer.write(memoryview(part)[start : start + CHUNK_BYTES])
                        if progress is not None:
                            progress._add(min(CHUNK_BYTES, len(part) - start))
        return info


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


@contextmanager
def _reporting(progress: StreamProgress | None) -> Iterator[None]:
    """Whoever watches is told when it is over, however it ends."""
    try:
        yield
    finally:
        if progress is not None:
            progress._end()


def _text_header(
    identity: str,
    *,
    topic: str,
    attributes: Mapping[str, str] | None,
    total_bytes: int | None = None,
    reply_to: TextStreamInfo | str | None = None,
    replaces: TextStreamInfo | None = None,
    attached: Sequence[str] = (),
    is_generated: bool = False,
) -> tuple[StreamHeader, TextStreamInfo]:
    """The header of a text that this client sends, and what is to be known of it."""
    operation, version, stream_id = TextOperation.CREATE, 0, str(uuid4())
    if replaces is not None:
        operation, version, stream_id = TextOperation.UPDATE, replaces.version + 1, replaces.stream_id
    answered = reply_to.stream_id if isinstance(reply_to, TextStreamInfo) else reply_to or ""
    text = TextHeader(operation, version, answered, tuple(attached), is_generated)
    header = StreamHeader(
        stream_id, now_ms(), topic, TEXT_MIME_TYPE, total_bytes, attributes=dict(attributes or {}), text=text
    )
    info = info_of(header, identity, is_encrypted=False)
    assert isinstance(info, TextStreamInfo)
    return header, info


def _byte_header(
    identity: str,
    *,
    name: str,
    topic: str,
    mime_type: str,
    attributes: Mapping[str, str] | None,
    total_bytes: int | None = None,
    stream_id: str = "",
) -> tuple[StreamHeader, ByteStreamInfo]:
    """The header of a byte stream that this client sends, and what is to be known of it."""
    stream_id = stream_id or str(uuid4())
    header = StreamHeader(
        stream_id, now_ms(), topic, mime_type, total_bytes, attributes=dict(attributes or {}), name=name
    )
    info = info_of(header, identity, is_encrypted=False)
    assert isinstance(info, ByteStreamInfo)
    return header, info
