"""Streams that others send: chunks in order, lengths that add up, and an end that is one of the two kinds.

A stream is known by its sender and its id. It is either read to the end that its sender meant, or reading it raises
``StreamError`` after whatever good came before: there is no third way. Chunks are kept as they come, compressed or not,
and are only looked into when they are read, in steps. Each knows the size of the packet that brought it: that much of
the connection's window stays closed until it is read, so that a reader that is slow slows its sender down.

What the peer may make us keep:

- 256 streams open at a time from one sender; more are refused;
- unread chunks up to the connection's window, for all streams together. If they fill half of it, and nobody has read
  from a stream for a minute, that stream is given up;
- a stream of which nothing comes for a minute is given up, and so is that of a sender who has left, when nothing more
  of it was on its way;
- compressed content up to a limit that the reader sets.
"""

from __future__ import annotations

__all__ = ["IDLE_S", "LEFT_GRACE_S", "MAX_OPEN_PER_SENDER", "NOT_READ_S", "Incoming", "IncomingStream", "Limits"]

import codecs
import math
from collections import deque
from copy import copy
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ...errors import DecodeError, StreamError, StreamErrorReason
from ..packets.messages import Compression
from .deflate import Inflater

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..packets.messages import StreamChunk, StreamHeader, StreamTrailer

MAX_OPEN_PER_SENDER = 256

IDLE_S = 60.0
"""How long nothing may come of a stream whose reader has read all there was."""

NOT_READ_S = 60.0
"""How long a stream may go unread while it holds up the connection."""

LEFT_GRACE_S = 2.0
"""How long after its sender has left, or after its last packet since, a stream may still be completed: signalling and
data come on different ways."""

CROWDED_BYTES = 2 << 20
"""Unread bytes that hold up the connection: half of its window."""

_CHECK_S = 0.5
"""How often the clocks are looked at. Deadlines are kept to within this, and cost nothing per packet."""

Reason = StreamErrorReason


class Limits(NamedTuple):
    """What a reader puts up with."""

    inflated_bytes: int = 16 << 20
    idle_s: float = IDLE_S


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
        "released",
        "sender_identity",
        "touched_at",
        "trailer_attributes",
        "unread_bytes",
        "wake",
        "wire_bytes",
    )

    def __init__(
        self,
        owner: Incoming,
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
        self.unread_bytes = 0
        """Bytes of packets whose content has not been read."""
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
        self._release(self.unread_bytes)

    def _end(self) -> None:
        self._is_over = True
        self._owner.forget(self)
        self.wake()


class _Sender:
    __slots__ = ("sid", "streams")

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.streams: dict[str, IncomingStream] = {}  # by id


class Incoming:
    """All the streams that are being received.

    Whoever feeds it tells with each packet who sent it, under which SID, and how many bytes it was.
    """

    def __init__(self) -> None:
        self._senders: dict[str, _Sender] = {}  # those with open streams, by identity
        self._holding: dict[IncomingStream, None] = {}  # those with unread packets, open or over
        self._check_at: float | None = None
        self.held_bytes = 0
        """Bytes of packets that nobody has read yet."""
        self.refused = 0
        """Streams that were not let in: too many of one sender, or an id that is in use."""
        self.ignored = 0
        """Chunks and trailers that belong to no stream, and chunks that came twice."""

    @property
    def open_count(self) -> int:
        """How many streams are open."""
        return sum(len(sender.streams) for sender in self._senders.values())

    def on_header(
        self,
        header: StreamHeader,
        identity: str,
        sid: str,
        size: int,
        limits: Limits,
        now: float,
        *,
        is_encrypted: bool = False,
    ) -> IncomingStream | None:
        """A stream begins; ``None`` if it is refused. It holds ``size`` bytes if its content came with the header."""
        sender = self._sender(identity, sid) or _Sender(sid)
        if header.stream_id in sender.streams or len(sender.streams) >= MAX_OPEN_PER_SENDER:
            self.refused += 1
            return None
        stream = IncomingStream(self, header, identity, limits, now, is_encrypted=is_encrypted)
        if header.inline_content is None:
            sender.streams[header.stream_id] = stream
            self._senders[identity] = sender
        else:
            stream.put_inline(header.inline_content, size)
        if self._check_at is None:
            self._check_at = now + _CHECK_S
        return stream

    def on_chunk(
        self, chunk: StreamChunk, identity: str, sid: str, size: int, now: float, *, is_encrypted: bool = False
    ) -> bool:
        """A chunk of a stream; whether its bytes are held until it is read."""
        stream = self._find(chunk.stream_id, identity, sid, is_encrypted)
        if stream is None:
            return False
        stream.touched_at = now
        held = stream.put(chunk, size)
        if held:
            stream.wake()
        elif not stream.is_over:
            self.ignored += 1
        return held

    def on_trailer(
        self, trailer: StreamTrailer, identity: str, sid: str, now: float, *, is_encrypted: bool = False
    ) -> None:
        """The end of a stream, good or bad."""
        stream = self._find(trailer.stream_id, identity, sid, is_encrypted)
        if stream is None:
            return
        stream.touched_at = now
        if trailer.reason:
            text = f"its sender gave it up: {trailer.reason}"
            stream.fail(Reason.ABORTED, text, sender_reason=trailer.reason)
        else:
            stream.finish(trailer.attributes)

    def on_sender_left(self, identity: str, sid: str, now: float) -> None:
        """A participant is gone; what is still on its way from it may come."""
        sender = self._senders.get(identity)
        if sender is not None and sender.sid in ("", sid):
            for stream in sender.streams.values():
                stream.left_at = min(stream.left_at, now)

    def on_session_lost(self) -> None:
        """This client begins another session, in which nothing of this one goes on."""
        for stream in self._open():
            stream.fail(Reason.SESSION_LOST, "the connection was lost, and the room had to be joined anew")

    def on_over(self, error: Exception) -> None:
        """Nothing will come any more: what is not complete ends with ``error``."""
        for stream in self._open():
            stream.on_over(error)

    # --- for the streams ----------------------------------------------------------------------------------------------

    def hold(self, stream: IncomingStream, change: int) -> None:
        """A stream has so many more unread bytes, or less."""
        self.held_bytes += change
        stream.unread_bytes += change
        if stream.unread_bytes:
            self._holding[stream] = None
        else:
            self._holding.pop(stream, None)

    def forget(self, stream: IncomingStream) -> None:
        """The stream is over, or nobody wants it."""
        sender = self._senders.get(stream.sender_identity)
        if sender is not None and sender.streams.get(stream.header.stream_id) is stream:
            del sender.streams[stream.header.stream_id]
            if not sender.streams:
                del self._senders[stream.sender_identity]

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` is due."""
        return self._check_at

    def handle_timeout(self, now: float) -> None:
        """Give up what has waited for too long."""
        if self._check_at is None or now < self._check_at:
            return
        if self.held_bytes >= CROWDED_BYTES:
            self._check_unread(now)
        else:
            self._check_quiet(now)
        self._check_at = now + _CHECK_S if self._senders or self._holding else None

    def _check_unread(self, now: float) -> None:
        """Nothing may be coming because the window is closed: the fault is with those who do not read."""
        for stream in list(self._holding):
            if now - stream.touched_at >= NOT_READ_S:
                stream.give_up_unread(f"nobody read it for {NOT_READ_S:g} s, while it held up the connection")
        for stream in self._open():
            if stream not in self._holding:
                stream.touched_at = now

    def _check_quiet(self, now: float) -> None:
        for stream in self._open():
            quiet_s = now - stream.touched_at
            if now - max(stream.left_at, stream.touched_at) >= LEFT_GRACE_S:
                stream.fail(Reason.SENDER_LEFT, "its sender left the room")
            elif quiet_s >= stream.limits.idle_s and stream not in self._holding:
                stream.fail(Reason.IDLE, f"nothing came of it for {stream.limits.idle_s:g} s")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _find(self, stream_id: str, identity: str, sid: str, is_encrypted: bool) -> IncomingStream | None:
        sender = self._sender(identity, sid)
        stream = None if sender is None else sender.streams.get(stream_id)
        if stream is None:
            self.ignored += 1
        elif stream.is_encrypted is not is_encrypted:
            stream.fail(Reason.ENCRYPTION_MISMATCH, "some of it is encrypted end to end, and some is not")
            return None
        return stream

    def _sender(self, identity: str, sid: str) -> _Sender | None:
        """The sender's open streams. If it has come back as another participant, those it had are over."""
        sender = self._senders.get(identity)
        if sender is None or not sid or not sender.sid or sender.sid == sid:
            return sender
        for stream in list(sender.streams.values()):
            stream.fail(Reason.SENDER_LEFT, "its sender left the room, and came back")
        return None

    def _open(self) -> list[IncomingStream]:
        return [stream for sender in self._senders.values() for stream in sender.streams.values()]


def _nothing() -> None:
    pass
