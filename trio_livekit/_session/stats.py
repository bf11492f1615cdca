"""How a room is doing: one frozen snapshot of everything that is counted, made when somebody asks."""

from __future__ import annotations

__all__ = ["ChannelStats", "Retired", "RoomStats", "SignalStats", "TrackStats", "TransportStats", "transport_stats"]

import dataclasses
from typing import TYPE_CHECKING, Generic, TypeVar

from .._sansio.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._sansio.peer import PeerStatistics
    from .._transport.datagrams import EndpointStatistics
    from .packet_events import PacketStatistics
    from .publishing import PublicationStatistics

K = TypeVar("K")
S = TypeVar("S")

_MAX_RETIRED = 256
"""Keys of what has ended whose counts are remembered."""


@dataclass(frozen=True, slots=True)
class SignalStats:
    """The signal connection. Counters run from the start of the session, over all websockets that it had.

    Attributes:
        rtt_s: of the last ping, in seconds; ``None`` before it is answered.
        sent: requests.
        received: responses that were understood, or are of kinds that nothing here depends on.
        malformed: messages that did not parse, and were ignored.
    """

    rtt_s: float | None
    sent: int
    received: int
    malformed: int


@dataclass(frozen=True, slots=True)
class TransportStats:
    """One peer connection. Counters run from the start of the session; sizes are bytes, times seconds.

    Attributes:
        direction: ``"both"``, or on older servers ``"send"`` and ``"receive"``.
        state: of the path: ``new``, ``checking``, ``connected``, ``disconnected``, ``failed``, ``closed``.
        protocol: of the path in use: ``"udp"`` or ``"tcp"``, empty while there is none.
        local_kind: what our end of the path is: ``host``, ``srflx`` (behind a NAT), ``prflx``, ``relay`` (TURN).
        remote_kind: what the server's end is.
        path_rtt_s: of the checks that keep the path open.
        srtt_s: smoothed, of data and its acknowledgements; ``None`` before there were any.
        min_rtt_s: the least of them.
        rto_s: after how long without an acknowledgement data is sent again.
        cwnd: bytes that may be under way.
        in_flight: bytes that are.
        buffered: bytes given to the connection and not acknowledged: under way, or waiting.
        mtu: the largest packet that the path is known to carry.
        peer_window: bytes that the server is ready to take.
        retransmits: chunks sent again because they were thought to be lost.
        timeouts: times that nothing at all was acknowledged for ``rto_s``.
        abandoned_messages: lossy messages that were lost, or given up before they were sent.
        datagrams_sent: on the UDP sockets.
        datagrams_received: on the UDP sockets.
        datagrams_refused: that the kernel would not send.
        rejected_checks: of connectivity: malformed, not authentic, or answers to nothing that was asked.
        rejected_records: of DTLS: malformed, forged or repeated.
        rejected_packets: of SCTP: malformed, or of another association.
        rejected_chunks: of data: repeated, or far ahead.
    """

    direction: str
    state: str
    protocol: str
    local_kind: str
    remote_kind: str
    path_rtt_s: float | None
    srtt_s: float | None
    min_rtt_s: float | None
    rto_s: float
    cwnd: int
    in_flight: int
    buffered: int
    mtu: int
    peer_window: int
    retransmits: int
    timeouts: int
    abandoned_messages: int
    datagrams_sent: int
    datagrams_received: int
    datagrams_refused: int
    rejected_checks: int
    rejected_records: int
    rejected_packets: int
    rejected_chunks: int


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """One data channel, both directions. Counters run from the start of the session.

    Attributes:
        messages_sent: handed to the channel, with their ``bytes_sent``.
        messages_received: that came out of the channel, with their ``bytes_received``.
        buffered: bytes sent that the server has not acknowledged.
        unsent: bytes of those of which nothing has left yet.
    """

    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    buffered: int
    unsent: int


@dataclass(frozen=True, slots=True)
class TrackStats:
    """The data tracks of one name and publisher, since one was first subscribed, sessions of ours notwithstanding.

    Attributes:
        frames: whole frames that arrived, with ``payload_bytes``.
        frames_lost: by their numbers: published while subscribed, and never completed here.
        frames_incomplete: of those, some packets came.
        frames_late: whole frames that were dropped, because a newer one had come before.
        frames_undecryptable: whole frames of an encrypted track that were dropped, as no key fits or there is none.
        frames_displaced: whole frames dropped from the full buffers of subscriptions.
        frames_buffered: waiting to be read.
        subscriptions: how many are open.
    """

    frames: int
    payload_bytes: int
    frames_lost: int
    frames_incomplete: int
    frames_late: int
    frames_undecryptable: int
    frames_displaced: int
    frames_buffered: int
    subscriptions: int


@dataclass(frozen=True, slots=True)
class RoomStats:
    """A room at one moment. Counters only grow: the difference of two snapshots is what happened between them.

    Attributes:
        signal: the signal connection.
        transports: the peer connections: one, or two on older servers; none while they are being made anew.
        channels: by label: ``_reliable``, ``_lossy`` and ``_data_track``.
        packets: the data packets of the room.
        published: our data tracks by name, those that have ended included.
        subscribed: the data tracks that are or were subscribed, by the publisher's identity and the track's name.
        resumes: times that the same session was taken up again.
        restarts: times that another session took its place, with which signal, transports and channels begin anew.
        failed_attempts: at either.
        bad_track_packets: on the data track channel, malformed.
        unknown_track_packets: there, of no track that is subscribed: some are on their way when a subscription ends.
    """

    signal: SignalStats
    transports: tuple[TransportStats, ...]
    channels: dict[str, ChannelStats]
    packets: PacketStatistics
    published: dict[str, PublicationStatistics]
    subscribed: dict[tuple[str, str], TrackStats]
    resumes: int
    restarts: int
    failed_attempts: int
    bad_track_packets: int
    unknown_track_packets: int


class Retired(Generic[K, S]):
    """The counts of what has ended, added up by key; of so many keys at most that this stays small."""

    def __init__(self) -> None:
        self._totals: dict[K, S] = {}

    def add(self, key: K, counts: S) -> None:
        """Something has ended with these counts."""
        total = self._totals.pop(key, None)
        self._totals[key] = counts if total is None else _sum(total, counts)
        while len(self._totals) > _MAX_RETIRED:
            del self._totals[next(iter(self._totals))]

    def and_also(self, live: Iterable[tuple[K, S]]) -> dict[K, S]:
        """Those, and what goes on."""
        totals = dict(self._totals)
        for key, counts in live:
            totals[key] = _sum(totals[key], counts) if key in totals else counts
        return totals


def _sum(one: S, other: S) -> S:
    """Of counts of the same kind, which are all numbers."""
    names = [field.name for field in dataclasses.fields(one)]  # type: ignore[arg-type]
    return type(one)(**{name: getattr(one, name) + getattr(other, name) for name in names})


def transport_stats(direction: str, peer: PeerStatistics, sockets: list[EndpointStatistics]) -> TransportStats:
    """The layers of one peer connection and its sockets as one."""
    ice, dtls, sctp = peer
    path = ice.selected_path
    return TransportStats(
        direction=direction,
        state=ice.state.value,
        protocol="" if path is None else path.protocol,
        local_kind=ice.local_kind,
        remote_kind=ice.remote_kind,
        path_rtt_s=ice.rtt_s,
        srtt_s=sctp.srtt_s if sctp else None,
        min_rtt_s=sctp.min_rtt_s if sctp else None,
        rto_s=sctp.rto_s if sctp else 0.0,
        cwnd=sctp.cwnd if sctp else 0,
        in_flight=sctp.flight if sctp else 0,
        buffered=sctp.buffered if sctp else 0,
        mtu=sctp.mtu if sctp else 0,
        peer_window=sctp.peer_window if sctp else 0,
        retransmits=sctp.retransmits if sctp else 0,
        timeouts=sctp.timeouts if sctp else 0,
        abandoned_messages=sctp.abandoned_messages if sctp else 0,
        datagrams_sent=sum(socket.datagrams_sent for socket in sockets),
        datagrams_received=sum(socket.datagrams_received for socket in sockets),
        datagrams_refused=sum(socket.datagrams_refused for socket in sockets),
        rejected_checks=ice.malformed + ice.unauthentic + ice.unmatched,
        rejected_records=dtls.records_dropped if dtls else 0,
        rejected_packets=sctp.dropped_packets if sctp else 0,
        rejected_chunks=sctp.rejected_chunks if sctp else 0,
    )
