"""What clients send on their data channels, passed on to the others: track packets, and user packets.

Track packets are the hot path: the header is checked, the handle looked up once, and each subscriber gets the packet
with its own handle in bytes 2 and 3. Nothing is reordered, repeated or paced. A subscriber that falls behind loses
whole frames where possible: a frame is only begun while little is waiting for it, and a frame that lost one packet is
not continued.

Reliable packets are not lost but hold up whoever sends them: while a receiver is too far behind, what its senders sent
goes on occupying the SCTP windows they send into (``Uplink``), so that they stop when these are full.
"""

from __future__ import annotations

__all__ = ["ChannelSender", "Downlink", "Forwarder", "Uplink"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .._sansio.tracks.packet import BASE_HEADER_BYTES, FINAL, START, PacketError, decode
from .._wire.packets import stamp_packet, wrap_raw
from ..errors import DecodeError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .limits import Limits
    from .participant import Participant, Track
    from .room import Room

_RESERVED = 0x03
_EXTENSIONS = 0x04
_VERSION_SHIFT = 5

_WINDOW_STEP = 64 << 10
"""Window is given back in portions of this many bytes, not message by message."""

_UNSENDABLE = (TransportError, ValueError)
"""What sending raises on a channel that is closing, and for a message that is more than the client takes."""


class ChannelSender(Protocol):
    """What forwarding needs of a peer connection."""

    def send(self, channel_id: int, data: bytes) -> None: ...

    def buffered_amount(self, channel_id: int) -> int: ...

    def set_low_water(self, channel_id: int, size: int) -> None: ...


class Uplink:
    """What the reliable messages of one connection occupy of the window that its client sends into."""

    __slots__ = ("_consume", "_holders", "_owed")

    def __init__(self, consume: Callable[[int], None]) -> None:
        self._consume = consume
        self._owed = 0
        self._holders: set[Downlink] = set()

    @property
    def is_held(self) -> bool:
        """Whether some receiver is too far behind for more."""
        return bool(self._holders)

    def took(self, size: int) -> None:
        """A message of ``size`` bytes was dealt with: its room in the window is free, unless a receiver is behind."""
        self._owed += size
        if self._owed >= _WINDOW_STEP and not self._holders:
            self._pay()

    def hold(self, downlink: Downlink) -> None:
        """Give nothing back until this receiver, too, releases it."""
        self._holders.add(downlink)

    def release(self, downlink: Downlink) -> None:
        self._holders.discard(downlink)
        if not self._holders:
            self._pay()

    def _pay(self) -> None:
        owed, self._owed = self._owed, 0
        self._consume(owed)


class Downlink:
    """The open channels towards one client; an identifier is ``None`` while its channel is not open."""

    __slots__ = (
        "_acknowledged",
        "_early",
        "_early_bytes",
        "_given_up",
        "_held",
        "_limits",
        "_progress_at",
        "_sent",
        "data_track",
        "lossy",
        "peer",
        "reliable",
    )

    def __init__(self, limits: Limits) -> None:
        self.peer: ChannelSender  # set, and looked at, once a channel is open
        self.data_track: int | None = None
        self.lossy: int | None = None
        self.reliable: int | None = None
        self._limits = limits
        self._early: list[bytes] = []
        self._early_bytes = 0
        self._held: set[Uplink] = set()
        self._given_up = False
        self._sent = 0
        self._acknowledged = 0
        self._progress_at: float | None = None  # when a sender was first seen to wait, or the client to take something

    def channel_opened(self, peer: ChannelSender, label: str, channel_id: int) -> None:
        """A channel can be sent on; whatever waited for it goes out."""
        self.peer = peer
        if label == "_data_track":
            self.data_track = channel_id
        elif label == "_lossy":
            self.lossy = channel_id
        elif label == "_reliable":
            self.reliable = channel_id
            peer.set_low_water(channel_id, self._limits.reliable_bytes // 2)
            early, self._early = self._early, []
            self._early_bytes = 0
            for packet in early:
                self.send_packet(packet, reliable=True)

    def detach(self) -> None:
        """The connection is gone, and all its channels with it."""
        self.data_track = self.lossy = self.reliable = None
        self._release()

    def channel_closed(self, channel_id: int) -> None:
        """A channel is gone."""
        if channel_id == self.data_track:
            self.data_track = None
        elif channel_id == self.lossy:
            self.lossy = None
        elif channel_id == self.reliable:
            self.reliable = None
            self._release()

    def channel_drained(self, channel_id: int) -> None:
        """A channel's buffer fell to its low water mark: those who were held up may go on."""
        if channel_id == self.reliable:
            self._release()

    def check_progress(self, now: float) -> None:
        """To be called now and then: give the client up if it holds others up, and takes nothing for too long."""
        if not self._held or self.reliable is None:
            self._progress_at = None
            return
        acknowledged = self._sent - self.peer.buffered_amount(self.reliable)
        if self._progress_at is None or acknowledged > self._acknowledged:
            self._progress_at, self._acknowledged = now, acknowledged
        elif now - self._progress_at >= self._limits.reliable_stall_s:
            self._release()
            self._given_up = True

    def send_packet(
        self, packet: bytes, *, reliable: bool, numbered: bool = False, uplink: Uplink | None = None
    ) -> bool:
        """Send a user packet; False if it was dropped, because the client is too far behind or not there yet.

        A reliable packet that has a number is kept for a client that is not there yet, as LiveKit servers do.
        ``uplink`` is what a reliable packet came on: it is held if the client is behind.
        """
        channel_id = self.reliable if reliable else self.lossy
        if channel_id is None:
            return reliable and numbered and self._keep(packet)
        buffered = self.peer.buffered_amount(channel_id)
        if not reliable:
            if buffered > self._limits.downlink_start_bytes:
                return False
        elif buffered > self._limits.reliable_bytes:
            if self._given_up or buffered > self._limits.reliable_limit_bytes:
                return False
            if uplink is not None:
                self._held.add(uplink)
                uplink.hold(self)
        try:
            self.peer.send(channel_id, packet)
        except _UNSENDABLE:
            return False
        if reliable:
            self._sent += len(packet)
        return True

    def _release(self) -> None:
        self._given_up = False
        self._progress_at = None
        held, self._held = self._held, set()
        for uplink in held:
            uplink.release(self)

    def _keep(self, packet: bytes) -> bool:
        if self._early_bytes + len(packet) > self._limits.early_bytes:
            return False
        self._early_bytes += len(packet)
        self._early.append(packet)
        return True


@dataclass(slots=True)
class ForwardingCounters:
    """What one server forwarded, and what it did not."""

    track_packets_received: int = 0
    track_packets_forwarded: int = 0
    track_packets_dropped: int = 0
    """Copies that a subscriber did not get, because it was behind or its channel not open."""

    user_packets_received: int = 0
    user_packets_forwarded: int = 0
    user_packets_dropped: int = 0
    """Copies that a client did not get: lossy ones, and reliable ones to who is not there or took nothing for long."""

    bad_packets: int = 0
    """Messages that are malformed, too large, on behalf of no track, repeated, or not permitted."""


class Forwarder:
    """Passes packets on, and counts."""

    def __init__(self, limits: Limits) -> None:
        self.counters = ForwardingCounters()
        self._limits = limits

    def track_packet(self, publisher: Participant, data: bytes) -> None:
        """One message that ``publisher`` sent on its ``_data_track`` channel."""
        track = self._track_of(publisher, data)
        if track is None:
            self.counters.bad_packets += 1
            return
        self.counters.track_packets_received += 1
        if track.subscriptions:
            self._fan_out(track, data)

    def _track_of(self, publisher: Participant, data: bytes) -> Track | None:
        """The track of a well-formed packet, else ``None``."""
        if not BASE_HEADER_BYTES <= len(data) <= self._limits.packet_bytes or data[0] >> _VERSION_SHIFT:
            return None
        if data[0] & _EXTENSIONS:
            try:
                decode(data)
            except PacketError:
                return None
        return publisher.tracks.get(data[2] << 8 | data[3])

    def _fan_out(self, track: Track, data: bytes) -> None:
        first = data[0]
        starts = first & START
        frame = data[6] << 8 | data[7]
        bound = self._limits.downlink_start_bytes if starts else self._limits.downlink_bytes
        head = bytes((first & ~_RESERVED, 0))
        tail = memoryview(data)[4:]
        forwarded = dropped = 0
        for subscription in track.subscriptions:
            downlink = subscription.subscriber.downlink
            if downlink is None or (channel_id := downlink.data_track) is None:
                dropped += 1
                continue
            if starts:
                subscription.dropping = -1
            peer = downlink.peer
            if subscription.dropping == frame or peer.buffered_amount(channel_id) > bound:
                if subscription.dropping != frame:
                    subscription.frames_dropped += 1
                    # A final packet ends its frame: nothing of it is left to be dropped.
                    subscription.dropping = -1 if first & FINAL else frame
                subscription.packets_dropped += 1
                dropped += 1
                continue
            try:
                peer.send(channel_id, b"".join((head, subscription.wire_handle, tail)))
            except _UNSENDABLE:
                subscription.packets_dropped += 1
                dropped += 1
                continue
            subscription.packets_forwarded += 1
            forwarded += 1
        self.counters.track_packets_forwarded += forwarded
        self.counters.track_packets_dropped += dropped

    def user_packet(self, room: Room, sender: Participant, data: bytes, *, reliable: bool) -> None:
        """One message that ``sender`` sent on its ``_reliable`` or ``_lossy`` channel."""
        self.counters.user_packets_received += 1
        if not sender.permission.can_publish_data or len(data) > self._limits.packet_bytes:
            self.counters.bad_packets += 1
            return
        identity = "" if sender.permission.hidden else sender.identity
        try:
            packet = stamp_packet(data, identity=identity, sid=sender.sid, reliable=reliable)
        except DecodeError:
            self.counters.bad_packets += 1
            return
        if reliable and packet.sequence:
            if packet.sequence <= sender.last_sequence:  # a repeat after a resume
                self.counters.bad_packets += 1
                return
            sender.last_sequence = packet.sequence
        if not packet.forwardable(sender.kind):
            return
        if room.nonces.is_repeat(packet.nonce):  # the same message, perhaps in another session of its sender
            self.counters.bad_packets += 1
            return
        receivers = _receivers(room, packet.destination_identities, packet.destination_sids)
        self._send(packet.data, sender, receivers, reliable=reliable, numbered=packet.sequence > 0)

    def raw_message(self, room: Room, sender: Participant, data: bytes) -> None:
        """One message on a channel of some other label: it travels as the payload of a reliable user packet."""
        identity = "" if sender.permission.hidden else sender.identity
        if sender.permission.can_publish_data and len(data) <= self._limits.packet_bytes:
            self._send(wrap_raw(data, identity=identity), sender, room.members.values(), reliable=True)

    def server_packet(self, receivers: Iterable[Participant], data: bytes, *, reliable: bool) -> None:
        """One packet of the server's own."""
        self._send(data, None, receivers, reliable=reliable)

    def _send(
        self,
        data: bytes,
        sender: Participant | None,
        receivers: Iterable[Participant],
        *,
        reliable: bool,
        numbered: bool = False,
    ) -> None:
        uplink = sender.uplink if sender is not None else None
        for receiver in receivers:
            if receiver is sender:
                continue
            downlink = receiver.downlink
            if downlink is not None and downlink.send_packet(data, reliable=reliable, numbered=numbered, uplink=uplink):
                self.counters.user_packets_forwarded += 1
            else:
                self.counters.user_packets_dropped += 1


def _receivers(room: Room, identities: tuple[str, ...], sids: tuple[str, ...]) -> Iterable[Participant]:
    """Whom a packet is for: those named, or everyone if nobody is."""
    if identities:
        return [room.members[identity] for identity in dict.fromkeys(identities) if identity in room.members]
    if sids:
        wanted = frozenset(sids)
        return [member for member in room.members.values() if member.sid in wanted]
    return room.members.values()
