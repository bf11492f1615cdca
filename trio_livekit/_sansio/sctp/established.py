"""What exists once both sides' numbers are known, and how its chunks become packets (RFC 9260 section 6.10)."""

from __future__ import annotations

__all__ = ["Established"]

from typing import TYPE_CHECKING

from ..timers import earliest
from .chunks import COOKIE_ACK_CHUNK, DATA
from .heartbeat import Heartbeat
from .packet import HEADER_SIZE, PacketSealer, bundle
from .path_mtu import PathMtu
from .reset import StreamResets
from .rx.receiver import Receiver
from .tx.sender import Sender

if TYPE_CHECKING:
    from .config import Config
    from .events import Event
    from .negotiation import PeerInfo
    from .tx.send_queue import SendQueue

SACK_SIZE = 16


class Established:
    """The two halves of an association, stream resets, heartbeats, and the sealing of packets to the peer."""

    __slots__ = (
        "_capacity", "heartbeat", "local_tsn", "may_lack_cookie_ack", "path_mtu", "peer", "receiver", "resets",
        "sealer", "sender", "zero_checksum",
    )  # fmt: skip

    def __init__(
        self, config: Config, peer: PeerInfo, local_tsn: int, queue: SendQueue, events: list[Event],
        now: float, round_trip_s: float | None,
    ) -> None:  # fmt: skip
        self.path_mtu = PathMtu(config.safe_mtu, config.mtu, local_tsn << 32 | peer.tag, now)
        self._capacity = self.path_mtu.size - HEADER_SIZE
        self.peer = peer
        self.may_lack_cookie_ack = False
        """It was told, and has not said anything that shows it."""
        self.local_tsn = local_tsn
        self.sealer = PacketSealer(config.local_port, config.remote_port, peer.tag)
        self.zero_checksum = config.zero_checksum and peer.zero_checksum
        self.sender = Sender(config, local_tsn, peer.receive_window, queue)
        self.sender.use_packet_size(self.path_mtu.size)
        if round_trip_s is not None:
            self.sender.rto.expect(round_trip_s)
        self.receiver = Receiver(config, peer.initial_tsn, events)
        self.resets = StreamResets(local_tsn, peer.initial_tsn)
        self.heartbeat = Heartbeat(config.heartbeat_interval_s, local_tsn << 32 | peer.tag, now)

    @property
    def is_idle(self) -> bool:
        """Nothing of ours is queued or unacknowledged."""
        return self.sender.is_idle

    def first_flight(self, now: float, cookie_echo: bytes | None, control: list[bytes]) -> list[bytes]:
        """Before the COOKIE-ACK: the COOKIE-ECHO, and in the same packet what data fits (section 5.1).

        What has arrived is acknowledged, because a peer that sends data has accepted the cookie.
        """
        receiver = self.receiver
        if cookie_echo is None:
            bodies = [receiver.sack()] if receiver.wants_sack(now) else []
            return [self.sealer.seal(body) for body in bodies]
        chunks = [cookie_echo, *control]
        room = self._capacity - sum(map(len, chunks))
        while (size := self.sender.next_chunk_size()) and size <= room:
            before = len(chunks)
            self.sender.collect(now, chunks, 1)  # one chunk at a time, so that none is over
            if len(chunks) == before:
                break
            room -= size
        return [self.sealer.seal(body) for body in bundle(chunks, self._capacity)]

    def packets(self, now: float, control: list[bytes], shutdown: bytes | None) -> list[bytes]:
        """Everything that may leave now: control, resets, SACK, FORWARD-TSN, retransmissions, new data."""
        receiver, chunks = self.receiver, control
        if not self.resets.is_idle:
            chunks += self.resets.chunks(now, self.sender)
        if self.heartbeat.at is not None:
            probe = self.heartbeat.chunk(now, idle=self.is_idle)
            if probe is not None:
                chunks.append(probe)
        if self.path_mtu.at is not None or self.sender.has_lost_large:
            self._probe_path(now, chunks)
        if shutdown is not None:
            chunks.append(shutdown)
        may_ride = receiver.has_unacknowledged
        if may_ride and receiver.wants_sack(now):
            chunks.append(receiver.sack())
            may_ride = False
        self.sender.collect(now, chunks)
        if may_ride and chunks and len(chunks[0]) + SACK_SIZE <= self._capacity:
            chunks.insert(0, receiver.sack())  # it rides along for free
        if not chunks:
            return []
        if self.may_lack_cookie_ack:
            self._repeat_cookie_ack(chunks)
        return self.sealer.seal_all(bundle(chunks, self._capacity), zero_checksum=self.zero_checksum)

    def _repeat_cookie_ack(self, chunks: list[bytes]) -> None:
        """A peer that has acknowledged nothing may lack the COOKIE-ACK, which was lost or overtaken.

        It takes no data then, and its timer takes a second to ask. So until some data is acknowledged the first of each
        turn has another one in its packet; a peer that needs none takes no notice (section 5.2.5).
        """
        self.may_lack_cookie_ack = self.sender.out.base & 0xFFFFFFFF == self.local_tsn
        first = next((at for at, chunk in enumerate(chunks) if chunk[0] == DATA), 0)
        if self.may_lack_cookie_ack and chunks[first][0] == DATA and chunks[first - 1] != COOKIE_ACK_CHUNK:
            chunks.insert(first, COOKIE_ACK_CHUNK)

    def on_heartbeat_ack(self, body: bytes, now: float) -> None:
        """A round trip time, if the answer is to a HEARTBEAT of ours."""
        rtt = self.heartbeat.round_trip(body, now)
        if rtt is not None:
            self.sender.rto.sample(rtt, now)
        elif self.path_mtu.on_heartbeat_ack(body, now):
            self._use_packet_size()

    def on_path_recovered(self, now: float, round_trip_s: float | None) -> None:
        """The path carries again, or it is another one."""
        self.path_mtu.on_path_changed(now)
        self.sender.on_path_recovered(now, round_trip_s)

    def is_stuck(self, now: float, patience_s: float) -> bool:
        """Chunks that the path used to carry, and does not any more, have waited for too long."""
        since = self.path_mtu.narrow_since
        return since is not None and now - since > patience_s and self.sender.has_stuck

    def _probe_path(self, now: float, chunks: list[bytes]) -> None:
        if self.sender.has_lost_large:
            self.sender.has_lost_large = False
            self.path_mtu.on_large_loss(now)
        probe = self.path_mtu.probe(now, self.sender.rto.timeout)
        if probe is not None:
            chunks.append(probe)
            self._use_packet_size()

    def _use_packet_size(self) -> None:
        self._capacity = self.path_mtu.size - HEADER_SIZE
        self.sender.use_packet_size(self.path_mtu.size)

    def next_timeout(self, *, established: bool) -> float | None:
        """The first timer of all parts."""
        if not established:
            return self.receiver.sack_at
        at, sack_at = self.sender.next_timeout(), self.receiver.sack_at
        if sack_at is not None and (at is None or sack_at < at):
            at = sack_at
        if not self.resets.in_flight and self.heartbeat.at is None and self.path_mtu.at is None:
            return at
        return earliest(at, self.resets.deadline, self.heartbeat.at, self.path_mtu.at)
