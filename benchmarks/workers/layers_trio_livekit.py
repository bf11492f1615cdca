"""What each layer of trio_livekit costs for a packet, alone and without a network (except for the sockets)."""

from __future__ import annotations

import os
import time
from typing import Any

import trio
from lines import serve_trio
from stopwatch import cost_ns

from trio_livekit._sansio.dtls import Connection, ConnectionState, Role
from trio_livekit._sansio.sctp import Association, Config
from trio_livekit._sansio.tracks.clock import MediaClock
from trio_livekit._sansio.tracks.packetizer import Packetizer
from trio_livekit._transport.certificate import generate_certificate
from trio_livekit._transport.datagrams import UdpEndpoint

BURST = 32
FRAME = bytes(1024)
PACKET = bytes(1191)
MESSAGE = bytes(1024)


def packetize(seconds: float) -> float:
    packetizer = Packetizer(1, MediaClock(0, 0.0))

    def step() -> int:
        for _ in range(BURST):
            packetizer.packetize(FRAME, 1.0)
        return BURST

    return cost_ns(step, seconds)


class Sctp:
    """Two associations, and separate accounts of what each end spends."""

    def __init__(self) -> None:
        config = Config(zero_checksum=True)
        self.left, self.right = (Association(random_bytes=os.urandom, config=config) for _ in range(2))
        self.now = 0.0
        self.left.connect(self.now)
        self.right.connect(self.now)
        while not (self.left.is_established and self.right.is_established):
            self.now += 0.001
            for packet in self.left.datagrams_to_send(self.now):
                self.right.receive_datagram(packet, self.now)
            for packet in self.right.datagrams_to_send(self.now):
                self.left.receive_datagram(packet, self.now)

    def measure(self, seconds: float) -> tuple[float, float]:
        """Nanoseconds for a message of one packet: the sender's, with its share of SACKs, and the receiver's."""
        left, right, clock = self.left, self.right, time.thread_time_ns
        spent_left = spent_right = packets = 0
        while spent_left + spent_right < seconds * 2e9:
            self.now += 0.001
            start = clock()
            for _ in range(BURST):
                left.send(1, 53, MESSAGE, now=self.now)
            out = left.datagrams_to_send(self.now)
            left.poll_events()
            middle = clock()
            for packet in out:
                right.receive_datagram(packet, self.now)
            sacks = right.datagrams_to_send(self.now)
            right.poll_events()
            end = clock()
            for sack in sacks:
                left.receive_datagram(sack, self.now)
            spent_left += middle - start + clock() - end
            spent_right += end - middle
            packets += len(out)
        return spent_left / packets, spent_right / packets


def dtls(seconds: float) -> tuple[float, float]:
    certificates = generate_certificate(), generate_certificate()
    client, server = (
        Connection(role, certificate=own, random_bytes=os.urandom, remote_fingerprints=[other.fingerprint()])
        for role, own, other in zip((Role.CLIENT, Role.SERVER), certificates, reversed(certificates), strict=True)
    )
    client.start(0.0)
    server.start(0.0)
    while not client.state is server.state is ConnectionState.CONNECTED:
        for datagram in client.datagrams_to_send(0.0):
            server.receive_datagram(datagram, 0.0)
        for datagram in server.datagrams_to_send(0.0):
            client.receive_datagram(datagram, 0.0)
    burst = [PACKET] * BURST

    def seal() -> int:
        return len(client.seal_many(burst))

    sealing = cost_ns(seal, seconds)
    spent = packets = 0
    while spent < seconds * 1e9:  # a record is opened only once, so they are made in between
        records = client.seal_many(burst)
        start = time.thread_time_ns()
        for record in records:
            server.receive_datagram(record, 0.0)
        spent += time.thread_time_ns() - start
        packets += BURST
    return sealing, spent / packets


def udp(seconds: float) -> tuple[float, float]:
    left, right = UdpEndpoint.bind("127.0.0.1"), UdpEndpoint.bind("127.0.0.1")
    burst = [PACKET] * BURST
    sent_ns = received_ns = packets = 0
    while sent_ns + received_ns < seconds * 2e9:
        start = time.thread_time_ns()
        left.send_many(burst, right.local_address)
        middle = time.thread_time_ns()
        packets += len(right.receive_all(BURST))
        received_ns += time.thread_time_ns() - middle
        sent_ns += middle - start
    left.close()
    right.close()
    return sent_ns / packets, received_ns / packets


class Worker:
    async def measure(self, seconds: float) -> dict[str, Any]:
        values = {"packetize": packetize(seconds)}
        values["SCTP send"], values["SCTP receive"] = Sctp().measure(seconds)
        values["DTLS seal"], values["DTLS open"] = dtls(seconds)
        values["UDP send"], values["UDP receive"] = udp(seconds)
        return values


trio.run(serve_trio, Worker())
