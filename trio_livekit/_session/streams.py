"""Text and byte streams: the feature that owns those that are being sent, and those that are being received.

The cores are ``_sansio.streams``. Here they meet data packets, the participants and the blocks of the application. What
is received waits, unread, in the connection's window; what is sent waits until the connection takes it.
"""

from __future__ import annotations

__all__ = ["Streams"]

import logging
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import trio

from .._sansio.packets.messages import Compression, DataPacket, StreamChunk, StreamHeader, StreamTrailer
from .._sansio.streams.chunking import CHUNK_BYTES
from .._sansio.streams.deflate import STEP_BYTES, deflate
from .._sansio.streams.forms import understand_deflate, understand_inline
from .._sansio.streams.incoming import Incoming
from .._sansio.streams.incoming_stream import Limits
from .._wire.data import encode_packet
from ..errors import LiveKitError, StreamError, StreamErrorReason
from .stream_readers import Listener, Reader
from .stream_writers import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from .._sansio.signal.messages import ParticipantInfo
    from .._sansio.signal.roster import Roster
    from .._sansio.streams.incoming_stream import IncomingStream
    from .._sansio.streams.info import TextStreamInfo
    from .packets import Packets
    from .receipts import Receipt

    TextHandler = Callable[[TextStreamInfo, str | StreamError], None]

logger = logging.getLogger(__name__)

Reason = StreamErrorReason

_EARLY_S = 1.0
"""How long after joining streams are kept for listeners that are not there yet."""

_MAX_EARLY = 256
"""How many of them; their content is bounded by the window."""


class _Taker(NamedTuple):
    handler: TextHandler
    limit_bytes: int
    on_begun: Callable[[TextStreamInfo], None]

    def hand_over(self, reader: Reader, text: str) -> None:
        """A text is complete."""
        info = reader.text_info
        if len(text.encode()) > self.limit_bytes:
            message = f"the text is more than the {self.limit_bytes} bytes that are taken"
            self.handler(info, StreamError(Reason.TOO_LARGE, message, stream_id=info.stream_id))
        else:
            self.handler(info, text)


class Streams:
    """The streams of a session.

    ``spawn`` starts a task that lives as long as the room at most, ``roster`` returns who is in it.
    """

    def __init__(
        self,
        packets: Packets,
        roster: Callable[[], Roster],
        spawn: Callable[..., None],
        reschedule: Callable[[float | None], None],
    ) -> None:
        self._packets = packets
        self._roster = roster
        self._spawn = spawn
        self._reschedule = reschedule
        self._incoming = Incoming()
        self._listeners: dict[tuple[bool, str], Listener] = {}  # by whether it is text, and topic
        self._takers: dict[str, _Taker] = {}  # of text, by topic
        self._writers: dict[Writer, None] = {}
        self._early: list[IncomingStream] = []
        self._early_until: float | None = None  # not yet known
        self._over: Exception | None = None
        packets.incoming.route((StreamHeader, StreamChunk, StreamTrailer), self._on_packet)
        packets.watch(self)

    # --- for the rest of this package ---------------------------------------------------------------------------------

    def take_text(
        self,
        topic: str,
        handler: TextHandler,
        *,
        limit_bytes: int,
        on_begun: Callable[[TextStreamInfo], None] = lambda _info: None,
    ) -> None:
        """Keep a topic for this package, and give its texts to ``handler(info, text)``.

        It gets each text when it is complete, in the step that received it or soon after, or the ``StreamError`` that
        came of it: ``TOO_LARGE`` for one of more than ``limit_bytes``. ``on_begun`` is told when a text
        begins that does not arrive in one piece. Neither of them may raise.
        """
        self._takers[topic] = _Taker(handler, limit_bytes, on_begun)

    async def send(
        self,
        header: StreamHeader,
        content: bytes,
        recipients: Sequence[str] = (),
        *,
        within_s: float | None = None,
        inline: bool = True,
        compress: bool = True,
        on_ending: Callable[[], None] = lambda: None,
    ) -> Receipt:
        """Send all of a stream, in the shortest form that all recipients understand; nobody named means everybody.

        The receipt is that of its last packet. Unless that is the only one, it is acknowledged by then.
        ``within_s`` is how long to wait for those named to be in the room, ``None`` for not at all. ``on_ending`` is
        called when the end of a stream of several packets is about to be sent; if this is cancelled, or fails, before
        that, nobody has all of the stream.
        Raises ``StreamError``, ``PublishDataError``, or what ended the room.
        """
        names = await self._present(recipients, within_s)
        readers = self._find(names)
        if compress and understand_deflate(readers):
            header, content = await _compressed(header, content)
        if inline and understand_inline(readers):
            whole = replace(header, inline_content=content)
            if self._size(whole, names) <= CHUNK_BYTES:
                return await self._packets.send_reliable(whole, names)
        async with self.open(header, names) as writer:
            await writer.write(content)
            on_ending()
        assert writer.receipt is not None
        return writer.receipt

    # --- the blocks of the application --------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(
        self, header: StreamHeader, recipients: Sequence[str] = (), *, within_s: float | None = None
    ) -> AsyncIterator[Writer]:
        """Send a stream for as long as the block lasts; see ``Room.open_text_stream``."""
        names = await self._present(recipients, within_s)
        size = self._size(header, names)
        if size > CHUNK_BYTES:
            text = f"topic, name, attributes and recipients take {size} bytes, over the {CHUNK_BYTES} of a header"
            raise StreamError(Reason.HEADER_TOO_LARGE, text, stream_id=header.stream_id)
        writer = Writer(self._packets, header, names)
        await writer.begin()
        self._writers[writer] = None
        ending = "the sender failed"
        try:
            with writer.scope:
                yield writer
                await writer.finish({})
        except trio.Cancelled:
            ending = "the sender was cancelled"
            raise
        finally:
            del self._writers[writer]
            await writer.abort(ending)
        if writer.scope.cancelled_caught:
            assert writer.error is not None
            raise copy(writer.error)

    @contextmanager
    def listen(self, topic: str, limits: Limits, *, text: bool) -> Iterator[Listener]:
        """Get the streams of a topic for as long as the block lasts. Raises ``StreamError`` (``TOPIC_TAKEN``)."""
        if self._over is not None:
            raise copy(self._over)
        key = (text, topic)
        if key in self._listeners:
            kind = "text" if text else "byte"
            raise StreamError(
                Reason.TOPIC_TAKEN, f"the {kind} streams of topic {topic!r} are being listened to already"
            )
        self.check_topic(topic)
        listener = self._listeners[key] = Listener(limits)
        self._offer_early(listener, key)
        try:
            yield listener
        finally:
            del self._listeners[key]
            listener.close()

    def check_topic(self, topic: str) -> None:
        """Whether an application may use it. Raises ``StreamError`` (``TOPIC_TAKEN``)."""
        if topic in self._takers:
            raise StreamError(Reason.TOPIC_TAKEN, f"the topic {topic!r} is kept for the library itself")

    # --- what comes in ------------------------------------------------------------------------------------------------

    def _on_packet(self, packet: DataPacket, size: int) -> bool:
        """A packet of a stream; whether it is done with."""
        value, now = packet.value, trio.current_time()
        identity, sid, is_encrypted = packet.participant_identity, packet.participant_sid, packet.is_encrypted
        if type(value) is StreamChunk:
            return not self._incoming.on_chunk(value, identity, sid, size, now, is_encrypted=is_encrypted)
        if type(value) is StreamHeader:
            return self._on_header(value, packet, size, now)
        self._incoming.on_trailer(cast("StreamTrailer", value), identity, sid, now, is_encrypted=is_encrypted)
        return True

    def _on_header(self, header: StreamHeader, packet: DataPacket, size: int, now: float) -> bool:
        is_text = header.text is not None
        taker = self._takers.get(header.topic) if is_text else None
        listener = self._listeners.get((is_text, header.topic))
        if taker is not None:
            limits = Limits(inflated_bytes=taker.limit_bytes)
        elif listener is not None:
            limits = listener.limits
        elif len(self._early) < _MAX_EARLY and self._is_early(now):
            limits = Limits()
        else:
            logger.debug("a stream on topic %r, to which nobody listens", header.topic)
            return True
        identity, sid = packet.participant_identity, packet.participant_sid
        stream = self._incoming.on_header(header, identity, sid, size, limits, now, is_encrypted=packet.is_encrypted)
        if stream is None:
            return True
        self._reschedule(self.next_timeout())
        if taker is not None:
            self._take(taker, stream)
        elif listener is not None:
            listener.offer(stream, self._packets.incoming.consume)
        else:
            self._early.append(stream)
        return header.inline_content is None

    def _is_early(self, now: float) -> bool:
        return self._early_until is None or now < self._early_until

    def _offer_early(self, listener: Listener, key: tuple[bool, str]) -> None:
        early, self._early = self._early, []
        for stream in early:
            if (stream.header.text is not None, stream.header.topic) == key:
                stream.limits = listener.limits
                listener.offer(stream, self._packets.incoming.consume)
            else:
                self._early.append(stream)

    def _drop_early(self) -> None:
        """Who wanted to listen from the start does so by now."""
        early, self._early = self._early, []
        for stream in early:
            stream.discard()
            self._packets.incoming.consume(stream.take_released())

    # --- texts for this package ---------------------------------------------------------------------------------------

    def _take(self, taker: _Taker, stream: IncomingStream) -> None:
        """A text for this package. A short one, which is the rule, is handed over in this step."""
        reader = Reader(stream, self._packets.incoming.consume, _nothing)
        begun = ""
        if stream.is_over:
            try:
                begun = reader.read_text_nowait() or ""
                more = reader.read_text_nowait()
            except StreamError as error:
                taker.handler(reader.text_info, error)
                return
            if not more:
                taker.hand_over(reader, begun)
                return
            begun += more
        taker.on_begun(reader.text_info)
        self._spawn(self._collect, taker, reader, begun, name="room: a text for the library")

    async def _collect(self, taker: _Taker, reader: Reader, begun: str) -> None:
        try:
            text = begun + await reader.read_all_text(taker.limit_bytes)
        except StreamError as error:
            taker.handler(reader.text_info, error)
        except (LiveKitError, trio.ClosedResourceError):
            pass  # the room is over, which whoever waits for the text is told as well
        else:
            taker.hand_over(reader, text)

    # --- what happens to the session ----------------------------------------------------------------------------------

    def on_joined(self) -> None:
        """The room is joined: the application can listen from now on."""
        self._early_until = trio.current_time() + _EARLY_S
        self._reschedule(self.next_timeout())

    def on_session_replaced(self) -> None:
        """The others saw us leave, and us them."""
        self._incoming.on_session_lost()
        for writer in list(self._writers):
            writer.on_session_replaced()

    def on_participant(self, info: ParticipantInfo) -> None:
        """A participant is there."""
        self._incoming.on_sender_joined(info.identity, info.sid, trio.current_time())

    def on_participant_left(self, info: ParticipantInfo) -> None:
        """A participant is gone."""
        self._incoming.on_sender_left(info.identity, info.sid, trio.current_time())
        for writer in list(self._writers):
            writer.on_participant_left(info.identity)

    def on_over(self, error: Exception) -> None:
        """The room was left or lost for good."""
        self._over = error
        self._drop_early()
        self._incoming.on_over(error)
        was_left = isinstance(error, trio.ClosedResourceError)
        for listener in self._listeners.values():
            listener.on_over(None if was_left else error)
        for writer in list(self._writers):
            writer.fail(error)

    # --- time ---------------------------------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        deadlines = (self._incoming.next_timeout(), self._early_until if self._early else None)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Time has passed."""
        self._incoming.handle_timeout(now)
        for stream in self._incoming.poll_neglected():
            text = "nobody reads the stream %r of %r on topic %r: %d bytes of it hold up what the server sends here"
            logger.warning(text, stream.header.stream_id, stream.sender_identity, stream.header.topic, stream.unread)
        if self._early and not self._is_early(now):
            self._drop_early()

    # --- the rest -----------------------------------------------------------------------------------------------------

    async def _present(self, recipients: Sequence[str], within_s: float | None) -> tuple[str, ...]:
        """Those that a stream is for, once they are in the room. Raises ``RecipientNotFound``."""
        if recipients and within_s is not None:
            await self._packets.wait_present(recipients, within_s)
        return tuple(recipients)

    def _find(self, recipients: tuple[str, ...]) -> list[ParticipantInfo | None]:
        """Who is to read a stream; ``None`` for each of whom we have not been told."""
        roster = self._roster()
        return [roster.get(name) for name in recipients] if recipients else list(roster)

    def _size(self, header: StreamHeader, recipients: tuple[str, ...]) -> int:
        return len(encode_packet(DataPacket(header, destination_identities=recipients)))


async def _compressed(header: StreamHeader, content: bytes) -> tuple[StreamHeader, bytes]:
    """The header and the content compressed, where that is any shorter."""
    parts: list[bytes] = []
    size = 0
    for part in deflate(content):
        parts.append(part)
        size += len(part)
        if size >= len(content):
            return header, content
        if len(content) > STEP_BYTES:
            await trio.lowlevel.checkpoint()
    return replace(header, compression=Compression.DEFLATE_RAW), b"".join(parts)


def _nothing(_reader: Reader) -> None:
    pass
