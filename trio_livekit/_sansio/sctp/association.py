"""One SCTP association (RFC 9260), fit for WebRTC data channels (RFC 8831): the front door of this package.

Here is what an application calls, what comes from the network, and which part each chunk concerns. Sending is
``tx.sender``, receiving is ``rx.receiver``; both exist from the moment the peer's first TSN is known.
"""

from __future__ import annotations

__all__ = ["Association"]

import struct
from typing import TYPE_CHECKING

from ...errors import DecodeError, TransportError
from ..timers import earliest
from . import chunks as c
from .config import DEFAULT_CONFIG, Config
from .errors import (
    INVALID_STREAM,
    UNRECOGNIZED_CHUNK,
    USER_INITIATED,
    Violation,
)
from .established import Established
from .events import AssociationLost, AssociationRestarted, AssociationUp, Event
from .handshake import Accepted, Handshake, State
from .packet import HEADER_SIZE, NO_CHECKSUM, checksum_is_valid, header_checksum, next_chunk
from .parameters import encode_parameter
from .shutdown import Phase, Shutdown
from .statistics import Statistics, snapshot
from .tx.congestion import UNLIMITED
from .tx.send_queue import Message, OutboundStream, SendQueue

if TYPE_CHECKING:
    from ..types import RandomBytes

_PREFIX = struct.Struct(">HHL")
_PLAIN_SACK = struct.Struct(">LL")  # cumulative TSN, window

REFLECTED_TAG = 1
"""The T bit of ABORT and SHUTDOWN-COMPLETE: the tag is the sender's, because it has no association."""

PLAIN_SACK_SIZE = HEADER_SIZE + 16
"""A packet with nothing but a SACK that reports neither gaps nor duplicates, as nearly all of them do."""

MAX_REASON = 128
"""Characters of a peer's abort reason that are kept."""

MAX_CONTROL_CHUNKS = 16
"""Answers collected for one flush; a peer that asks for more has to ask again."""


class Association:
    """An association with one peer. See ``Config`` for its limits and ``events`` for what it reports."""

    def __init__(self, *, random_bytes: RandomBytes, config: Config = DEFAULT_CONFIG) -> None:
        self._config = config
        self._handshake = Handshake(config, random_bytes)
        self._queue = SendQueue()
        self._shutdown = Shutdown()
        self._link: Established | None = None
        self._events: list[Event] = []
        self._control: list[bytes] = []  # chunks that go ahead of all others
        self._farewell: list[bytes] = []  # sealed packets that outlive the association
        self._accepting = True  # messages, from the application
        self._dropped = 0
        self._prefix_crc = 0
        self._set_prefix()
        self._accepted_checksum = NO_CHECKSUM if config.zero_checksum else None  # RFC 9653: we offered it

    # What the application does

    def connect(self, now: float, *, round_trip_s: float | None = None) -> None:
        """Begin the handshake. Both ends may, and in WebRTC both do. Knowing the round trip time speeds up repeats."""
        if self._handshake.state is State.CLOSED:
            self._handshake.connect(now, round_trip_s)

    def send(
        self, stream_id: int, ppid: int, data: bytes, *, now: float, ordered: bool = True,
        max_retransmits: int | None = None, lifetime_s: float | None = None, more: bool = False,
    ) -> None:  # fmt: skip
        """Queue a message of at least one byte; it may be queued before the association is up.

        With `max_retransmits` or `lifetime_s` the message may be given up (RFC 3758). What follows a message with
        `more` on its stream is sent right after it, as far as that is fair to other streams.

        Raises ``ValueError`` for an empty message or one above the peer's maximum, ``TransportError`` when the
        association has ended.
        """
        size = len(data)
        if not size:
            raise ValueError("SCTP cannot carry an empty message")
        if size > self._config.max_message_size > 0:
            raise ValueError(f"a message of {size} bytes is above the peer's {self._config.max_message_size}")
        if not self._accepting:
            raise TransportError("the association has ended")
        stream = self._queue.streams.get(stream_id) or self._queue.stream(stream_id)
        expires_at = None if lifetime_s is None else now + lifetime_s
        self._queue.push(Message(stream, ppid, data, ordered, max_retransmits, expires_at, more))

    def reset_streams(self, stream_ids: list[int], now: float) -> None:
        """Start outgoing streams anew once what they have queued is acknowledged; reports ``StreamsReset``."""
        if self._link is not None and self._handshake.state is not State.ENDED:
            self._link.resets.request(stream_ids)
            self._link.sender.hurry(now)

    def shutdown(self, now: float) -> None:
        """End gracefully, after everything queued is acknowledged."""
        if self._handshake.state is State.ESTABLISHED:
            self._shutdown.request()
            self._accepting = False
        else:
            self.abort(now)

    def abort(self, now: float, reason: str = "") -> None:
        """End at once; the peer is told."""
        self._abort(USER_INITIATED, reason, graceful=True)

    @property
    def manual_window(self) -> bool:
        """Whether delivered messages occupy the receive window until ``consume``."""
        return self._config.manual_window

    def consume(self, size: int) -> None:
        """The application is done with `size` bytes that were delivered to it (``Config.manual_window``)."""
        if self._link is not None:
            self._link.receiver.consume(size)

    def set_low_water(self, stream_id: int, size: int) -> None:
        """Report ``BufferedAmountLow`` when the stream's buffered amount falls to `size` from above."""
        self._queue.stream(stream_id).low_water = size

    def set_weight(self, stream_id: int, weight: int) -> None:
        """The stream's share of the turns; 256 is usual."""
        self._queue.stream(stream_id).weight = max(1, weight)

    def withdraw(self, stream_id: int) -> list[bytes]:
        """Take back the messages of a stream of which nothing has been sent, in order."""
        stream = self._queue.streams.get(stream_id)
        return [] if stream is None else self._queue.withdraw(stream)

    def outbound(self, stream_id: int) -> OutboundStream:
        """A stream of ours, for its counters: for those who look at them often. It outlives the association."""
        return self._queue.stream(stream_id)

    def buffered_amount(self, stream_id: int) -> int:
        """Bytes of the stream that are neither acknowledged nor given up."""
        stream = self._queue.streams.get(stream_id)
        return stream.buffered if stream is not None else 0

    def unsent_amount(self, stream_id: int) -> int:
        """Bytes of the stream's messages of which nothing has been sent yet: what is stuck here, not on the way."""
        stream = self._queue.streams.get(stream_id)
        return stream.unsent if stream is not None else 0

    @property
    def polite_amount(self) -> int:
        """Bytes in flight beyond which messages that may be lost would build a queue on the way."""
        return UNLIMITED if self._link is None else self._link.sender.congestion.polite

    @property
    def prompt_amount(self) -> int:
        """Bytes that leave in about 10 ms, as things are: of what may wait elsewhere, no more need wait here."""
        return UNLIMITED if self._link is None else self._link.sender.prompt_amount

    def expired_count(self, stream_id: int) -> int:
        """Messages of the stream that were given up before anything of them was sent: their lifetime was over."""
        stream = self._queue.streams.get(stream_id)
        return stream.expired if stream is not None else 0

    @property
    def total_buffered(self) -> int:
        """``buffered_amount`` over all streams."""
        return sum(stream.buffered for stream in self._queue.streams.values())

    @property
    def is_established(self) -> bool:
        return self._handshake.state is State.ESTABLISHED

    def on_path_recovered(self, now: float, *, round_trip_s: float | None = None) -> None:
        """The path carries again (a new ICE pair, or an old one after an outage): send at once what is missing.

        ``round_trip_s`` is what is known about the path as it is now.
        """
        if self._handshake.t1_at is not None:
            self._handshake.t1_at = now
        if self._link is not None:
            self._link.on_path_recovered(now, round_trip_s)

    def statistics(self) -> Statistics:
        """A frozen look at the association."""
        return snapshot(self._handshake.state.value, self._link, self.total_buffered, self._dropped, self._config)

    # The common surface of a core

    def receive_datagrams(self, packets: list[bytes], now: float) -> None:
        """Take SCTP packets that arrived together, as ``receive_datagram`` does.

        Of plain SACKs that follow one another only the last is looked at, for it says what the others said, and more.
        """
        plain: bytes | None = None
        for packet in packets:
            if len(packet) == PLAIN_SACK_SIZE and self._is_plain_sack(packet):
                if plain is None or _acknowledges_more(packet, plain):
                    plain = packet
                continue
            if plain is not None:
                self._receive_plain_sack(plain, now)
                plain = None
            self.receive_datagram(packet, now)
        if plain is not None:
            self._receive_plain_sack(plain, now)

    def _receive_plain_sack(self, packet: bytes, now: float) -> None:
        """What ``receive_datagram`` would come to, at the end of a longer way."""
        if self._link is not None:
            cumulative, window = _PLAIN_SACK.unpack_from(packet, HEADER_SIZE + 4)
            self._link.sender.on_sack(c.Sack(cumulative, window, [], []), now)

    def _is_plain_sack(self, packet: bytes) -> bool:
        """Whether a packet of that size is one for us with a SACK that reports neither gaps nor duplicates."""
        return (
            packet[:8] == self._prefix
            and packet[8:12] == self._accepted_checksum
            and packet[12] == c.SACK
            and packet[14:16] == b"\0\x10"
            and packet[24:] == b"\0\0\0\0"
        )

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take one SCTP packet. What is malformed, or not for this association, is dropped and counted."""
        try:
            if data[:8] != self._prefix:
                self._receive_unusual(data, now)
            elif data[8:12] == self._accepted_checksum or checksum_is_valid(data, self._prefix_crc):
                link, offset = self._link, HEADER_SIZE
                if link is not None and len(data) > offset and not data[offset]:  # DATA, and mostly nothing else
                    offset = link.receiver.receive_data_chunks(data, offset, now)
                    if offset >= len(data):
                        return
                self._receive_chunks(data, now, offset)
            else:
                self._dropped += 1
        except DecodeError:
            self._dropped += 1
        except Violation as violation:
            self._abort(violation.cause, str(violation), graceful=False)

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """The packets that may leave now; with at most one SACK, so call it once for all that arrived together."""
        packets = self._farewell
        if packets:
            self._farewell = []
        handshake, link, shutting_down = self._handshake, self._link, self._shutdown.phase is not Phase.NONE
        if handshake.packets:
            packets = packets + handshake.take_packets()
        if link is None or handshake.state is State.ENDED:
            return packets
        if shutting_down or link.resets.deferred or link.receiver.reassembly.refused is not None:
            self._settle_received(link)
        control, self._control = self._control, []
        if handshake.state is State.COOKIE_ECHOED:
            return packets + link.first_flight(now, handshake.take_cookie_echo(), control)
        shutdown = None
        if shutting_down:
            shutdown = self._shutdown.chunk(
                now, link.sender.rto.current, link.receiver.cumulative_tsn, idle=link.is_idle
            )
        sent = link.packets(now, control, shutdown)
        return packets + sent if packets else sent

    def handle_timeout(self, now: float) -> None:
        """Act on the timers that have run out."""
        self._handshake.on_timeout(now)
        if self._handshake.has_failed and self._handshake.state is not State.ENDED:
            self._lose("the peer did not answer the handshake")
        if self._link is not None:
            self._link.sender.on_timeout(now)
            self._shutdown.on_timeout(now)
            if self._link.is_stuck(now, self._config.narrow_path_patience_s):
                self._abort(
                    USER_INITIATED, "the path does not carry packets any more that it used to carry", graceful=False
                )
            if self._shutdown.retries > self._config.shutdown_retries:
                if self._shutdown.phase is Phase.ACK_SENT:
                    self._lose("shut down", graceful=True)  # all is delivered both ways; only the last word was lost
                self._abort(USER_INITIATED, "shutdown was not answered", graceful=False)

    def next_timeout(self) -> float | None:
        """When to call ``handle_timeout`` and then ``datagrams_to_send``."""
        link, state = self._link, self._handshake.state
        if state is State.ENDED:
            return None
        at = None if link is None else link.next_timeout(established=state is State.ESTABLISHED)
        t1_at, t2_at = self._handshake.t1_at, self._shutdown.t2_at
        return at if t1_at is None and t2_at is None else earliest(t1_at, t2_at, at)

    @property
    def has_events(self) -> bool:
        """Whether ``poll_events`` may have something."""
        return bool(self._events) or (self._link is not None and bool(self._link.sender.out.drained))

    def poll_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        link, events = self._link, self._events
        if link is not None and link.sender.out.drained:
            link.sender.report_drained(events)
        if events:
            self._events = []
            if link is not None:
                link.receiver.deliver_to(self._events)
        return events

    # What the network does

    def _receive_chunks(self, data: bytes, now: float, offset: int = HEADER_SIZE) -> None:
        """Walk the chunks of a packet with our tag. Raises DecodeError and Violation."""
        end = len(data)
        if offset == end:
            raise DecodeError("a packet without chunks")
        while offset < end:
            if not data[offset]:  # DATA
                if self._link is None:
                    raise DecodeError("DATA before the handshake")
                offset = self._link.receiver.receive_data_chunks(data, offset, now)
            else:
                kind, flags, body, offset = next_chunk(data, offset)
                if not self._receive_chunk(kind, flags, body, now):
                    return

    def _settle_received(self, link: Established) -> None:
        """What data that came since the last flush may have made due."""
        if link.resets.deferred:
            link.resets.on_data_received(link.receiver, self._events)
        if link.receiver.reassembly.refused is not None:
            cause = encode_parameter(INVALID_STREAM, struct.pack(">HH", link.receiver.take_refused_stream(), 0))
            self._control.append(c.encode_chunk(c.ERROR, 0, cause))
        if self._shutdown.phase is not Phase.NONE and link.receiver.has_unacknowledged:
            self._shutdown.on_data()

    def _receive_chunk(self, kind: int, flags: int, body: bytes, now: float) -> bool:
        """Take one chunk; False when the rest of the packet is not to be looked at."""
        link = self._link
        if kind == c.COOKIE_ECHO:
            return self._on_cookie_echo(body, self._handshake.tag, now)
        if kind == c.INIT_ACK:
            if self._handshake.on_init_ack(body, now):
                self._make_link(now)
            return False  # it must be alone in its packet
        if kind == c.ABORT:
            if flags & REFLECTED_TAG:
                raise DecodeError("an ABORT with our tag that claims to reflect")
            self._lose(f"the peer aborted: {_abort_reason(body)}")
            return False
        if link is None:
            return kind != c.INIT
        if kind == c.SACK:
            link.sender.on_sack(c.decode_sack(body), now)
        elif kind == c.FORWARD_TSN:
            link.receiver.on_forward_tsn(c.decode_forward_tsn(body))
        elif kind == c.RECONFIG:
            if self.is_established:
                link.resets.on_reconfig(body, link.sender, link.receiver, self._events)
        elif kind == c.HEARTBEAT:
            if len(self._control) < MAX_CONTROL_CHUNKS and len(body) <= self._config.mtu:
                self._control.append(c.encode_chunk(c.HEARTBEAT_ACK, 0, body))
        elif kind == c.HEARTBEAT_ACK:
            link.on_heartbeat_ack(body, now)
        elif kind == c.COOKIE_ACK:
            if self._handshake.on_cookie_ack():
                self._events.append(AssociationUp())
        elif kind in (c.SHUTDOWN, c.SHUTDOWN_ACK, c.SHUTDOWN_COMPLETE):
            self._on_shutdown_chunk(kind, flags, body, now)
        elif kind not in (c.ERROR, c.INIT):
            return self._on_unknown_chunk(kind, flags, body)
        return kind != c.INIT

    def _receive_unusual(self, data: bytes, now: float) -> None:
        """A packet without our tag: an INIT, or a farewell with the peer's tag (RFC 9260 section 8.5.1)."""
        if len(data) < HEADER_SIZE + 4:
            raise DecodeError("a packet without chunks")
        kind, _flags, body, end = next_chunk(data, HEADER_SIZE)
        if self._handshake.state is State.ENDED:
            self._receive_after_end(kind, data)
            return
        ports_match = data[:4] == self._prefix[:4]
        if not ports_match or not checksum_is_valid(data, header_checksum(data[:8])):
            self._dropped += 1
        elif kind == c.INIT and data[4:8] == bytes(4) and end >= len(data):
            self._handshake.on_init(body, now)
        elif kind == c.COOKIE_ECHO and self._on_cookie_echo(body, int.from_bytes(data[4:8], "big"), now):
            if end < len(data):
                self._receive_chunks(data, now, end)  # the rest of the packet of a peer that restarted
        else:
            self._dropped += 1  # DTLS delivers to one association only: nothing here is ours to answer

    def _receive_after_end(self, kind: int, data: bytes) -> None:
        """The peer may not have heard the last word of a shutdown (section 9.2)."""
        if kind == c.SHUTDOWN_ACK and data[:8] == self._packed_prefix() and self._link and len(self._farewell) < 2:
            self._farewell.append(self._link.sealer.seal(c.encode_chunk(c.SHUTDOWN_COMPLETE, 0, b"")))
        else:
            self._dropped += 1

    def _on_cookie_echo(self, cookie: bytes, tag: int, now: float) -> bool:
        accepted = self._handshake.on_cookie_echo(cookie, tag, now)
        if accepted is Accepted.NOT_OURS:
            return False
        if accepted is Accepted.RESTARTED:
            self._queue = SendQueue()
            self._shutdown = Shutdown()
            self._accepting = True
            self._set_prefix()
            self._events.append(AssociationRestarted())
        if accepted is not Accepted.AGAIN:
            self._make_link(now)
            if accepted is Accepted.ESTABLISHED:
                self._events.append(AssociationUp())
        self._control.append(c.COOKIE_ACK_CHUNK)
        assert self._link is not None
        self._link.may_lack_cookie_ack = True
        return True

    def _make_link(self, now: float) -> None:
        """Both sides' numbers are known. Data that came in COOKIE-ECHOED stays where it is if they still hold."""
        peer, local_tsn = self._handshake.peer, self._handshake.initial_tsn
        assert peer is not None
        if self._link is None or self._link.peer != peer or self._link.local_tsn != local_tsn:
            self._link = Established(
                self._config, peer, local_tsn, self._queue, self._events, now, self._handshake.round_trip_s
            )

    def _on_shutdown_chunk(self, kind: int, flags: int, body: bytes, now: float) -> None:
        assert self._link is not None
        phase = self._shutdown.phase
        if kind == c.SHUTDOWN and len(body) >= 4 and self.is_established:
            sender = self._link.sender
            sender.on_sack(c.Sack(int.from_bytes(body[:4], "big"), sender.peer_window, [], []), now)
            self._shutdown.on_shutdown()
            self._accepting = False
        elif kind == c.SHUTDOWN_ACK and phase in (Phase.SENT, Phase.ACK_SENT):
            self._farewell.append(self._link.sealer.seal(c.encode_chunk(c.SHUTDOWN_COMPLETE, 0, b"")))
            self._lose("shut down", graceful=True)
        elif kind == c.SHUTDOWN_COMPLETE and phase is Phase.ACK_SENT and not flags & REFLECTED_TAG:
            self._lose("shut down", graceful=True)

    def _on_unknown_chunk(self, kind: int, flags: int, body: bytes) -> bool:
        """The two high bits say whether to report it, and whether to go on (RFC 9260 section 3.2)."""
        if kind & 0x40 and len(self._control) < MAX_CONTROL_CHUNKS:
            report = encode_parameter(UNRECOGNIZED_CHUNK, c.encode_chunk(kind, flags, body[:64]))
            self._control.append(c.encode_chunk(c.ERROR, 0, report))
        return bool(kind & 0x80)

    def _abort(self, cause: int, reason: str, *, graceful: bool) -> None:
        if self._handshake.state is State.ENDED:
            return
        if self._link is not None:
            text = encode_parameter(cause, reason.encode()[:MAX_REASON])
            self._farewell.append(self._link.sealer.seal(c.encode_chunk(c.ABORT, 0, text)))
        self._lose(reason or "aborted", graceful=graceful)

    def _lose(self, reason: str, *, graceful: bool = False) -> None:
        """The association has ended, for whatever reason; what was queued is gone."""
        if self._handshake.state is State.ENDED:
            return
        self._farewell = self._handshake.take_packets() + self._farewell
        self._handshake.end()
        self._accepting = False
        self._prefix = b""  # nothing is for us any more
        self._queue.streams.clear()
        self._events.append(AssociationLost(reason, graceful))

    def _packed_prefix(self) -> bytes:
        return _PREFIX.pack(self._config.remote_port, self._config.local_port, self._handshake.tag)

    def _set_prefix(self) -> None:
        """What every packet for us begins with: ports and our tag."""
        self._prefix = self._packed_prefix()
        self._prefix_crc = header_checksum(self._prefix)


def _acknowledges_more(packet: bytes, before: bytes) -> bool:
    """Whether the one of two packets with plain SACKs acknowledges at least what the other does."""
    ahead = int.from_bytes(packet[16:20], "big") - int.from_bytes(before[16:20], "big")
    return ahead & 0xFFFFFFFF < 0x80000000


def _abort_reason(body: bytes) -> str:
    """What an ABORT says, for people: error causes of any length come cut down."""
    if len(body) < 4:
        return "no reason given"
    cause, length = struct.unpack_from(">HH", body)
    text = body[4 : max(4, min(length, 4 + MAX_REASON))].decode("utf-8", "replace")
    return f"cause {cause} {text!r}" if text.strip("\0") else f"cause {cause}"
