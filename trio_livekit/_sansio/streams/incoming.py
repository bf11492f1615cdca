"""All the streams that others send: which chunk belongs to which, and what may not go on.

A stream is known by its sender and its id. What the peer may make us keep:

- 256 streams open at a time from one sender; more are refused;
- unread chunks up to the connection's window, for all streams together. If they fill half of it, and nobody has read
  from a stream for a minute, or as long as its reader said, that stream is given up;
- a stream of which nothing comes for a minute is given up, and so is that of a sender who has left, when nothing more
  of it was on its way;
- compressed content up to a limit that the reader sets.
"""

from __future__ import annotations

__all__ = ["LEFT_GRACE_S", "MAX_OPEN_PER_SENDER", "Incoming"]

from typing import TYPE_CHECKING

from ...errors import StreamErrorReason
from ..neglect import CHECK_S, CROWDED_BYTES, Neglect
from .incoming_stream import IncomingStream

if TYPE_CHECKING:
    from ..packets.messages import StreamChunk, StreamHeader, StreamTrailer
    from .incoming_stream import Limits

MAX_OPEN_PER_SENDER = 256

LEFT_GRACE_S = 2.0
"""How long after its sender has left, or after its last packet since, a stream may still be completed: signalling and
data come on different ways."""

Reason = StreamErrorReason


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
        self._neglect: Neglect[IncomingStream] = Neglect()
        self._neglected: list[IncomingStream] = []
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
            self._check_at = now + CHECK_S
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

    def on_sender_joined(self, identity: str, sid: str, now: float) -> None:
        """A participant is there. If it had another SID before, that one is gone, even if nobody was told of it."""
        sender = self._senders.get(identity)
        if sender is not None and sender.sid not in ("", sid):
            self.on_sender_left(identity, sender.sid, now)

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
        stream.unread += change
        if stream.unread:
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

    def poll_neglected(self) -> list[IncomingStream]:
        """The streams that hold up the connection because nobody reads them, since the last call."""
        neglected, self._neglected = self._neglected, []
        return neglected

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` is due."""
        return self._check_at

    def handle_timeout(self, now: float) -> None:
        """Give up what has waited for too long."""
        if self._check_at is None or now < self._check_at:
            return
        told, given_up = self._neglect.check(list(self._holding), self.held_bytes, now)
        self._neglected += told
        for stream in given_up:
            stream.give_up_unread(f"nobody read it for {stream.patience_s:g} s, while it held up the connection")
        if self.held_bytes >= CROWDED_BYTES:
            self._excuse_quiet(now)
        else:
            self._check_quiet(now)
        self._check_at = now + CHECK_S if self._senders or self._holding else None

    def _excuse_quiet(self, now: float) -> None:
        """Nothing may be coming because the window is closed: the fault is with those who do not read."""
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
