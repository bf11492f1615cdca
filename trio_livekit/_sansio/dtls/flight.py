"""Flights: messages that are sent, and if need be sent again, together (RFC 6347 section 4.2.4)."""

from __future__ import annotations

__all__ = ["Flight", "FlightBuilder", "FlightItem", "Retransmitter", "packetize"]

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..records import dataclass
from .handshake import FRAGMENT_HEADER_BYTES, Fragment, Message, encode_fragment
from .record import CHANGE_CIPHER_SPEC, HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import Config

MIN_PIECE_BYTES = 32  # do not squeeze less than this of a message into what is left of a datagram
REPEAT_HOLDOFF_S = 0.02  # answer a repeated flight at most this often, however many copies of it arrive


class FlightItem(NamedTuple):
    """One message of a flight, and the epoch it is protected in."""

    epoch: int
    kind: int
    content: Message | bytes  # bytes: ChangeCipherSpec, which is not a handshake message

    @classmethod
    def change_cipher_spec(cls) -> FlightItem:
        return cls(0, CHANGE_CIPHER_SPEC, b"\x01")

    @classmethod
    def handshake(cls, message: Message, *, epoch: int = 0) -> FlightItem:
        return cls(epoch, HANDSHAKE, message)


@dataclass(frozen=True, slots=True)
class Flight:
    """Messages to send together.

    Attributes:
        items: what to send, in order.
        answers: the last message of the peer's flight this one answers. When that comes again, the peer has not
            received ours, and it is repeated. ``None``: never repeated for that reason.
        timed: whether an answer is expected, so that the flight is repeated until it comes.
    """

    items: tuple[FlightItem, ...]
    answers: Message | None
    timed: bool

    @property
    def is_repeated(self) -> bool:
        """Whether there is any reason to keep the flight. A HelloVerifyRequest is sent and forgotten."""
        return self.timed or self.answers is not None


class FlightBuilder:
    """Adds messages to a flight, keeping number and transcript.

    Attributes:
        transcript: every message so far, ours and the peer's, as if unfragmented.
        next_sequence: number of the next message.
    """

    __slots__ = ("_items", "next_sequence", "transcript")

    def __init__(self, transcript: bytes, sequence: int) -> None:
        self.transcript = transcript
        self.next_sequence = sequence
        self._items: list[FlightItem] = []

    def add(self, message_type: int, body: bytes, *, epoch: int = 0) -> None:
        message = Message(message_type, self.next_sequence, body)
        self.next_sequence += 1
        self.transcript += message.encode()
        self._items.append(FlightItem.handshake(message, epoch=epoch))

    def change_cipher_spec(self) -> None:
        """Not a handshake message: it has no number and no place in the transcript."""
        self._items.append(FlightItem.change_cipher_spec())

    def build(self, *, answers: Message | None, timed: bool) -> Flight:
        return Flight(tuple(self._items), answers, timed)


class RecordSealer(Protocol):
    """What packing needs of an epoch's sealer."""

    @property
    def overhead(self) -> int: ...
    def seal(self, plaintext: bytes, kind: int) -> bytes: ...


def packetize(flight: Flight, sealers: tuple[RecordSealer, ...], mtu: int) -> list[bytes]:
    """Encode a flight into datagrams of at most ``mtu`` bytes, with new record numbers each time.

    Args:
        flight: what to send.
        sealers: one per epoch.
        mtu: bytes of UDP payload.
    """
    datagrams: list[bytes] = []
    current = b""
    for epoch, kind, content in flight.items:
        sealer = sealers[epoch]
        if isinstance(content, bytes):
            record = sealer.seal(content, kind)
            if len(current) + len(record) > mtu:
                datagrams.append(current)
                current = b""
            current += record
            continue
        overhead = sealer.overhead + FRAGMENT_HEADER_BYTES
        for start_anew, piece in _pieces(content, mtu - len(current) - overhead, mtu - overhead):
            if start_anew:
                datagrams.append(current)
                current = b""
            current += sealer.seal(piece, kind)
    datagrams.append(current)
    return [datagram for datagram in datagrams if datagram]


def _pieces(message: Message, room: int, full_room: int) -> Iterator[tuple[bool, bytes]]:
    """Split a message: whether each piece begins a new datagram, and the piece.

    Args:
        message: what to split.
        room: bytes of body that still fit into the datagram at hand.
        full_room: bytes of body that fit into an empty one.
    """
    body, size, offset = message.body, len(message.body), 0
    while True:
        left = size - offset
        start_anew = room < left and (left <= full_room or room < MIN_PIECE_BYTES)
        if start_anew:
            room = full_room
        piece = body[offset : offset + room]
        yield start_anew, encode_fragment(message.type, size, message.sequence, offset, piece)
        offset += len(piece)
        if offset >= size:
            return
        room = 0


class Retransmitter:
    """When to send the current flight again: on a timer that backs off, or because the peer repeated its own."""

    __slots__ = ("_config", "_interval_s", "_repeated_at", "deadline", "flight")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._interval_s = config.initial_timeout_s
        self._repeated_at: float | None = None
        self.deadline: float | None = None
        self.flight: Flight | None = None

    def start(self, flight: Flight, now: float) -> None:
        """A new flight leaves."""
        self.flight = flight
        self._interval_s = self._config.initial_timeout_s
        self._repeated_at = None
        self.deadline = now + self._interval_s if flight.timed else None

    def back_off(self, now: float) -> None:
        """The timer ran out and the flight leaves once more."""
        self._interval_s = min(self._interval_s * 2, self._config.max_timeout_s)
        self.deadline = now + self._interval_s

    def stop_timer(self) -> None:
        """The answer came. The flight is kept, for a peer that did not get the end of ours."""
        self.deadline = None

    def stop(self) -> None:
        self.flight = None
        self.deadline = None

    def is_due_to_repeat(self, fragment: Fragment, now: float) -> bool:
        """Whether ``fragment`` shows that the peer is waiting for our flight.

        It does when it is the end of the very message we answered; a mere resemblance is not enough, or a third party
        could make us repeat ourselves. The timer is not touched.
        """
        answered = self.flight.answers if self.flight else None
        if answered is None or fragment.sequence != answered.sequence or fragment.type != answered.type:
            return False
        if not fragment.is_last or answered.body[fragment.offset :] != fragment.data:
            return False
        return self.may_repeat(now, REPEAT_HOLDOFF_S)

    def may_repeat(self, now: float, holdoff_s: float) -> bool:
        """Whether there is a flight to repeat, and the last time was long enough ago; if so, this is the next time."""
        if self.flight is None or (self._repeated_at is not None and now < self._repeated_at + holdoff_s):
            return False
        self._repeated_at = now
        return True
