"""Data packets: bytes or text for everyone in the room, or for some, reliable and in order, or lossy and fresh.

``receipt = await room.publish_data(...)`` sends one, and ``async with room.data_packets(topic=...) as packets`` reads
those of others. For anything over 60 kB there are streams, and for what has an answer there are calls.

A reliable packet is numbered, and kept until the server has acknowledged it. It arrives once and in order over any
number of resumes. Where a reconnection makes another session, what was not acknowledged is sent again, and other
clients of this package drop what they have seen. Nothing is lost in silence: a receipt says whether the server has the
packet, and ``ContinuityLost`` says what this client may have missed while it was not there.
"""

from __future__ import annotations

__all__ = [
    "ChatMessage",
    "DataPacket",
    "DataPackets",
    "OnFullReconnect",
    "PacketStatistics",
    "ReaderStatistics",
    "Receipt",
    "Transcription",
    "TranscriptionSegment",
]

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ._sansio.packets.messages import ChatMessage, Transcription, TranscriptionSegment
from ._session.packet_events import PacketStatistics
from ._session.receipts import OnFullReconnect, Receipt
from ._session.user_packets import ReaderStatistics

if TYPE_CHECKING:
    from ._session.user_packets import PacketReader
    from .participants import RemoteParticipant


@dataclass(frozen=True, slots=True)
class DataPacket:
    """One packet that a participant, or the server, sent with ``publish_data``.

    Attributes:
        payload: the bytes.
        topic: what the sender called it; may be empty.
        sender_identity: who sent it; empty for the server's own, and where the sender is hidden.
        participant: the same, where the server has told of it already. It may do so up to 3 seconds after a packet.
        is_reliable: how it was sent.
        is_encrypted: whether it was encrypted from the sender to here.
    """

    payload: bytes
    topic: str = ""
    sender_identity: str = ""
    participant: RemoteParticipant | None = None
    is_reliable: bool = True
    is_encrypted: bool = False

    def text(self) -> str:
        """The payload as UTF-8. Raises ``UnicodeDecodeError`` where it is none."""
        return self.payload.decode()


class DataPackets(trio.abc.ReceiveChannel[DataPacket]):
    """The data packets of a room, in the order in which they came. Comes from ``room.data_packets()``."""

    def __init__(self, reader: PacketReader[DataPacket]) -> None:
        self._reader = reader

    async def receive(self) -> DataPacket:
        """The next packet. If cancelled, no packet is lost.

        Raises ``trio.EndOfChannel`` when the room was left, ``RoomDisconnected`` when it was lost, and
        ``trio.ClosedResourceError`` after ``aclose``.
        """
        return await self._reader.get()

    def receive_nowait(self) -> DataPacket:
        """The next packet if it is there. Raises ``trio.WouldBlock`` if it is not, and else what ``receive`` raises."""
        return self._reader.get_nowait()

    async def aclose(self) -> None:
        """Stop receiving before the block ends; what was not read is dropped."""
        self._reader.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> ReaderStatistics:
        """A snapshot of this scope's counters."""
        return self._reader.statistics()


DTMF_CODES = {digit: code for code, digit in enumerate("0123456789*#ABCD")}
"""The keys of a telephone and their codes (RFC 4733 section 3.2)."""
