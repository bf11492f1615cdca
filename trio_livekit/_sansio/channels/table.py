"""All data channels of one association: ids, opening, reliability, closing (RFC 8831, RFC 8832).

| PPID   | payload                                                            |
|--------|--------------------------------------------------------------------|
| 50     | DCEP                                                               |
| 51, 56 | text, and the empty text as one byte that is ignored               |
| 53, 57 | binary, and the empty binary likewise                              |
"""

from __future__ import annotations

__all__ = ["ChannelConfig", "DataChannels"]

from typing import TYPE_CHECKING

from ...errors import DecodeError, TransportError
from ..dtls.roles import Role
from ..records import dataclass
from ..sctp import events as sctp
from .channel import Channel, ChannelState
from .dcep import ACK, MESSAGE_ACK, MESSAGE_OPEN, Open, decode_open, encode_open
from .events import BufferedAmountLow, ChannelClosed, ChannelOpened, Event, MessageReceived

if TYPE_CHECKING:
    from ..sctp.association import Association
    from ..sctp.statistics import Statistics

PPID_DCEP, PPID_TEXT, PPID_BINARY, PPID_EMPTY_TEXT, PPID_EMPTY_BINARY = 50, 51, 53, 56, 57
TEXT_PPIDS = frozenset({PPID_TEXT, PPID_EMPTY_TEXT})
EMPTY_PPIDS = frozenset({PPID_EMPTY_TEXT, PPID_EMPTY_BINARY})

FIRST_ILLEGAL_ID = 65534
RELIABLE_WEIGHT = 512
"""A reliable channel's share of the turns is twice a lossy one's: what may be lost may also wait."""

_new_message = tuple.__new__  # three times as fast as MessageReceived(...)


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """Limits on what a peer may make us keep; sizes are bytes."""

    max_channels: int = 256
    max_label: int = 1024
    max_early_bytes: int = 64 * 1024
    """Data that came ahead of its channel's OPEN."""
    low_water: int = 256 * 1024
    """Default for ``BufferedAmountLow``."""


DEFAULT_CONFIG = ChannelConfig()


class DataChannels:
    """The channels of one association, which this object owns. Has the common surface of a core."""

    def __init__(
        self, association: Association, *, dtls_role: Role, config: ChannelConfig = DEFAULT_CONFIG
    ) -> None:  # fmt: skip
        self.association = association
        self._manual_window = association.manual_window
        self._config = config
        self._first_id = 0 if dtls_role is Role.CLIENT else 1  # RFC 8832 section 6
        self._channels: dict[int, Channel] = {}
        self._events: list[Event] = []
        self._early: dict[int, list[sctp.MessageReceived]] = {}
        self._early_bytes = 0
        self._close_when_up: list[int] = []
        self._up = False
        self._now = 0.0
        self.refused = 0
        """OPENs that were not acceptable."""

    # What the application does

    def open(
        self, label: str, *, now: float, ordered: bool = True, max_retransmits: int | None = None,
        lifetime_ms: int | None = None, protocol: str = "",
    ) -> int:  # fmt: skip
        """Open a channel and return its id. Data may be sent on it at once, even before the association is up.

        Raises ``ValueError`` for what DCEP cannot say, ``TransportError`` when no id is free or the association ended.
        """
        open_ = Open(label, protocol, ordered, max_retransmits, lifetime_ms)
        message = encode_open(open_)
        channel_id = self._free_id()
        channel = Channel(channel_id, open_, ChannelState.OPENING, remote=False)
        self._add(channel)
        self.association.send(channel_id, PPID_DCEP, message, now=now)
        return channel_id

    def send(
        self, channel_id: int, data: bytes, *, text: bool = False, now: float, lifetime_s: float | None = None,
        more: bool = False,
    ) -> None:  # fmt: skip
        """Queue one message; `text` says that it is UTF-8 to be delivered as a string.

        `lifetime_s`, if not that of the channel, and `more` are those of ``Association.send``.

        Raises ``ValueError`` when it is above the peer's maximum, ``TransportError`` when the channel is not open.
        """
        channel = self._channels.get(channel_id)
        if channel is None or channel.state is ChannelState.CLOSING or channel.state is ChannelState.REFUSED:
            raise TransportError(f"channel {channel_id} is not open")
        if data:
            ppid = PPID_TEXT if text else PPID_BINARY
        else:
            ppid = PPID_EMPTY_TEXT if text else PPID_EMPTY_BINARY
            data = b"\0"
        self.association.send(
            channel_id, ppid, data, now=now, ordered=channel.ordered, max_retransmits=channel.open.max_retransmits,
            lifetime_s=channel.lifetime_s if lifetime_s is None else lifetime_s, more=more,
        )  # fmt: skip

    def close(self, channel_id: int, now: float) -> None:
        """Close a channel once what it has queued is acknowledged; ``ChannelClosed`` follows. Twice is quiet."""
        channel = self._channels.get(channel_id)
        if channel is None or channel.state in (ChannelState.CLOSING, ChannelState.REFUSED):
            return
        channel.state = ChannelState.CLOSING
        self._reset(channel_id, now)

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes of the channel that are neither acknowledged nor given up."""
        return self.association.buffered_amount(channel_id)

    def withdraw(self, channel_id: int) -> list[bytes]:
        """Take back the messages of a channel of which nothing has been sent, in order."""
        return self.association.withdraw(channel_id)

    def set_low_water(self, channel_id: int, size: int) -> None:
        """Report ``BufferedAmountLow`` when the channel's buffered amount falls to `size` from above."""
        self.association.set_low_water(channel_id, size)

    def consume(self, size: int) -> None:
        """The application is done with `size` bytes of reliable messages (``sctp.Config.manual_window``)."""
        self.association.consume(size)

    def on_path_recovered(self, now: float, *, round_trip_s: float | None = None) -> None:
        """The path carries again, or it is another one: send at once what is missing."""
        self.association.on_path_recovered(now, round_trip_s=round_trip_s)

    def abort(self, now: float, reason: str = "") -> None:
        """End the association at once; the peer is told."""
        self.association.abort(now, reason)

    def statistics(self) -> Statistics:
        """A frozen look at the association."""
        return self.association.statistics()

    # The common surface of a core

    def connect(self, now: float, *, round_trip_s: float | None = None) -> None:
        """Begin the association's handshake."""
        self.association.connect(now, round_trip_s=round_trip_s)

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take one SCTP packet."""
        self.receive_datagrams([data], now)

    def receive_datagrams(self, packets: list[bytes], now: float) -> None:
        """Take SCTP packets that arrived together."""
        self._now = now
        self.association.receive_datagrams(packets, now)

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """The packets that may leave now."""
        self._now = now
        if self.association.has_events:
            self._take_events(now)  # it may answer an OPEN, and the answer should leave now
        return self.association.datagrams_to_send(now)

    def handle_timeout(self, now: float) -> None:
        """Act on the timers that have run out."""
        self._now = now
        self.association.handle_timeout(now)

    def next_timeout(self) -> float | None:
        """When to call ``handle_timeout`` and then ``datagrams_to_send``."""
        return self.association.next_timeout()

    def poll_events(self) -> list[Event]:
        """What happened since the last call, in order."""
        self._take_events(self._now)
        events, self._events = self._events, []
        return events

    # What the association reports

    def _take_events(self, now: float) -> None:
        channels, append, manual_window = self._channels, self._events.append, self._manual_window
        done = 0  # bytes of lossy messages: only reliable ones hold the peer back
        for event in self.association.poll_events():
            if event.__class__ is not sctp.MessageReceived:
                self._on_event(event, now)
                continue
            stream_id, ppid, data = event
            channel = channels.get(stream_id)
            if channel is None or channel.state is not ChannelState.OPEN or ppid not in (PPID_TEXT, PPID_BINARY):
                self._on_unusual_message(event, channel, now)
            else:
                append(_new_message(MessageReceived, (stream_id, data, ppid == PPID_TEXT)))
                if manual_window and not channel.reliable:
                    done += len(data)
        if done:
            self.association.consume(done)

    def _on_event(self, event: sctp.Event, now: float) -> None:
        if isinstance(event, sctp.StreamsReset):
            self._on_streams_reset(event, now)
        elif isinstance(event, sctp.BufferedAmountLow):
            self._events.append(BufferedAmountLow(event.stream_id))
        elif isinstance(event, sctp.AssociationUp):
            self._up = True
            self._events.append(event)
            for channel_id in self._close_when_up:
                self.association.reset_streams([channel_id], now)
            self._close_when_up.clear()
        elif isinstance(event, sctp.AssociationRestarted):
            self._drop_all()
        elif isinstance(event, sctp.AssociationLost):
            self._drop_all()
            self._events.append(event)

    def _on_unusual_message(self, message: sctp.MessageReceived, channel: Channel | None, now: float) -> None:
        """DCEP, data before its OPEN or before our ACK came, empty messages, and what nobody waits for."""
        stream_id, ppid, data = message
        if ppid == PPID_DCEP:
            self._on_dcep(stream_id, data, channel, now)
        elif ppid not in (PPID_TEXT, PPID_BINARY) and ppid not in EMPTY_PPIDS:
            pass  # the deprecated partial messages, and protocols that are not data channels
        elif channel is None:
            self._keep_early(message)
        elif channel.state is ChannelState.OPENING or channel.state is ChannelState.OPEN:
            self._confirm(channel)
            content = b"" if ppid in EMPTY_PPIDS else data
            self._events.append(MessageReceived(stream_id, content, ppid in TEXT_PPIDS))
            if channel.reliable:
                self.association.consume(len(data) - len(content))
                return
        self.association.consume(len(data))

    # Opening

    def _on_dcep(self, stream_id: int, data: bytes, channel: Channel | None, now: float) -> None:
        if data[0] == MESSAGE_ACK:
            if channel is not None:
                self._confirm(channel)
        elif data[0] == MESSAGE_OPEN:
            if channel is not None and channel.state is ChannelState.CLOSING and channel.incoming_done:
                self._finish(channel)  # the peer reuses the id, so it has seen our reset; only its answer is late
                channel = None
            open_ = self._acceptable(stream_id, data, channel)
            if open_ is None:
                self._refuse(stream_id, channel, now)
            else:
                self._accept(stream_id, open_, now)

    def _acceptable(self, stream_id: int, data: bytes, channel: Channel | None) -> Open | None:
        """What the OPEN asks for, unless it must be refused."""
        if channel is not None or stream_id >= FIRST_ILLEGAL_ID or stream_id % 2 == self._first_id:
            return None
        if len(self._channels) >= self._config.max_channels:
            return None
        try:
            open_ = decode_open(data)
        except DecodeError:
            return None
        return open_ if max(len(open_.label), len(open_.protocol)) <= self._config.max_label else None

    def _accept(self, stream_id: int, open_: Open, now: float) -> None:
        channel = Channel(stream_id, open_, ChannelState.OPEN, remote=True)
        self._add(channel)
        self.association.send(stream_id, PPID_DCEP, ACK, now=now)
        self._events.append(_opened(channel))
        early = self._early.pop(stream_id, [])
        for message in early:
            self._early_bytes -= len(message.data)
            self._on_unusual_message(message, channel, now)

    def _refuse(self, stream_id: int, channel: Channel | None, now: float) -> None:
        """Close the offending stream, and no other."""
        self.refused += 1
        if channel is not None:
            self.close(stream_id, now)
        elif stream_id < FIRST_ILLEGAL_ID and len(self._channels) < 2 * self._config.max_channels:
            self._channels[stream_id] = Channel(stream_id, Open(""), ChannelState.REFUSED, remote=True)
            self._reset(stream_id, now)
        for message in self._early.pop(stream_id, []):
            self._early_bytes -= len(message.data)

    def _confirm(self, channel: Channel) -> None:
        """The peer has our OPEN: it says so, or it uses the channel."""
        if channel.state is ChannelState.OPENING:
            channel.state = ChannelState.OPEN
            channel.ordered = channel.open.ordered
            self._events.append(_opened(channel))

    def _keep_early(self, message: sctp.MessageReceived) -> None:
        if message.stream_id % 2 == self._first_id or message.stream_id >= FIRST_ILLEGAL_ID:
            return  # the peer cannot open a channel there
        if self._early_bytes + len(message.data) <= self._config.max_early_bytes:
            self._early_bytes += len(message.data)
            self._early.setdefault(message.stream_id, []).append(message)

    def _free_id(self) -> int:
        for channel_id in range(self._first_id, FIRST_ILLEGAL_ID, 2):
            if channel_id not in self._channels:
                if len(self._channels) >= 2 * self._config.max_channels:
                    break
                return channel_id
        raise TransportError("no free data channel id")

    def _add(self, channel: Channel) -> None:
        self._channels[channel.id] = channel
        self.association.set_low_water(channel.id, self._config.low_water)
        if channel.reliable:
            self.association.set_weight(channel.id, RELIABLE_WEIGHT)

    # Closing

    def _reset(self, channel_id: int, now: float) -> None:
        if self._up:
            self.association.reset_streams([channel_id], now)
        else:
            self._close_when_up.append(channel_id)

    def _on_streams_reset(self, event: sctp.StreamsReset, now: float) -> None:
        for stream_id in event.stream_ids or tuple(self._channels):
            channel = self._channels.get(stream_id)
            if channel is None:
                continue
            if event.incoming:
                channel.incoming_done = True
                self.close(stream_id, now)  # the peer closes: so do we
            elif channel.state in (ChannelState.CLOSING, ChannelState.REFUSED):
                channel.outgoing_done = True
            if channel.incoming_done and channel.outgoing_done:
                self._finish(channel)

    def _finish(self, channel: Channel) -> None:
        del self._channels[channel.id]
        if channel.state is not ChannelState.REFUSED:
            self._events.append(ChannelClosed(channel.id))

    def _drop_all(self) -> None:
        for channel in self._channels.values():
            if channel.state is not ChannelState.REFUSED:
                self._events.append(ChannelClosed(channel.id))
        self._channels.clear()
        self._early.clear()
        self._early_bytes = 0


def _opened(channel: Channel) -> ChannelOpened:
    open_ = channel.open
    return ChannelOpened(
        channel.id, open_.label, open_.protocol, open_.ordered, open_.max_retransmits, open_.lifetime_ms, channel.remote
    )
