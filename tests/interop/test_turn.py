"""The TURN server inside livekit-server relays for our client."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest
import trio
from livekit.protocol import rtc as proto
from trio_websocket import open_websocket_url

from trio_livekit._sansio.ice import TurnAllocated, TurnClient, TurnFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_livekit._sansio.types import Address

pytestmark = pytest.mark.livekit_server

_QUIET_S = 0.2  # a loopback exchange that takes longer is over


class Relay:
    """A TURN client on a real socket, stepped by hand."""

    def __init__(self, server: Address, username: str, password: str) -> None:
        self.client = TurnClient(username, password, random_bytes=os.urandom)
        self.socket = udp_socket()
        self._server = server

    def exchange(self) -> list[tuple[Address, bytes]]:
        """Send what is due and take what comes, until nothing does."""
        received = []
        while True:
            for data in self.client.datagrams_to_send(time.monotonic()):
                self.socket.sendto(data, self._server)
            try:
                data = self.socket.recv(2048)
            except TimeoutError:
                return received
            received += self.client.receive(data, time.monotonic())

    def send(self, peer: Address, data: bytes) -> bytes:
        wrapped = self.client.wrap(peer, data, time.monotonic())
        if wrapped:
            self.socket.sendto(wrapped, self._server)
        return wrapped


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(_QUIET_S)
    return sock


@pytest.fixture(scope="module")
def turn_server(livekit_binary, tmp_path_factory) -> Iterator[tuple[Address, str, str]]:
    """Where it is, and a participant's credentials for it."""
    from ..support import livekit

    async def ice_server(server: livekit.LiveKitServer) -> proto.ICEServer:
        headers = livekit.bearer(server.token("robot", "turn"))
        with trio.fail_after(10):
            async with open_websocket_url(f"{server.url}/rtc?protocol=16", extra_headers=headers) as websocket:
                response = proto.SignalResponse.FromString(await websocket.get_message())
        return response.join.ice_servers[0]

    config = {"turn": {"bind_addresses": ["127.0.0.1"], "allow_restricted_peer_cidrs": ["127.0.0.0/8"]}}
    with livekit.run_server(livekit_binary, tmp_path_factory.mktemp("turn"), config) as server:
        credentials = trio.run(ice_server, server)
        yield ("127.0.0.1", server.turn_udp_port), credentials.username, credentials.credential


def test_relaying_both_ways_by_indication_and_by_channel(turn_server):
    relay = Relay(*turn_server)
    with relay.socket, udp_socket() as peer:
        relay.client.start(time.monotonic())
        relay.exchange()
        relayed = relay.client.relayed_address
        assert relay.client.poll_events() == [TurnAllocated(relayed, relay.socket.getsockname())]
        wrapped = []
        for n in range(6):
            wrapped.append(relay.send(peer.getsockname(), b"%d" % n))
            relay.exchange()
            assert peer.recvfrom(100) == (b"%d" % n, relayed)
            peer.sendto(b"re: %d" % n, relayed)
            assert relay.exchange() == [(peer.getsockname(), b"re: %d" % n)]
        assert [data[:1] for data in wrapped] == [b"", b"\0", b"\0", b"\0", b"\x40", b"\x40"]
        relay.client.close(time.monotonic())
        relay.exchange()
        peer.sendto(b"too late", relayed)
        with pytest.raises(TimeoutError):
            relay.socket.recv(100)


def test_a_wrong_password_is_refused(turn_server):
    address, username, _ = turn_server
    relay = Relay(address, username, "guess")
    with relay.socket:
        relay.client.start(time.monotonic())
        relay.exchange()
        [event] = relay.client.poll_events()
    assert isinstance(event, TurnFailed)
    assert event.code in (400, 401)
