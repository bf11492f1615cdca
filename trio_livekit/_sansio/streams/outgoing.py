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
        """Bytes of content sent so far."""
        self._next_index = 0

    def cut(self, content: bytes | memoryview) -> Iterator[bytes]:
        """Some more content, in pieces of the size of a chunk.

        Raises:
            StreamError: it would be more than the header announced (``TOO_LONG``).
        """
        total = self._total_bytes
        if total is not None and self.content_bytes + len(content) > total:
            text = f"{len(content)} more bytes after {self.content_bytes} are over the {total} that were announced"
            raise self._error(StreamErrorReason.TOO_LONG, text)
        return split_text(bytes(content)) if self._is_text else split_bytes(content)

    def chunk(self, piece: bytes) -> StreamChunk:
        """The next chunk. It counts when it has been sent."""
        return StreamChunk(self.header.stream_id, self._next_index, piece)

    def on_sent(self, chunk: StreamChunk) -> None:
        """A chunk was sent."""
        self._next_index += 1
        self.content_bytes += len(chunk.content)

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

    def _error(self, reason: StreamErrorReason, text: str) -> StreamError:
        return StreamError(reason, text, stream_id=self.header.stream_id)
