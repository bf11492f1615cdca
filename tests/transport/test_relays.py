"""Relays: started when nothing else works, given back when something does; on a network in memory."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager

import pytest
import trio

from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.peer import Disconnected, Failed, LocalCandidate
from trio_livekit._sansio.signal.messages import IceServer
from trio_livekit._transport.peer import PeerConfig
from trio_livekit.testing.faults import blocked
from trio_livekit.testing.network import Network
from trio_livekit.testing.pair import LinkModel

from ..sansio.ice.turn_server import RELAYED, TurnServer
from ..support.cancel import cancel_everywhere
from ..support.connections import Connection, introduce, running, two_connections

ALICE, BOB, SERVER, ALTERNATE = "198.51.100.1", "198.51.100.2", "192.0.2.1", "192.0.2.55"


@asynccontextmanager
async def turn_service(network: Network, host: str = SERVER, turn: TurnServer | None = None):
    """A TURN server on the network, with one relayed address."""
    turn = turn or TurnServer()
    front, back = network.bind(host, 3478), network.bind(*RELAYED)
    client = None

    async def serve() -> None:
        nonlocal client
        while True:
            await front.wait_readable()
            for data, source in front.receive_all(64):
                client = source
                for answer in turn.receive(data):
                    front.send(answer, source)
            relayed, turn.relayed = turn.relayed, []
            for peer, data in relayed:
                back.send(data, peer)

    async def relay() -> None:
        while True:
            await back.wait_readable()
            for data, peer in back.receive_all(64):
                if peer[0] in turn.permissions:
                    wrap = turn.channel_data if peer in turn.channels.values() else turn.data_indication
                    front.send(wrap(peer, data), client)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(relay)
        yield turn
        nursery.cancel_scope.cancel()
    front.close()
    back.close()


def configs(network: Network, **options) -> tuple[PeerConfig, PeerConfig]:
    """Alice, who may use the relay, and Bob."""
    servers = (IceServer((f"turn:{SERVER}?transport=udp",), "user", "secret"),)
    return (
        PeerConfig(hosts=(ALICE,), bind=network.bind, ice_servers=servers, **options),
        PeerConfig(hosts=(BOB,), bind=network.bind, controlling=False),
    )


def is_relayed(connection: Connection) -> bool:
    return connection.peer.is_sending_from(RELAYED)


async def check_talk(alice: Connection, bob: Connection, label: str) -> None:
    channel_id = alice.peer.open_channel(label)
    await bob.opened(label)
    sent = [b"%d" % number * 1000 for number in range(50)]
    for message in sent:
        alice.peer.send(channel_id, message)
        bob.peer.send(channel_id, message)
    assert await bob.receive(len(sent), channel_id) == sent
    assert await alice.receive(len(sent), channel_id) == sent


async def test_no_relay_where_a_direct_path_works(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    async with turn_service(network) as turn:
        async with two_connections(*configs(network)) as (alice, bob):
            await trio.sleep(5)
            await check_talk(alice, bob, "direct")
        assert not turn.methods


async def test_a_relay_where_no_direct_path_works(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    network.set_drop(blocked, ALICE, BOB)
    async with turn_service(network) as turn:
        began = trio.current_time()
        async with two_connections(*configs(network)) as (alice, bob):
            assert trio.current_time() - began < 1.5
            assert is_relayed(alice)
            assert " typ relay " in (await alice.expect(LocalCandidate)).line
            await check_talk(alice, bob, "relayed")
            assert turn.channels  # which spare 32 bytes per datagram
            await trio.sleep(25)
            assert turn.is_allocated
        await trio.sleep(0.1)
        assert turn.lifetimes_asked[-1] == 0  # given back at the end


async def test_only_relays_where_the_policy_says_so(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    async with turn_service(network), two_connections(*configs(network, relay_only=True)) as (alice, bob):
        assert is_relayed(alice)
        assert all(" typ relay " in line for line in alice.peer.local_candidates())
        await check_talk(alice, bob, "relayed")


async def test_the_policy_may_come_with_the_servers(autojump_clock):
    """A session learns both from the server, when its own offer has been made."""
    network = Network(model=LinkModel(delay_s=0.02))
    first, second = configs(network)
    servers = first.ice_servers
    async with turn_service(network), running(PeerConfig(hosts=(ALICE,), bind=network.bind)) as alice:
        alice.peer.create_offer()
        alice.peer.use_ice_servers(servers, relay_only=True)
        async with running(second) as bob:
            introduce(alice, bob)
            await alice.connected()
            assert is_relayed(alice)
            await check_talk(alice, bob, "relayed")


async def test_a_relay_takes_over_and_is_given_back_when_it_is_not_needed(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    async with turn_service(network) as turn, two_connections(*configs(network)) as (alice, bob):
        network.set_drop(blocked, ALICE, BOB)
        await alice.expect(Disconnected)
        await alice.until(lambda: is_relayed(alice))
        await check_talk(alice, bob, "relayed")
        network.set_drop(None, ALICE, BOB)
        network.set_drop(blocked, SERVER, ALICE)
        await trio.sleep(6)  # the direct path, checked again since the relay is silent
        assert not is_relayed(alice)
        network.set_drop(None, SERVER, ALICE)
        await check_talk(alice, bob, "direct again")
        await trio.sleep(21)
        assert turn.lifetimes_asked[-1] == 0
        assert not alice.count(Failed)


async def test_wrong_credentials_leave_the_connection_to_fail(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    network.set_drop(blocked, ALICE, BOB)
    async with (
        turn_service(network, turn=TurnServer(password="another")),
        two_connections(*configs(network), wait=False) as (alice, _),
    ):
        await alice.expect(Failed)
        assert not alice.count(LocalCandidate)


async def test_a_server_that_does_not_answer(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    network.set_drop(blocked, ALICE, BOB)
    async with two_connections(*configs(network), wait=False) as (alice, _):
        await alice.expect(Failed)


async def test_a_server_that_sends_us_to_another(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    network.set_drop(blocked, ALICE, BOB)
    full = TurnServer()
    full.errors.append((stun.ALLOCATE, 300))
    first = network.bind(SERVER, 3478)

    async def refuse() -> None:
        while True:
            await first.wait_readable()
            for data, source in first.receive_all(64):
                for answer in full.receive(data):
                    first.send(answer, source)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        async with turn_service(network, ALTERNATE), two_connections(*configs(network)) as (alice, bob):
            assert is_relayed(alice)
            await check_talk(alice, bob, "elsewhere")
        nursery.cancel_scope.cancel()


async def test_a_socket_to_the_server_that_is_full_only_delays(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    endpoints = []

    def bind(host: str):
        endpoints.append(network.bind(host))
        return endpoints[-1]

    first, second = configs(network, relay_only=True)
    first = PeerConfig(hosts=(ALICE,), bind=bind, ice_servers=first.ice_servers, relay_only=True)
    async with turn_service(network), two_connections(first, second) as (alice, bob):
        channel_id = alice.peer.open_channel("data")
        await bob.opened("data")
        endpoints[-1].stall()
        sent = [b"%d" % number * 1000 for number in range(50)]
        for message in sent:
            alice.peer.send(channel_id, message)
        await trio.sleep(1)
        assert not bob.messages
        endpoints[-1].stall(False)
        assert await bob.receive(len(sent)) == sent


async def test_sending_on_while_a_relay_ends(autojump_clock):
    """Between the end of an allocation and its last step others run, and what they send is lost, and no error."""
    network = Network(model=LinkModel(delay_s=0.02))
    async with turn_service(network), two_connections(*configs(network, relay_only=True)) as (alice, bob):
        channel_id = alice.peer.open_channel("data")
        await bob.opened("data")
        endpoint = next(each for each in alice.peer._endpoints.values() if each.local_address == RELAYED)
        endpoint._relay._end("the server is gone")
        for _ in range(20):
            alice.peer.send(channel_id, b"into the dark")
            alice.peer.add_remote_candidate("")
            await trio.lowlevel.checkpoint()
        assert not alice.peer._endpoints


@pytest.mark.parametrize("at_s", [0.0, 0.5, 0.51, 0.53, 0.55, 0.6, 0.7])
async def test_closing_at_any_stage_of_a_relay(autojump_clock, at_s):
    network = Network(model=LinkModel(delay_s=0.02))
    network.set_drop(blocked, ALICE, BOB)
    async with turn_service(network), two_connections(*configs(network), wait=False) as (alice, _):
        await trio.sleep(at_s)
        alice.peer.close()
        await trio.sleep(1)


async def test_cancelling_anywhere_leaves_nothing_behind(autojump_clock):
    async def talk() -> None:
        network = Network(model=LinkModel(delay_s=0.02))
        async with turn_service(network), two_connections(*configs(network, relay_only=True)) as (alice, bob):
            alice.peer.open_channel("data")
            await bob.opened("data")

    await cancel_everywhere(talk, every=2)


@pytest.mark.parametrize("url", ["turns:127.0.0.1:{}", "turn:127.0.0.1:{}?transport=tcp"])
async def test_a_server_that_accepts_and_says_nothing(no_leaks, url):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        servers = (IceServer((url.format(listener.getsockname()[1]),), "user", "secret"),)
        async with running(PeerConfig(hosts=("127.0.0.1",), ice_servers=servers, relay_only=True)):
            accepted, _ = await trio.to_thread.run_sync(listener.accept)
            accepted.close()
            await trio.sleep(0.05)
        async with running(PeerConfig(hosts=("127.0.0.1",), ice_servers=servers, relay_only=True)) as alice:
            accepted, _ = await trio.to_thread.run_sync(listener.accept)
            await trio.sleep(0.05)
            assert not alice.events
        accepted.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(1000)])
async def test_a_server_that_speaks_another_protocol(no_leaks, answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"turn:127.0.0.1:{listener.getsockname()[1]}?transport=tcp"
        config = PeerConfig(hosts=("127.0.0.1",), ice_servers=(IceServer((url,), "user", "secret"),), relay_only=True)
        async with running(config) as alice:
            accepted, _ = await trio.to_thread.run_sync(listener.accept)
            accepted.sendall(answer)
            await trio.sleep(0.05)
            assert not alice.events
        accepted.close()
