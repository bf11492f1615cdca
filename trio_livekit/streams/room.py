"""What ``Room`` can do with streams."""

from __future__ import annotations

__all__ = ["StreamingRoom"]

import mimetypes
import operator
import os
from contextlib import asynccontextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING
from uuid import uuid4

import trio

from .._room_part import DEFAULT_RECIPIENTS_WITHIN_S, RoomPart, check_seconds, names_of
from .._sansio.neglect import NOT_READ_S
from .._sansio.streams.chunking import CHUNK_BYTES
from .._sansio.streams.incoming_stream import IDLE_S, Limits
from .._session.stream_writers import settled
from .headers import BYTES_MIME_TYPE, byte_header, text_header
from .progress import reporting
from .readers import ByteStreams, TextStreams
from .writers import ByteStreamWriter, TextStreamWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import BinaryIO

    from .._sansio.packets.messages import StreamHeader
    from .._sansio.streams.info import ByteStreamInfo, TextStreamInfo
    from .progress import StreamProgress

MAX_INFLATED_TEXT_BYTES = 16 << 20
MAX_INFLATED_BYTES = 1 << 30
DEFAULT_NAME = "unknown"

_FILE_PART_BYTES = 255_000
"""How much of a file is read at once, 17 chunks: each read is a trip to another thread."""


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
            MissingKey: the room has end-to-end encryption, and there is no key to encrypt with.
            RoomDisconnected: the room was lost. ``trio.ClosedResourceError``: it was left.
        """
        self._check_text_topic(topic)
        header, info = text_header(
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
        header, info = byte_header(
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
        if not isinstance(text, str):
            raise TypeError(f"a text is a str, not {type(text).__name__}")
        content = text.encode()
        header, info = text_header(
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
        with reporting(progress):
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
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"the data of a stream are bytes, not {type(data).__name__}")
        content = bytes(data)
        header, info = byte_header(
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
        with reporting(progress):
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
        unread_timeout: float = NOT_READ_S,
        max_inflated_bytes: int = MAX_INFLATED_TEXT_BYTES,
    ) -> AsyncIterator[TextStreams]:
        """Get the texts that others send on a topic, from now until the block ends.

        Within a second of joining, texts since joining are among them. A topic has one such block at a time. What is
        not read fills the connection's window of 4 MB, which everything that the server sends here shares, and holds
        the server up: so give each reader to a task that reads it, or close it.

        Args:
            topic: what the senders said.
            idle_timeout: seconds in which something has to come of a stream, or it ends with ``StreamError``
                (``IDLE``); ``math.inf`` for no limit.
            unread_timeout: seconds for which a stream may go unread while half of the window waits to be read; then it
                ends with ``StreamError`` (``NOT_READ``), and what comes for others goes on. A warning names it before.
            max_inflated_bytes: how much a compressed stream may become, 16 MiB of text and 1 GiB of bytes unless given;
                more ends with ``StreamError`` (``TOO_LARGE``).

        Raises:
            StreamError: somebody listens to the topic already, or it is the library's own (``TOPIC_TAKEN``).
            RoomDisconnected: the room was lost. ``trio.ClosedResourceError``: it was left.
        """
        self._check_open()
        check_seconds(idle_timeout=idle_timeout, unread_timeout=unread_timeout)
        limits = Limits(operator.index(max_inflated_bytes), idle_timeout, unread_timeout)
        with self._session.streams.listen(topic, limits, text=True) as listener:
            await trio.lowlevel.checkpoint()
            yield TextStreams(listener)

    @asynccontextmanager
    async def byte_streams(
        self,
        topic: str,
        *,
        idle_timeout: float = IDLE_S,
        unread_timeout: float = NOT_READ_S,
        max_inflated_bytes: int = MAX_INFLATED_BYTES,
    ) -> AsyncIterator[ByteStreams]:
        """Get the byte streams that others send on a topic, from now until the block ends; see ``text_streams``.

        Compressed or not, they are read in parts of bounded size, so that it takes little memory to receive much.
        """
        self._check_open()
        check_seconds(idle_timeout=idle_timeout, unread_timeout=unread_timeout)
        limits = Limits(operator.index(max_inflated_bytes), idle_timeout, unread_timeout)
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
            header, info = byte_header(
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
