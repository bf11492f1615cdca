"""Our peer connection with the real server: UDP, TCP, and its TURN server over UDP and TLS, in both kinds of ICE."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio
from livekit.protocol import models

from trio_livekit._sansio.peer import Connected, Failed, LocalCandidate
from trio_livekit._sansio.signal import messages as m
from trio_livekit._transport.peer import PeerConfig
from trio_livekit._wire.packets import encode_user_packet

from ..server.clients import signal_client
from ..support.connections import Connection, running
from ..support.livekit import free_port, run_server
from ..support.tls import make_certificate
from ..support.walls import Firewall

if TYPE_CHECKING:
    import ssl

    from ..support.livekit import LiveKitServer

pytestmark = pytest.mark.livekit_server

LOOPBACK = ("127.0.0.1",)
LABELS = ("_reliable", "_lossy")


class Member:
    """A participant with one peer connection."""

    def __init__(self, connection: Connection, ids: dict[str, int], join: m.Join) -> None:
        self.connection = connection
        self.join = join
        self._ids = ids

    @property
    def path(self):
        """The way the data takes."""
        return self.connection.peer._core.ice.selected_path

    def send(self, payload: bytes) -> None:
        self.connection.peer.send(self._ids["_reliable"], encode_user_packet(payload))

    async def receive(self, count: int) -> list[bytes]:
        """The payloads of user packets, from the first on."""
        await self.connection.receive(count)
        return [models.DataPacket.FromString(data).user.payload for _, data, _ in self.connection.messages]


@asynccontextmanager
async def member(server, identity: str, config: PeerConfig, room: str, *, servers=None, relay_only: bool = False):
    """Join and be ready for data. ``servers`` makes ICE servers of the join response; None ignores them."""
    async with running(config) as connection:
        offer = m.Offer(connection.peer.create_offer(), 1)
        request = m.JoinRequest(m.ClientInfo(protocol=17, client_protocol=2), publisher_offer=offer)
        async with signal_client(server, identity, room, request=request) as signal, trio.open_nursery() as nursery:
            join = await signal.expect(m.Join)
            if servers is not None:
                connection.peer.use_ice_servers(servers(join.ice_servers), relay_only=relay_only)
            ids: dict[str, int] = {}

            @nursery.start_soon
            async def listen() -> None:
                early: list[str] = []
                while True:
                    match await signal.next():
                        case m.Answer(sdp):
                            connection.peer.apply_answer(sdp)
                            ids["_reliable"] = connection.peer.open_channel("_reliable")
                            ids["_lossy"] = connection.peer.open_channel("_lossy", ordered=False, max_retransmits=0)
                            for line in early:
                                connection.peer.add_remote_candidate(line)
                        case m.Trickle(line) if ids:
                            connection.peer.add_remote_candidate(line)
                        case m.Trickle(line):
                            early.append(line)

            for label in LABELS:
                await connection.opened(label)
            yield Member(connection, ids, join)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def two_members(server, room: str, config: PeerConfig, **options):
    """Alice as the test wants her, and Bob over plain UDP."""
    async with AsyncExitStack() as stack:
        plain = PeerConfig(hosts=LOOPBACK)
        bob = await stack.enter_async_context(member(server, "bob", plain, room))
        alice = await stack.enter_async_context(member(server, "alice", config, room, **options))
        yield alice, bob


async def exchange(alice: Member, bob: Member, count: int = 20, size: int = 5000) -> None:
    """Messages both ways, all of which arrive, in order."""
    sent = [b"%d" % number + bytes(size) for number in range(count)]
    before = len(alice.connection.messages), len(bob.connection.messages)
    for message in sent:
        alice.send(message)
        bob.send(message)
    assert (await alice.receive(before[0] + count))[before[0] :] == sent
    assert (await bob.receive(before[1] + count))[before[1] :] == sent


# --- direct -----------------------------------------------------------------------------------------------------------


async def test_udp(livekit_server):
    async with two_members(livekit_server, "udp", PeerConfig(hosts=LOOPBACK)) as (alice, bob):
        assert alice.path.protocol == "udp"
        await exchange(alice, bob, 100)


@pytest.fixture(scope="module")
def lite_server(livekit_binary, tmp_path_factory):
    with run_server(livekit_binary, tmp_path_factory.mktemp("lite"), {"rtc": {"use_ice_lite": True}}) as server:
        yield server


async def test_a_lite_server(lite_server):
    async with two_members(lite_server, "lite", PeerConfig(hosts=LOOPBACK)) as (alice, bob):
        await exchange(alice, bob)


async def test_tcp_where_we_have_no_udp(livekit_server):
    async with two_members(livekit_server, "tcp", PeerConfig(hosts=LOOPBACK, udp=False)) as (alice, bob):
        assert alice.path.protocol == "tcp"
        assert alice.path.remote == ("127.0.0.1", livekit_server.tcp_port)
        await exchange(alice, bob, 100)


async def test_tcp_to_a_lite_server(lite_server):
    async with two_members(lite_server, "tcp lite", PeerConfig(hosts=LOOPBACK, udp=False)) as (alice, bob):
        assert alice.path.protocol == "tcp"
        await exchange(alice, bob)


async def test_tcp_where_udp_is_blocked(livekit_server):
    wall = Firewall(up=True)
    async with two_members(livekit_server, "blocked", PeerConfig(hosts=LOOPBACK, bind=wall.bind)) as (alice, bob):
        assert alice.path.protocol == "tcp"
        await exchange(alice, bob)


async def test_tcp_takes_over_where_udp_gets_blocked(livekit_server):
    """Nothing that was sent is lost, and nobody has to join again."""
    wall = Firewall(up=False)
    async with two_members(livekit_server, "wall", PeerConfig(hosts=LOOPBACK, bind=wall.bind)) as (alice, bob):
        assert alice.path.protocol == "udp"
        await exchange(alice, bob)
        wall.up = True
        alice.send(b"over the wall")
        assert (await bob.receive(21))[-1] == b"over the wall"
        assert alice.path.protocol == "tcp"
        await exchange(alice, bob)
        assert alice.connection.count(Connected) == 1
        assert not alice.connection.count(Failed)


# --- through the server's relay ---------------------------------------------------------------------------------------


class TurnServer(NamedTuple):
    livekit: LiveKitServer
    tls_port: int
    trusting: ssl.SSLContext


@pytest.fixture(scope="module")
def turn(livekit_binary, tmp_path_factory):
    """A server with TURN over UDP and TLS, and without TCP of its own."""
    directory = tmp_path_factory.mktemp("turn")
    certificate, key, context = make_certificate(directory)
    tls_port = free_port()
    turn = {
        "tls_port": tls_port,
        "cert_file": str(certificate),
        "key_file": str(key),
        "allow_restricted_peer_cidrs": ["127.0.0.0/8"],
    }
    # Left alone, it names its other addresses 127.0.0.1 as well, and sends from those: its checks tell us of them. But
    # a relay lets nobody through whom we do not know, so that with a relay alone we would never hear of them.
    rtc = {"tcp_port": 0, "interfaces": {"includes": ["lo"]}}
    with run_server(livekit_binary, directory, {"rtc": rtc, "turn": turn}) as server:
        yield TurnServer(server, tls_port, context)


def only(transport: str, tls_port: int = 0):
    """Of the server's TURN servers, those of one transport; the TLS one where it really is."""

    schemes = {"udp": "turn:", "tls": "turns:", "any": "turn"}

    def choose(servers: tuple[m.IceServer, ...]) -> list[m.IceServer]:
        chosen = []
        for server in servers:
            urls = [url.replace("turn.test:443", f"127.0.0.1:{tls_port}") for url in server.urls]
            urls = [url for url in urls if url.startswith(schemes[transport])]
            chosen.append(m.IceServer(tuple(urls), server.username, server.credential))
        return chosen

    return choose


def is_relayed(member: Member) -> bool:
    relays = [line.split() for line in member.connection.peer.local_candidates() if " typ relay " in line]
    return member.path.local in [(words[4], int(words[5])) for words in relays]


@pytest.mark.parametrize("transport", ["udp", "tls"])
async def test_a_relay_where_it_is_forced(turn, transport):
    config = PeerConfig(hosts=LOOPBACK, ssl_context=turn.trusting)
    options = {"servers": only(transport, turn.tls_port), "relay_only": True}
    async with two_members(turn.livekit, f"forced {transport}", config, **options) as (alice, bob):
        assert [line.split()[7] for line in alice.connection.peer.local_candidates()] == ["relay"]
        assert is_relayed(alice)
        await exchange(alice, bob, 100)


async def test_megabytes_through_a_relay(turn):
    config = PeerConfig(hosts=LOOPBACK, ssl_context=turn.trusting)
    options = {"servers": only("tls", turn.tls_port), "relay_only": True}
    async with two_members(turn.livekit, "megabytes", config, **options) as (alice, bob):
        await exchange(alice, bob, 64, 32768)


async def test_a_relay_over_tls_where_all_else_is_blocked(turn):
    wall = Firewall(up=True)
    config = PeerConfig(hosts=LOOPBACK, bind=wall.bind, ssl_context=turn.trusting)
    async with two_members(turn.livekit, "blocked", config, servers=only("any", turn.tls_port)) as (alice, bob):
        assert is_relayed(alice)
        await exchange(alice, bob)


async def test_a_relay_takes_over_where_udp_gets_blocked(turn):
    wall = Firewall(up=False)
    config = PeerConfig(hosts=LOOPBACK, bind=wall.bind, ssl_context=turn.trusting)
    async with two_members(turn.livekit, "wall", config, servers=only("tls", turn.tls_port)) as (alice, bob):
        assert not is_relayed(alice)
        await exchange(alice, bob)
        wall.up = True
        alice.send(b"over the wall")
        assert (await bob.receive(21))[-1] == b"over the wall"
        assert is_relayed(alice)
        await exchange(alice, bob)
        assert not alice.connection.count(Failed)


async def test_no_relay_where_it_is_not_needed(turn):
    async with member(
        turn.livekit, "alice", PeerConfig(hosts=LOOPBACK), "direct", servers=only("any", turn.tls_port)
    ) as alice:
        await trio.sleep(0.7)  # longer than anything gets before a relay is started
        assert not alice.connection.count(LocalCandidate)
        assert not is_relayed(alice)


async def test_a_relay_with_an_untrusted_certificate_is_not_used(turn):
    options = {"servers": only("tls", turn.tls_port), "relay_only": True}
    with trio.move_on_after(1.0):
        async with member(turn.livekit, "alice", PeerConfig(hosts=LOOPBACK), "trust", **options):
            pytest.fail("connected through a server whose certificate nobody vouches for")
