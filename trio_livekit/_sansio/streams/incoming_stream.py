"""One stream that somebody sends: chunks in order, lengths that add up, and an end that is one of the two kinds.

It is read to the end that its sender meant, or reading it raises ``StreamError`` after whatever good came before: there
is no third way. Chunks are kept as they come, compressed or not, and are only looked into when they are read, in steps.
Each knows the size of the packet that brought it: that much of the connection's window stays closed until it is read,
so that a reader that is slow slows its sender down.
"""

from __future__ import annotations

__all__ = ["IDLE_S", "IncomingStream", "Limits"]

import codecs
import math
from collections import deque
from copy import copy
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from ...errors import DecodeError, StreamError, StreamErrorReason
from ..neglect import NOT_READ_S
from ..packets.messages import Compression
from .deflate import Inflater

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..packets.messages import StreamChunk, StreamHeader

IDLE_S = 60.0
"""How long nothing may come of a stream whose reader has read all there was."""

Reason = StreamErrorReason


class Limits(NamedTuple):
    """What a reader puts up with."""

    inflated_bytes: int = 16 << 20
    idle_s: float = IDLE_S
    not_read_s: float = NOT_READ_S


class Owner(Protocol):
    """Who keeps count of all streams."""

    def hold(self, stream: IncomingStream, change: int) -> None:
        """A stream has so many more unread bytes, or less."""

    def forget(self, stream: IncomingStream) -> None:
        """The stream is over, or nobody wants it."""


class _Piece:
    __slots__ = ("content", "index", "size", "version")

    def __init__(self, index: int, version: int, content: bytes, size: int) -> None:
        self.index = index
        self.version = version
        self.content = content
        self.size = size  # of the packets that brought it


class IncomingStream:
    """One stream. It is fed by an ``Incoming``, and read with either ``read`` or ``read_text``."""

    __slots__ = (
        "_content_bytes",
        "_decoder",
        "_fault",
        "_inflater",
        "_is_over",
        "_next_index",
        "_owner",
        "_unread",
        "header",
        "is_encrypted",
        "left_at",
        "limits",
        "reads",
        "released",
        "sender_identity",
        "touched_at",
        "trailer_attributes",
        "unread",
        "wake",
        "wire_bytes",
    )

    def __init__(
        self,
        owner: Owner,
        header: StreamHeader,
        sender_identity: str,
        limits: Limits,
        now: float,
        *,
        is_encrypted: bool,
    ) -> None:
        self._owner = owner
        self.header = header
        self.sender_identity = sender_identity
        self.is_encrypted = is_encrypted
        self.trailer_attributes: dict[str, str] = {}
        self.wire_bytes = 0
        """Bytes of content received, as they came."""
        self.unread = 0
        """Bytes of packets whose content has not been read."""
        self.reads = 0
        """How many of them have been."""
        self.released = 0
        """Bytes of packets whose content has been read since the last ``take_released``."""
        self.touched_at = now
        """When last something was received or read."""
        self.left_at = math.inf
        """When the sender was seen to leave, if it was."""
        self.wake: Callable[[], None] = _nothing
        """Called when there may be something to read."""
        self.limits = limits
        self._unread: deque[_Piece] = deque()
        self._next_index = 0
        self._is_over = False
        self._fault: Exception | None = None
        self._inflater = Inflater() if header.compression is Compression.DEFLATE_RAW else None
        self._content_bytes = 0  # that have been read
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    @property
    def patience_s(self) -> float:
        """How long it may go unread while it holds up the connection."""
        return self.limits.not_read_s

    # --- for the reader -----------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether everything that will come has come, be it to a good end or a bad one."""
        return self._is_over

    @property
    def content_bytes(self) -> int:
        """Bytes of content received so far; where they came compressed, read so far."""
        return self.wire_bytes if self._inflater is None else self._content_bytes

    def read(self, now: float) -> bytes | None:
        """The next part of the content, of bounded size; ``b""`` at the end, ``None`` if more has yet to come.

        Raises ``StreamError`` where the stream ends badly, again and again.
        """
        content = b""
        while not content:
            inflater = self._inflater
            if inflater is not None and not inflater.is_hungry:
                content = self._inflate(inflater)
            elif self._unread:
                piece = self._unread.popleft()
                self.touched_at = now
                self.reads += 1
                self._release(piece.size)
                if inflater is None:
                    content = piece.content
                else:
                    self._feed(inflater, piece.content)
            elif not self._is_over:
                return None
            else:
                self._check_end()
                return b""
        return content

    def read_text(self, now: float) -> str | None:
        """As ``read``, for text: whole characters, ``""`` at the end. Raises ``StreamError``."""
        while True:
            content = self.read(now)
            if content is None:
                return None
            try:
                text = self._decoder.decode(content, final=not content)
            except UnicodeDecodeError:
                self._fail_reading(Reason.DECODE_FAILED, "the text is not UTF-8")
            if text or not content:
                return text

    def discard(self) -> None:
        """Nobody will read it: forget what is here, and take no more."""
        self._is_over = True
        self._drop_unread()
        self._owner.forget(self)

    def take_released(self) -> int:
        """The bytes of packets that need not be held any more, once."""
        released, self.released = self.released, 0
        return released

    # --- for what comes in --------------------------------------------------------------------------------------------

    def put_inline(self, content: bytes, size: int) -> None:
        """The header has brought all there is."""
        self._put(_Piece(0, 0, content, size))
        self.finish({})

    def put(self, chunk: StreamChunk, size: int) -> bool:
        """A chunk; whether it is kept."""
        index = chunk.chunk_index
        if index < self._next_index:
            return self._replace(chunk, size)
        if index > self._next_index:
            self.fail(Reason.CHUNK_MISSING, f"chunk {self._next_index} is missing; chunk {index} came in its place")
            return False
        self._next_index += 1
        total = self.header.total_length
        if self._inflater is None and total is not None and self.wire_bytes + len(chunk.content) > total:
            self.fail(Reason.TOO_LONG, f"it is more than the {total} bytes that were announced")
            return False
        self._put(_Piece(index, chunk.version, chunk.content, size))
        return True

    def finish(self, attributes: dict[str, str]) -> None:
        """The sender says that this was all."""
        self.trailer_attributes = attributes
        total = self.header.total_length
        if self._inflater is None and total is not None and self.wire_bytes != total:
            kind = Reason.INCOMPLETE if self.wire_bytes < total else Reason.TOO_LONG
            self.fail(kind, f"it ended after {self.wire_bytes} of {total} bytes")
        else:
            self._end()

    def fail(self, reason: StreamErrorReason, text: str, *, sender_reason: str = "") -> None:
        """The stream ends here, and badly. What is unread stays, unless nobody reads it."""
        if self._is_over:
            return
        self._set_fault(reason, text, sender_reason)
        self._end()

    def on_over(self, error: Exception) -> None:
        """Nothing will come any more, because of ``error``."""
        self._fault = error
        self._end()

    def give_up_unread(self, text: str) -> None:
        """The stream ends here, whether or not its sender is done with it, and what is unread is gone."""
        self._set_fault(Reason.NOT_READ, text)
        self._inflater = None
        self.discard()
        self.wake()

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _put(self, piece: _Piece) -> None:
        self.wire_bytes += len(piece.content)
        self._unread.append(piece)
        self._owner.hold(self, piece.size)

    def _replace(self, chunk: StreamChunk, size: int) -> bool:
        """A chunk that came already: a higher version takes its place, as long as nobody has read the old one."""
        for piece in self._unread:
            if piece.index == chunk.chunk_index and piece.version < chunk.version and self._inflater is None:
                self.wire_bytes += len(chunk.content) - len(piece.content)
                piece.version, piece.content = chunk.version, chunk.content
                piece.size += size
                self._owner.hold(self, size)
                return True
        return False

    def _feed(self, inflater: Inflater, content: bytes) -> None:
        try:
            inflater.feed(content)
        except DecodeError as exc:
            self._fail_reading(Reason.DECODE_FAILED, str(exc))

    def _inflate(self, inflater: Inflater) -> bytes:
        try:
            content = inflater.step()
        except DecodeError as exc:
            self._fail_reading(Reason.DECODE_FAILED, str(exc))
        self._content_bytes += len(content)
        total, limit = self.header.total_length, self.limits.inflated_bytes
        if total is not None and self._content_bytes > total:
            self._fail_reading(Reason.TOO_LONG, f"it is more than the {total} bytes that were announced")
        if self._content_bytes > limit:
            self._fail_reading(
                Reason.TOO_LARGE, f"decompressed, it is more than the {limit} bytes that the reader allows"
            )
        return content

    def _check_end(self) -> None:
        """Everything has been read: is it all there was? Raises ``StreamError``."""
        total = self.header.total_length
        if self._fault is None and self._inflater is not None:
            if not self._inflater.is_finished:
                self._fail_reading(Reason.INCOMPLETE, "its compressed data stops in the middle")
            if total is not None and self._content_bytes != total:
                self._fail_reading(Reason.INCOMPLETE, f"it ended after {self._content_bytes} of {total} bytes")
        if self._fault is not None:
            raise self._error()

    def _fail_reading(self, reason: StreamErrorReason, text: str) -> NoReturn:
        """What was read is wrong: nothing that follows can be right."""
        self._set_fault(reason, text)
        self._inflater = None
        self.discard()
        raise self._error() from None

    def _error(self) -> Exception:
        assert self._fault is not None
        return copy(self._fault)  # what we keep must not keep the frames of the application

    def _set_fault(self, reason: StreamErrorReason, text: str, sender_reason: str = "") -> None:
        sender = f" of {self.sender_identity!r}" if self.sender_identity else ""
        text = f"the stream {self.header.stream_id!r}{sender} on topic {self.header.topic!r}: {text}"
        self._fault = StreamError(reason, text, stream_id=self.header.stream_id, sender_reason=sender_reason)

    def _release(self, size: int) -> None:
        self.released += size
        self._owner.hold(self, -size)

    def _drop_unread(self) -> None:
        self._unread.clear()
        self._release(self.unread)

    def _end(self) -> None:
        self._is_over = True
        self._owner.forget(self)
        self.wake()


def _nothing() -> None:
    pass
