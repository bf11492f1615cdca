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
    "MessagingRoom",
    "OnFullReconnect",
    "PacketStatistics",
    "ReaderStatistics",
    "Receipt",
    "Transcription",
    "TranscriptionSegment",
]

import operator
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, overload
from uuid import uuid4

import trio

from ._room_part import DEFAULT_RECIPIENTS_WITHIN_S, RoomPart, check_seconds, names_of
from ._sansio.neglect import NOT_READ_S
from ._sansio.packets.filters import NONCE_BYTES
from ._sansio.packets.messages import ChatMessage, SipDtmf, Transcription, TranscriptionSegment, UserPacket
from ._session.packet_events import PacketStatistics
from ._session.receipts import OnFullReconnect, Receipt
from ._session.user_packets import PacketReader, ReaderStatistics
from .data_tracks import now_ms, shortened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ._sansio.packets.messages import DataPacket as SessionPacket
    from ._session.packets import Packets
    from .participants import RemoteParticipant

DEFAULT_PACKET_BUFFER = 256

DTMF_CODES = {digit: code for code, digit in enumerate("0123456789*#ABCD")}
"""The keys of a telephone and their codes (RFC 4733 section 3.2)."""


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

    def __repr__(self) -> str:
        sender, kind = self.sender_identity, "reliable" if self.is_reliable else "lossy"
        return f"<DataPacket {self.topic!r} from {sender!r}, {kind}: {shortened(self.payload)}>"

    def text(self) -> str:
        """The payload as UTF-8. Raises ``UnicodeDecodeError`` where it is none."""
        return self.payload.decode()


class DataPackets(trio.abc.ReceiveChannel[DataPacket]):
    """The data packets of a room, in the order in which they came. Comes from ``room.data_packets()``."""

    def __init__(self, reader: PacketReader[DataPacket]) -> None:
        self._reader = reader

    async def receive(self) -> DataPacket:
        """The next packet. If cancelled, no packet is lost.

        Raises ``trio.EndOfChannel`` when the room was left, ``RoomDisconnected`` when it was lost, ``NotRead`` when it
        was not read for too long, and ``trio.ClosedResourceError`` after ``aclose``.
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


def _as_bytes(payload: str | bytes | bytearray | memoryview) -> bytes:
    if isinstance(payload, str):
        return payload.encode()
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    raise TypeError(f"a payload is a str or bytes, not {type(payload).__name__}")


class MessagingRoom(RoomPart):
    """What ``Room`` can do with data packets."""

    @overload
    async def publish_data(
        self,
        payload: bytes | bytearray | memoryview | str,
        *,
        reliable: Literal[True] = True,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
        on_full_reconnect: OnFullReconnect = "resend",
    ) -> Receipt: ...

    @overload
    async def publish_data(
        self,
        payload: bytes | bytearray | memoryview | str,
        *,
        reliable: bool,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
        on_full_reconnect: OnFullReconnect = "resend",
    ) -> Receipt | None: ...

    async def publish_data(
        self,
        payload: bytes | bytearray | memoryview | str,
        *,
        reliable: bool = True,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        recipients_within: float | None = DEFAULT_RECIPIENTS_WITHIN_S,
        on_full_reconnect: OnFullReconnect = "resend",
    ) -> Receipt | None:
        """Send a data packet to those named, or to everyone else in the room.

        A reliable packet waits while the network does not take it, or while the room is reconnecting, and leaves in
        the order of the calls; the receipt says what becomes of it. A lossy one never waits: if nothing of it has left
        0.3 s later it is dropped, and counted in ``room.stats()``; there is no receipt. A call that is cancelled has
        sent nothing.

        Args:
            payload: up to about 63,900 bytes; text is sent as UTF-8.
            reliable: whether it is to arrive, or to be fresh.
            topic: what the packet is about, for readers to choose by.
            destination_identities: for whom it is; nobody named is everybody.
            recipients_within: seconds to wait for those named in a reliable packet who are not in the room, for the
                server tells of some 3 seconds after they joined; ``None`` to send to whoever of them is there, and to
                hidden participants.
            on_full_reconnect: what becomes of a packet that the server may or may not have when the connection is lost
                and another session takes its place: ``"resend"`` it there, once those it was for are back or after 5
                seconds, or have the receipt ``"fail"``. A repeat is known by its nonce: servers drop it while they have
                not seen a hundred others in the room, and clients of this package for a minute.

        Raises:
            PublishDataError: nothing was sent; its ``reason`` says why. ``PayloadTooLarge`` and ``RecipientNotFound``
                are kinds of it.
            MissingKey: nothing was sent, as the room has end-to-end encryption and there is no key to encrypt with.
            RoomDisconnected: nothing was sent, as the room was lost. ``trio.ClosedResourceError``: it was left.
        """
        names = names_of(destination_identities)
        packets = self._packets()
        data = _as_bytes(payload)
        if not isinstance(topic, str):
            raise TypeError(f"a topic is a str, not {type(topic).__name__}")
        if on_full_reconnect not in ("resend", "fail"):
            raise ValueError(f"on_full_reconnect is 'resend' or 'fail', not {on_full_reconnect!r}")
        if not reliable:
            await trio.lowlevel.checkpoint_if_cancelled()
            packets.send_lossy(UserPacket(data, topic), names)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return None
        if names and recipients_within is not None:
            await packets.wait_present(names, recipients_within)
        return await packets.send_reliable(
            UserPacket(data, topic, os.urandom(NONCE_BYTES)), names, on_full_reconnect=on_full_reconnect
        )

    @asynccontextmanager
    async def data_packets(
        self,
        topic: str | None = None,
        *,
        sender_identity: str | None = None,
        buffer_size: int = DEFAULT_PACKET_BUFFER,
        unread_timeout: float = NOT_READ_S,
    ) -> AsyncIterator[DataPackets]:
        """Read the data packets of others, from now until the block ends; within a second of joining, from the join on.

        ``topic`` and ``sender_identity`` choose which. Of lossy packets that wait to be read the newest ``buffer_size``
        are kept, and the others counted. Reliable ones are all kept: when some 4 MB wait, in all scopes together, the
        server is held up, and with it everything else that it sends here. So read them, or leave the block. A scope
        from which nobody reads for ``unread_timeout`` seconds, while 2 MB of packets wait, is ended with ``NotRead``;
        a warning names it before.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost;
        ``ValueError`` for a buffer of no packets.
        """
        if operator.index(buffer_size) < 1:
            raise ValueError("buffer_size is a number of packets, at least 1")
        check_seconds(unread_timeout=unread_timeout)
        self._check_open()
        user_packets = self._session.user_packets

        def wants(packet: SessionPacket) -> bool:
            value = packet.value
            assert isinstance(value, UserPacket)
            return (topic is None or value.topic == topic) and sender_identity in (None, packet.participant_identity)

        chosen = "" if topic is None else f" of topic {topic!r}"
        chosen += "" if sender_identity is None else f" of {sender_identity!r}"
        reader = PacketReader(
            buffer_size, wants, self._data_packet, name=f"data packets{chosen}", patience_s=unread_timeout
        )
        user_packets.open(reader)
        try:
            await trio.lowlevel.checkpoint()
            yield DataPackets(reader)
        finally:
            user_packets.close(reader)

    async def publish_dtmf(self, code: int, digit: str, destination_identities: Sequence[str] = ()) -> Receipt:
        """Press a key of a telephone, for a participant that is one: 0 to 9 are themselves, 10 to 15 are ``*#ABCD``.

        Waits and raises as ``publish_data`` does, and ``ValueError`` where code and digit are no key.
        """
        if DTMF_CODES.get(digit) != code:
            raise ValueError(f"no key has the code {code} and the digit {digit!r}")
        return await self._packets().send_reliable(SipDtmf(code, digit), names_of(destination_identities))

    async def publish_transcription(self, transcription: Transcription) -> Receipt:
        """Send speech as text to everyone else. A server passes it on where this participant is an agent."""
        return await self._packets().send_reliable(transcription)

    async def send_chat_message(self, text: str, destination_identities: Sequence[str] = ()) -> ChatMessage:
        """Say something in the chat. Returns it as the others get it; waits and raises as ``publish_data`` does."""
        return await self._send_chat(ChatMessage(str(uuid4()), now_ms(), text), destination_identities)

    async def edit_chat_message(
        self, original: ChatMessage, text: str, destination_identities: Sequence[str] = ()
    ) -> ChatMessage:
        """Say it differently. Returns the edited message; waits and raises as ``publish_data`` does."""
        return await self._send_chat(replace(original, message=text, edit_timestamp=now_ms()), destination_identities)

    def packet_statistics(self) -> PacketStatistics:
        """A snapshot: data packets of every kind that were sent, received, repeated and dropped."""
        return self._session.packets.statistics()

    async def _send_chat(self, message: ChatMessage, destination_identities: Sequence[str]) -> ChatMessage:
        names = names_of(destination_identities)
        await self._packets().send_reliable(message, names, on_full_reconnect="resend")
        return message

    def _packets(self) -> Packets:
        self._check_open()
        return self._session.packets

    def _data_packet(self, packet: SessionPacket, is_reliable: bool) -> DataPacket:
        value, identity = packet.value, packet.participant_identity
        assert isinstance(value, UserPacket)
        sender = self._view.participants.get(identity)
        return DataPacket(value.payload, value.topic, identity, sender, is_reliable, packet.is_encrypted)
