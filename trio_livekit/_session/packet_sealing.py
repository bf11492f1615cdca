"""End-to-end encryption of data packets: what ``Packets`` asks of ``Sealing``, in terms of packets."""

from __future__ import annotations

__all__ = ["PacketSealing"]

from typing import TYPE_CHECKING

from .._sansio.encryption.complaints import DecryptionFailureReason
from .._sansio.packets.messages import Encrypted
from .._wire.data import decode_sealed, encode_sealed
from ..errors import DecodeError
from .sealing import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.packets.messages import DataPacket, Encryptable
    from .sealing import Opening, Sealing

    Resume = Callable[[DataPacket, int, Encryptable | None], None]

_MAX_SENDERS = 1024
"""Senders whose packets are kept in order. A server may make up any number of them."""


class PacketSealing:
    """Seals the values of packets, and opens them, each sender's in order.

    ``resume(packet, size, value)`` gets those that were held, with ``None`` if they could not be opened after all.
    """

    def __init__(self, sealing: Sealing, resume: Resume) -> None:
        self._sealing = sealing
        self._resume = resume
        self._openings: dict[tuple[str, bool], Opening[tuple[DataPacket, int]]] = {}  # by sender, and if reliable

    def seal(self, value: Encryptable) -> Encrypted:
        """Encrypt what is about to leave. Raises ``MissingKey``."""
        sealed, encryption = self._sealing.seal(encode_sealed(value))
        return Encrypted(encryption.iv, encryption.key_index, sealed)

    def open(self, packet: DataPacket, size: int) -> Encryptable | Verdict:
        """Decrypt what arrived, or say what becomes of it."""
        value = packet.value
        assert isinstance(value, Encrypted)
        key = (packet.participant_identity, size > 0)
        opening = self._openings.get(key) or self._opening(*key)
        opened = opening.open((packet, size), value.encrypted_value, value.key_index, value.iv)
        if isinstance(opened, Verdict):
            return opened
        return self._decode(packet, opened) or Verdict.DROPPED

    def admits(self, packet: DataPacket) -> bool:
        """Whether a packet that came in the clear is to be taken; if it is not, that is counted and told."""
        identity = packet.participant_identity
        if self._sealing.admits_plaintext(identity):
            return True
        self._sealing.complain(identity, DecryptionFailureReason.PLAINTEXT)
        return False

    def _opening(self, identity: str, is_reliable: bool) -> Opening[tuple[DataPacket, int]]:
        if len(self._openings) >= _MAX_SENDERS:
            del self._openings[next(iter(self._openings))]
        # Reliable packets that are held occupy the receive window: a full one holds up the server, and none is lost.
        opening = self._sealing.opening(identity, self._on_resumed, bounded=not is_reliable)
        self._openings[identity, is_reliable] = opening
        return opening

    def _on_resumed(self, held: tuple[DataPacket, int], opened: bytes | None) -> None:
        packet, size = held
        self._resume(packet, size, None if opened is None else self._decode(packet, opened))

    def _decode(self, packet: DataPacket, opened: bytes) -> Encryptable | None:
        """What was inside; ``None`` if it makes no sense, which its sender is blamed for, or is of no kind we know."""
        try:
            return decode_sealed(opened)
        except DecodeError:
            self._sealing.complain(packet.participant_identity, DecryptionFailureReason.MALFORMED)
            return None
