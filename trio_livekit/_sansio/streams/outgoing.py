"""A stream that we send: its header, its chunks in order, and a trailer that says how it ended."""

from __future__ import annotations

__all__ = ["OutgoingStream"]

from typing import TYPE_CHECKING

from ...errors import StreamError, StreamErrorReason
from ..packets.messages import Compression, StreamChunk, StreamTrailer
from .chunking import split_bytes, split_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..packets.messages import StreamHeader


class OutgoingStream:
    """Numbers the chunks of one stream, and holds its content to what the header announced.

    Content that the header says is compressed is given in its compressed form, and is the caller's to get right.
    """

    __slots__ = ("_is_text", "_next_index", "_total_bytes", "content_bytes", "header")

    def __init__(self, header: StreamHeader) -> None:
        self.header = header
        is_plain = header.compression is Compression.NONE
        self._is_text = header.text is not None and is_plain
        self._total_bytes = header.total_length if is_plain else None
        self.content_bytes = 0
        """Bytes of content in the chunks so far."""
        self._next_index = 0

    def chunks(self, content: bytes | memoryview) -> Iterator[StreamChunk]:
        """The chunks of some more content; what is drawn from this is taken as sent.

        Raises:
            StreamError: it would be more than the header announced (``TOO_LONG``). Nothing of it counts then.
        """
        total = self._total_bytes
        if total is not None and self.content_bytes + len(content) > total:
            text = f"{len(content)} more bytes after {self.content_bytes} are over the {total} that were announced"
            raise self._error(StreamErrorReason.TOO_LONG, text)
        return self._chunks(split_text(bytes(content)) if self._is_text else split_bytes(content))

    def trailer(self, attributes: dict[str, str]) -> StreamTrailer:
        """The good end.

        Raises:
            StreamError: the content is less than the header announced (``INCOMPLETE``).
        """
        total = self._total_bytes
        if total is not None and self.content_bytes < total:
            text = f"only {self.content_bytes} of the {total} bytes that were announced were written"
            raise self._error(StreamErrorReason.INCOMPLETE, text)
        return StreamTrailer(self.header.stream_id, "", attributes)

    def abort(self, reason: str) -> StreamTrailer:
        """The bad end: readers get an error with this reason in it."""
        return StreamTrailer(self.header.stream_id, reason or "aborted")

    def _chunks(self, pieces: Iterator[bytes]) -> Iterator[StreamChunk]:
        for piece in pieces:
            chunk = StreamChunk(self.header.stream_id, self._next_index, piece)
            self._next_index += 1
            self.content_bytes += len(piece)
            yield chunk

    def _error(self, reason: StreamErrorReason, text: str) -> StreamError:
        return StreamError(reason, text, stream_id=self.header.stream_id)
