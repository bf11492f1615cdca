"""Resetting streams, which is how a data channel closes (RFC 6525, RFC 8831 section 6.7).

Outgoing SSN Reset Request, the only request we make:

| bytes | field                                              |
|-------|----------------------------------------------------|
| 0-3   | request sequence number                            |
| 4-7   | response sequence number: the peer's last request  |
| 8-11  | the sender's last assigned TSN                     |
| 12-   | stream ids, u16 each; none means all               |
"""

from __future__ import annotations

__all__ = ["StreamResets"]

import struct
from typing import TYPE_CHECKING

from ..serial import MASK32
from .chunks import RECONFIG, encode_chunk
from .events import Event, StreamsReset
from .parameters import (
    ADD_INCOMING_STREAMS,
    ADD_OUTGOING_STREAMS,
    INCOMING_RESET,
    OUTGOING_RESET,
    RECONFIG_RESPONSE,
    SSN_TSN_RESET,
    encode_parameter,
    split_parameters,
)

if TYPE_CHECKING:
    from .rx.receiver import Receiver
    from .tx.sender import Sender

NOTHING_TO_DO, PERFORMED, DENIED, WRONG_SSN, ALREADY_IN_PROGRESS, BAD_SEQUENCE, IN_PROGRESS = range(7)

REFUSED = (INCOMING_RESET, SSN_TSN_RESET, ADD_OUTGOING_STREAMS, ADD_INCOMING_STREAMS)

MAX_PARAMETERS_PER_CHUNK = 2
"""RFC 6525 section 3.1 allows no more."""

MAX_DEFERRED = 64
"""Requests of the peer's that wait for data. What is beyond that is refused."""

MAX_STREAMS_PER_REQUEST = 256
"""Fits a packet."""

_OUTGOING = struct.Struct(">LLL")
_RESPONSE = struct.Struct(">LL")


class StreamResets:
    """Our requests, one at a time, and the peer's."""

    __slots__ = (
        "_answers", "_last_peer_result", "_next_peer_request", "_next_request", "_request", "_waiting",
        "deferred", "in_flight", "retry_at",
    )  # fmt: skip

    def __init__(self, initial_tsn: int, peer_initial_tsn: int) -> None:
        self._next_request = initial_tsn
        self._next_peer_request = peer_initial_tsn
        self._last_peer_result = NOTHING_TO_DO
        self.deferred: dict[int, tuple[int, bytes]] = {}
        """The last TSN and the streams, as they came, of requests of the peer's that wait for data, by number. A peer
        that follows RFC 6525 has one at a time; pion does not wait for the answer."""
        self._waiting: dict[int, None] = {}  # streams to reset once they are drained, in order
        self._answers: list[bytes] = []
        self._request = b""  # encoded once: a repetition must not name a later TSN
        self.in_flight: tuple[int, ...] = ()
        self.retry_at: float | None = None

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self.in_flight or self._answers)

    @property
    def deadline(self) -> float | None:
        """When a request or its repetition is due."""
        return self.retry_at if self.in_flight else None

    def request(self, stream_ids: list[int]) -> None:
        """Reset these outgoing streams once all they have queued is acknowledged."""
        self._waiting.update(dict.fromkeys(stream_ids))

    def chunks(self, now: float, sender: Sender) -> list[bytes]:
        """What to send now: answers, then a request that is due."""
        out, self._answers = self._answers, []
        if not self.in_flight and self._waiting:
            self._begin_request(now, sender)
        if self.in_flight and self.retry_at is not None and now >= self.retry_at:
            self.retry_at = now + sender.rto.current
            out.append(self._request)
        return out

    def on_reconfig(self, body: bytes, sender: Sender, receiver: Receiver, events: list[Event]) -> None:
        """Take a RE-CONFIG chunk."""
        for kind, value in split_parameters(body)[:MAX_PARAMETERS_PER_CHUNK]:
            if kind == OUTGOING_RESET and len(value) >= _OUTGOING.size:
                self._on_outgoing_request(value, receiver, events)
            elif kind == RECONFIG_RESPONSE and len(value) >= _RESPONSE.size:
                sequence, result = _RESPONSE.unpack_from(value)
                self._on_response(sequence, result, sender, events)
            elif kind in REFUSED and len(value) >= 4:
                self._refuse(int.from_bytes(value[:4], "big"))

    def on_data_received(self, receiver: Receiver, events: list[Event]) -> None:
        """A request that had to wait for data may be due now."""
        cumulative = receiver.tracker.cumulative
        for sequence in [number for number, (last, _) in self.deferred.items() if last <= cumulative]:
            self._perform(self.deferred.pop(sequence)[1], receiver, events)
            self._answer(sequence, PERFORMED)

    def _begin_request(self, now: float, sender: Sender) -> None:
        streams = sender.queue.streams
        ready = [stream_id for stream_id in self._waiting if not (stream_id in streams and streams[stream_id].buffered)]
        if not ready:
            return
        self.in_flight = tuple(ready[:MAX_STREAMS_PER_REQUEST])
        for stream_id in self.in_flight:
            del self._waiting[stream_id]
            sender.queue.pause(sender.queue.stream(stream_id))
        self.retry_at = now
        ids = struct.pack(f">{len(self.in_flight)}H", *self.in_flight)
        fixed = _OUTGOING.pack(
            self._next_request, self._next_peer_request - 1 & MASK32, sender.out.next_tsn - 1 & MASK32
        )  # fmt: skip
        self._request = encode_chunk(RECONFIG, 0, encode_parameter(OUTGOING_RESET, fixed + ids))

    def _on_response(self, sequence: int, result: int, sender: Sender, events: list[Event]) -> None:
        if sequence != self._next_request or not self.in_flight or result == IN_PROGRESS:
            return  # IN_PROGRESS: the same request again, after an RTO (RFC 6525 section 5.2.7)
        stream_ids, self.in_flight = self.in_flight, ()
        self.retry_at = None
        self._next_request = self._next_request + 1 & MASK32
        for stream_id in stream_ids:
            stream = sender.queue.stream(stream_id)
            if result in (NOTHING_TO_DO, PERFORMED):
                stream.next_ssn = 0
            sender.queue.resume(stream)
        events.append(StreamsReset(stream_ids, incoming=False))

    def _on_outgoing_request(self, value: bytes, receiver: Receiver, events: list[Event]) -> None:
        sequence, _, last_tsn = _OUTGOING.unpack_from(value)
        ids = value[_OUTGOING.size :]
        if sequence in self.deferred:
            self._answer(sequence, IN_PROGRESS)
        elif sequence == self._next_peer_request - 1 & MASK32:
            self._answer(sequence, self._last_peer_result)
        elif sequence != self._next_peer_request:
            self._answer(sequence, BAD_SEQUENCE)
        else:
            self._next_peer_request = sequence + 1 & MASK32
            last = receiver.tracker.unwrap(last_tsn)
            if last <= receiver.tracker.cumulative:
                self._perform(ids, receiver, events)
                self._answer(sequence, PERFORMED)
            elif len(self.deferred) < MAX_DEFERRED:
                self.deferred[sequence] = (last, ids)
                self._answer(sequence, IN_PROGRESS)
            else:
                self._last_peer_result = ALREADY_IN_PROGRESS
                self._answer(sequence, ALREADY_IN_PROGRESS)

    def _perform(self, ids: bytes, receiver: Receiver, events: list[Event]) -> None:
        stream_ids = struct.unpack(f">{len(ids) // 2}H", ids[: len(ids) & ~1])
        self._last_peer_result = PERFORMED
        receiver.reset_streams(stream_ids)
        events.append(StreamsReset(stream_ids, incoming=True))

    def _refuse(self, sequence: int) -> None:
        """Requests for what data channels never need: denied, but their number is used up."""
        if sequence == self._next_peer_request:
            self._next_peer_request = sequence + 1 & MASK32
            self._last_peer_result = DENIED
        self._answer(sequence, DENIED)

    def _answer(self, sequence: int, result: int) -> None:
        """One answer for each flush is enough: a peer that asks more often asks too often."""
        response = encode_parameter(RECONFIG_RESPONSE, _RESPONSE.pack(sequence, result))
        chunk = encode_chunk(RECONFIG, 0, response)
        if chunk not in self._answers and len(self._answers) < 64:
            self._answers.append(chunk)
