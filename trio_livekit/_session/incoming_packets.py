"""Data packets that come in: freed of repeats, decrypted, and handed to the feature that wants their kind.

All of it happens in the step that received the packet. A handler may hold what it gets: then the packet occupies the
receive window until it is consumed, so that whoever does not keep up holds up the server and not the memory here.
"""

from __future__ import annotations

__all__ = ["ENCRYPTABLE", "IncomingPackets", "Sealer"]

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, get_args

import trio

from .._sansio.packets.filters import Nonces, Sequences
from .._sansio.packets.messages import DataPacket, Encryptable, Encrypted, UserPacket
from .._wire.data import decode_packet
from ..errors import DecodeError
from .labels import RELIABLE
from .packet_events import ContinuityLost
from .sealing import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from .links import Links

    Handler = Callable[[DataPacket, int], bool]

ENCRYPTABLE = get_args(Encryptable)
"""The kinds of value that are encrypted, where anything is."""

_CONSUME_BYTES = 256 * 1024
"""How much is consumed before the peer is told of it: a sixteenth of the window, so that this is never felt."""


class Sealer(Protocol):
    """End-to-end encryption of packets. All methods are called in the step that sends or receives."""

    def seal(self, value: Encryptable) -> Encrypted:
        """Encrypt what is about to leave. Raises a ``LiveKitError`` where that is not possible."""

    def open(self, packet: DataPacket, size: int) -> Encryptable | Verdict:
        """Decrypt what arrived, or drop it; or hold it, until ``IncomingPackets.on_opened(packet, size, value)``."""

    def admits(self, packet: DataPacket) -> bool:
        """Whether a packet that should be encrypted, and is not, is to be taken as it is."""


class IncomingPackets:
    """What comes in on the reliable and on the lossy channel of a session, and of the session that replaces it.

    Attributes:
        sealer: decrypts, where the room is encrypted end to end.
        own_identity: of this client. A server sends nobody his own packets: one that claims to be from us is dropped.
    """

    def __init__(self, source: Links, announce: Callable[[ContinuityLost], None]) -> None:
        self._source = source  # where messages come from
        self._announce = announce
        self.sealer: Sealer | None = None
        self.own_identity = ""
        self._handlers: dict[type, Handler] = {}
        self._sequences = Sequences()
        self._nonces = Nonces()
        self._consumed = 0  # bytes of which the peer has not been told
        self._held = 0  # bytes that handlers hold
        self._stale = 0  # of those, from connections that are gone
        self._closed = False
        self.received = self.repeats = self.malformed = self.unheeded = 0
        self.undecryptable = self.plaintext_refused = 0

    def route(self, kinds: tuple[type, ...], handler: Callable[[DataPacket, int], bool]) -> None:
        """Give packets with these kinds of value to ``handler(packet, size)``; each kind has one handler.

        It runs in the step that received the packet. It returns whether it is done with it; if it is not, it holds the
        packet, and calls ``consume(size)`` later. What is held fills the receive window, and a full window holds up the
        peer. A ``size`` of 0 says that the packet is a lossy one: those are never held, whatever is returned.
        """
        for kind in kinds:
            self._handlers[kind] = handler

    def consume(self, size: int) -> None:
        """A handler is done with a packet that it held."""
        self._held -= size
        stale = min(size, self._stale)
        self._stale -= stale
        self._consume(size - stale)

    @property
    def unread_bytes(self) -> int:
        """Of packets of this connection that are held."""
        return self._held - self._stale

    def last_received(self) -> tuple[tuple[str, int], ...]:
        """The number of the last reliable packet of each sender, by SID."""
        return tuple(self._sequences.last().items())

    def on_message(self, label: str, data: bytes) -> None:
        """One message of the reliable or of the lossy channel."""
        size = len(data) if label == RELIABLE else 0
        try:
            packet = decode_packet(data)
        except DecodeError:
            packet = None
            self.malformed += 1
        if packet is None or self._take(packet, size):
            self._consume(size)
        else:
            self._held += size

    def _take(self, packet: DataPacket, size: int) -> bool:
        """Give a packet to its handler, unless it is to be dropped or held; returns whether it is done with."""
        now = trio.current_time()
        if size:
            missed = self._sequences.on_packet(packet.participant_sid, packet.sequence, now)
            if missed is None:
                self.repeats += 1
                return True
            if missed:
                self._announce(ContinuityLost(packet.participant_identity, missed))
        if packet.participant_identity and packet.participant_identity == self.own_identity:
            self.unheeded += 1
            return True
        value, sealer = packet.value, self.sealer
        if isinstance(value, Encrypted):
            opened = Verdict.DROPPED if sealer is None else sealer.open(packet, size)
            if opened is Verdict.HELD:
                return False
            return self._take_opened(packet, size, None if isinstance(opened, Verdict) else opened, now)
        if sealer is not None and isinstance(value, ENCRYPTABLE) and not sealer.admits(packet):
            self.plaintext_refused += 1
            return True
        return self._dispatch(packet, size, now)

    def on_opened(self, packet: DataPacket, size: int, value: Encryptable | None) -> None:
        """A packet that was held to be decrypted has been, or cannot be."""
        if not self._closed and self._take_opened(packet, size, value, trio.current_time()):
            self.consume(size)

    def _take_opened(self, packet: DataPacket, size: int, value: Encryptable | None, now: float) -> bool:
        if value is None:
            self.undecryptable += 1
            return True
        return self._dispatch(replace(packet, value=value, is_encrypted=True), size, now)

    def _dispatch(self, opened: DataPacket, size: int, now: float) -> bool:
        """Give a packet in the clear to its handler; returns whether it is done with."""
        value = opened.value
        if type(value) is UserPacket and self._nonces.is_repeat(opened.participant_identity, value.nonce, now):
            self.repeats += 1
            return True
        handler = self._handlers.get(type(value))
        if handler is None:
            self.unheeded += 1
            return True
        self.received += 1
        return handler(opened, size)

    def _consume(self, size: int) -> None:
        self._consumed += size
        if self._consumed >= _CONSUME_BYTES:
            self._source.consume(self._consumed)
            self._consumed = 0

    # --- the session, and who is in it --------------------------------------------------------------------------------

    def on_participant(self, sid: str, *, is_new: bool) -> None:
        """A participant is in the room. ``is_new``: as far as this client can tell, since just now."""
        if is_new:
            self._sequences.on_joined(sid, trio.current_time())
        self._sequences.on_present(sid)

    def on_participant_left(self, sid: str) -> None:
        """A participant is gone."""
        self._sequences.on_left(sid, trio.current_time())

    def on_session_lost(self) -> None:
        """What is sent from now on does not come here."""
        self._sequences.on_away()

    def on_session_replaced(self, source: Links) -> None:
        """Messages come from another connection from now on."""
        self._source = source
        self._stale, self._consumed = self._held, 0

    def on_connected(self) -> None:
        """Who is in the room of the new session is known."""
        self._sequences.on_back()

    def close(self) -> None:
        """The room is over."""
        self._closed = True
