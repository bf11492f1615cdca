"""Two peer connections with their drivers, on a network in memory and in virtual time."""

from __future__ import annotations

import errno
import functools
import os
import resource

import pytest
import trio
import trio.testing

from trio_livekit._sansio.channels import ChannelClosed
from trio_livekit._sansio.ice.stun import BINDING, SUCCESS, XOR_MAPPED_ADDRESS, decode, encode
from trio_livekit._sansio.peer import Disconnected, Failed, LocalCandidate, Reconnected
from trio_livekit._sansio.sctp import Config as SctpConfig
from trio_livekit._sansio.signal.messages import IceServer
from trio_livekit._transport import interfaces
from trio_livekit._transport.peer import PeerConfig, PeerConnection
from trio_livekit.errors import TransportError
from trio_livekit.testing.faults import blocked
from trio_livekit.testing.network import MemoryEndpoint, Network
from trio_livekit.testing.pair import LinkModel

from ..support.cancel import cancel_everywhere
from ..support.connections import Connection, introduce, running, two_connections
from ..support.leaks import nothing_left_behind

ALICE, BOB = "198.51.100.1", "198.51.100.2"


class Binder:
    """``Network.bind``, remembering the endpoints."""

    def __init__(self, network: Network, **options) -> None:
        self._bind = functools.partial(network.bind, **options)
        self.endpoints: list[MemoryEndpoint] = []

    def __call__(self, host: str) -> MemoryEndpoint:
        endpoint = self._bind(host)
        self.endpoints.append(endpoint)
        return endpoint


def configs(network: Network, **options) -> tuple[PeerConfig, PeerConfig]:
    """Alice, who offers, and Bob."""
    return (
        PeerConfig(hosts=(ALICE,), bind=network.bind, **options),
        PeerConfig(hosts=(BOB,), bind=network.bind, controlling=False, **options),
    )


async def open_channel(alice: Connection, bob: Connection, label: str = "data", **options) -> int:
    channel_id = alice.peer.open_channel(label, **options)
    await alice.opened(label)
    await bob.opened(label)
    return channel_id


# --- connecting -------------------------------------------------------------------------------------------------------


async def test_two_connect_and_talk(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    async with two_connections(*configs(network)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        alice.peer.send(channel_id, b"hello")
        alice.peer.send(channel_id, b"text", text=True)
        assert await bob.receive(2) == [b"hello", b"text"]
        bob.peer.send_all(channel_id, [b"one", b"two"], trio.current_time())
        assert await alice.receive(2) == [b"one", b"two"]
        assert alice.peer.buffered_amount(channel_id) == 0
        alice.peer.close_channel(channel_id)
        await bob.expect(ChannelClosed)


async def test_candidates_may_trickle(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    first, second = configs(network)
    async with running(first) as alice, running(second) as bob:
        offer = "".join(line for line in alice.peer.create_offer().splitlines(True) if "candidate" not in line)
        answer = "".join(line for line in bob.peer.accept_offer(offer).splitlines(True) if "candidate" not in line)
        alice.peer.apply_answer(answer)
        await trio.sleep(1)
        assert not alice.events
        bob.peer.add_remote_candidate("candidate:nonsense")
        for line in (*alice.peer.local_candidates(), ""):
            bob.peer.add_remote_candidate(line)
        await alice.connected()
        await bob.connected()


async def test_a_connection_over_tcp_is_begun_as_soon_as_that_is_found_out(autojump_clock, monkeypatch):
    """That it is needed comes out while the driver sends, and nothing else would wake it soon."""
    began: list[float] = []

    async def dial(self: PeerConnection, remote: object) -> None:
        began.append(trio.current_time())

    monkeypatch.setattr(PeerConnection, "_run_tcp", dial)
    network = Network(model=LinkModel(delay_s=0.02))
    first, second = configs(network)
    async with running(first) as alice, running(second) as bob:
        offer = [line for line in alice.peer.create_offer().splitlines(True) if "candidate" not in line]
        answer = bob.peer.accept_offer("".join(offer)).splitlines(True)
        alice.peer.apply_answer("".join(line for line in answer if "candidate" not in line))
        alice.peer.add_remote_candidate("candidate:1 1 udp 2130706431 198.51.100.77 9 typ host")  # nobody is there
        await trio.sleep(1)
        trickled = trio.current_time()
        alice.peer.add_remote_candidate(f"candidate:2 1 tcp 1671430143 {BOB} 7881 typ host tcptype passive")
        await trio.sleep(10)
        assert [at - trickled for at in began] == [0.0]


@pytest.mark.parametrize("lossy", [LinkModel(loss=0.2, delay_s=0.02), LinkModel(duplicate=0.3, reorder=0.3)])
async def test_reliable_data_over_a_bad_network(autojump_clock, lossy):
    network = Network(seed=5, model=lossy)
    async with two_connections(*configs(network)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        sent = [b"%d" % number * 300 for number in range(100)]
        for message in sent:
            alice.peer.send(channel_id, message)
            await trio.sleep(0.01)
        assert await bob.receive(len(sent)) == sent


async def test_over_ipv6_loopback():
    hosts = ("::1",)
    async with two_connections(PeerConfig(hosts=hosts), PeerConfig(hosts=hosts, controlling=False)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        alice.peer.send(channel_id, bytes(100_000))
        assert await bob.receive(1) == [bytes(100_000)]


async def test_stun_servers_tell_the_public_address(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    home, office = network.nat("203.0.113.1"), network.nat("203.0.113.2")
    server = network.bind("192.0.2.1", 3478)
    servers = (IceServer(("stun:192.0.2.1", "stun:192.0.2.9:1000", "turn:192.0.2.1")), IceServer(("http://nonsense",)))
    first = PeerConfig(hosts=("10.0.0.1",), bind=Binder(network, behind=home), ice_servers=servers[:1])
    second = PeerConfig(
        hosts=("10.9.9.9",), bind=Binder(network, behind=office), ice_servers=servers, controlling=False
    )

    async def answer_probes() -> None:
        while True:
            await server.wait_readable()
            for data, source in server.receive_all(64):
                request = decode(data)
                if request.method == BINDING:
                    mapped = [(XOR_MAPPED_ADDRESS, source)]
                    server.send(encode(BINDING, SUCCESS, request.transaction_id, mapped), source)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_probes)
        async with two_connections(first, second) as (alice, bob):
            lines = alice.peer.local_candidates()
            assert [line.split()[4::3][:2] for line in lines] == [["10.0.0.1", "host"], ["203.0.113.1", "srflx"]]
            await open_channel(alice, bob)
        nursery.cancel_scope.cancel()


# --- paths that fail --------------------------------------------------------------------------------------------------


async def test_a_black_hole_of_ten_seconds_costs_ten_seconds(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    async with two_connections(*configs(network)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        await trio.sleep(3)
        network.set_drop(blocked, ALICE, BOB)
        for number in range(10):
            alice.peer.send(channel_id, b"%d" % number)
            await trio.sleep(1)
        assert alice.count(Disconnected) == bob.count(Disconnected) == 1
        network.set_drop(None, ALICE, BOB)
        healed = trio.current_time()
        assert await bob.receive(10) == [b"%d" % number for number in range(10)]
        assert trio.current_time() - healed < 0.7
        await trio.sleep(1)
        assert alice.count(Reconnected) == bob.count(Reconnected) == 1
        assert not alice.count(Failed)


async def test_a_network_that_stays_away_fails_both(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    async with two_connections(*configs(network)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        network.set_drop(blocked, ALICE, BOB)
        await alice.expect(Failed)
        await bob.expect(Failed)
        with pytest.raises(TransportError):
            alice.peer.send(channel_id, b"too late")


async def test_a_rebinding_nat_is_followed(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    home = network.nat("203.0.113.1")
    first = PeerConfig(hosts=("10.0.0.1",), bind=Binder(network, behind=home))
    second = PeerConfig(hosts=(BOB,), bind=network.bind, controlling=False)
    async with two_connections(first, second) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        for _ in range(3):
            home.rebind()
            moved = trio.current_time()
            alice.peer.send(channel_id, b"from the new address")
            bob.peer.send(channel_id, b"to the new address")
            count = len(bob.messages) + 1
            await bob.receive(count)
            await alice.receive(count)
            assert trio.current_time() - moved < 3.5
        assert not alice.count(Failed) + bob.count(Failed)


async def test_jitter_does_not_make_goodput_collapse(autojump_clock):
    """Packets overtake each other all the time on such a path; none is lost."""

    async def seconds_for_a_megabyte(jitter_s: float) -> float:
        network = Network(model=LinkModel(delay_s=0.05 - jitter_s / 2, jitter_s=jitter_s))
        async with two_connections(*configs(network)) as (alice, bob):
            channel_id = await open_channel(alice, bob)
            began = trio.current_time()
            for _ in range(64):
                alice.peer.send(channel_id, bytes(16384))
            await bob.receive(64)
            return trio.current_time() - began

    assert await seconds_for_a_megabyte(0.04) < 2 * await seconds_for_a_megabyte(0.0)


async def test_an_address_that_changes_is_noticed(autojump_clock, monkeypatch):
    network = Network(model=LinkModel(delay_s=0.02))
    addresses = [ALICE]
    monkeypatch.setattr(interfaces, "host_addresses", lambda **_: list(addresses))
    binder = Binder(network)
    second = PeerConfig(hosts=(BOB,), bind=network.bind, controlling=False)
    async with two_connections(PeerConfig(bind=binder), second) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        network.set_drop(blocked, ALICE, BOB)
        addresses[:] = ["198.51.100.77"]
        alice.peer.send(channel_id, b"from the new address")
        assert await bob.receive(1) == [b"from the new address"]
        assert "198.51.100.77" in (await alice.expect(LocalCandidate)).line
        with pytest.raises(trio.ClosedResourceError):
            binder.endpoints[0].receive_all(1)
        await alice.expect(Reconnected)


# --- bursts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quiet", [0, 1, 2])
async def test_a_burst_leaves_together_though_its_sender_pauses_for_a_step(autojump_clock, monkeypatch, quiet):
    sends: list[int] = []
    send_many = MemoryEndpoint.send_many

    def note(self: MemoryEndpoint, datagrams: list[bytes], remote: tuple[str, int]) -> int:
        if datagrams[0][0] == 23:  # not a check of the path
            sends.append(len(datagrams))
        return send_many(self, datagrams, remote)

    network = Network(model=LinkModel(delay_s=0.02))
    async with two_connections(*configs(network)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        await trio.sleep(1)
        monkeypatch.setattr(MemoryEndpoint, "send_many", note)
        began = trio.current_time()
        for _ in range(2):
            for _ in range(2):
                alice.peer.send(channel_id, bytes(1100))
                await trio.lowlevel.checkpoint()
            for _ in range(quiet):
                await trio.lowlevel.checkpoint()
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        assert trio.current_time() == began  # nobody waited for a timer
        assert sends == [1, 3]  # the first at once, the others when the burst was over
        assert await bob.receive(4) == [bytes(1100)] * 4


async def test_what_follows_a_burst_is_another(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    async with two_connections(*configs(network)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        await trio.sleep(1)
        for number in range(3):
            alice.peer.send(channel_id, b"%d" % number)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            assert alice.peer._core.outbound(channel_id).unsent == 0  # it has left, and no time has passed
        assert await bob.receive(3) == [b"0", b"1", b"2"]


# --- full sockets -----------------------------------------------------------------------------------------------------


async def test_a_full_socket_only_delays(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    binder = Binder(network)
    first, second = PeerConfig(hosts=(ALICE,), bind=binder), configs(network)[1]
    async with two_connections(first, second) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        sent = [b"%d" % number * 1000 for number in range(100)]
        for round_ in range(3):
            binder.endpoints[0].stall()
            for message in sent:
                alice.peer.send(channel_id, message)
            await trio.sleep(1)
            assert len(bob.messages) == round_ * len(sent)
            binder.endpoints[0].stall(False)
            assert (await bob.receive((round_ + 1) * len(sent)))[-len(sent) :] == sent
        assert not alice.count(Disconnected)


async def test_a_socket_that_is_closed_under_it_is_left_for_another(autojump_clock):
    """Whoever sends does not hear of it, and closing closes what is left."""
    network = Network(model=LinkModel(delay_s=0.02))
    binder = Binder(network)
    first, second = PeerConfig(hosts=(ALICE, "198.51.100.3"), bind=binder), configs(network)[1]
    async with two_connections(first, second) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        for endpoint in binder.endpoints:
            if alice.peer.is_sending_from(endpoint.local_address):
                endpoint.close()
        alice.peer.send(channel_id, b"by the other way")
        assert await bob.receive(1) == [b"by the other way"]
        for endpoint in binder.endpoints:
            endpoint.close()
        alice.peer.send(channel_id, b"by no way")
        alice.peer.close()


@pytest.mark.parametrize("how", ["send_all", "send_all_until", "send_together"])
async def test_what_comes_before_a_message_that_is_refused_leaves_at_once(autojump_clock, how):
    """Not with the timer, which may have nothing to do for long."""
    network = Network(model=LinkModel(delay_s=0.02))
    async with two_connections(*configs(network)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        messages = [b"first", bytes(300_000), b"last"]
        now = trio.current_time()
        with pytest.raises(ValueError, match="300000 bytes is above"):
            if how == "send_all":
                alice.peer.send_all(channel_id, messages, now)
            elif how == "send_all_until":
                alice.peer.send_all_until(channel_id, [(now + 9, message) for message in messages], now)
            else:
                alice.peer.send_together(channel_id, messages, now, more=False)
        assert await bob.receive(1) == [b"first"]
        assert trio.current_time() - now == pytest.approx(0.02)


async def test_an_address_that_comes_back_later_is_noticed(autojump_clock, monkeypatch):
    network = Network(model=LinkModel(delay_s=0.02))
    addresses = [ALICE]
    monkeypatch.setattr(interfaces, "host_addresses", lambda **_: list(addresses))
    second = PeerConfig(hosts=(BOB,), bind=network.bind, controlling=False)
    async with two_connections(PeerConfig(bind=network.bind), second) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        network.set_drop(blocked, ALICE, BOB)
        addresses.clear()
        await alice.expect(Disconnected)
        await trio.sleep(3.5)
        addresses.append("198.51.100.77")
        alice.peer.send(channel_id, b"from the new address")
        assert await bob.receive(1) == [b"from the new address"]


async def test_a_socket_that_stays_full_is_left_for_another(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    binder = Binder(network)
    first, second = PeerConfig(hosts=(ALICE, "198.51.100.3"), bind=binder), configs(network)[1]
    async with two_connections(first, second) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        binder.endpoints[0].stall()
        alice.peer.send(channel_id, b"by the other way")
        assert await bob.receive(1) == [b"by the other way"]
        assert not alice.count(Failed)


async def test_the_better_path_is_taken_again_when_it_works_again(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    other = "198.51.100.3"
    first, second = PeerConfig(hosts=(ALICE, other), bind=network.bind), configs(network)[1]
    async with two_connections(first, second) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        network.set_drop(blocked, ALICE, BOB)
        alice.peer.send(channel_id, b"by the other way")
        await bob.receive(1)
        await trio.sleep(12)
        alice.peer.send(channel_id, b"still")
        assert bob.peer._core.ice.selected_path.remote[0] == other
        network.set_drop(None, ALICE, BOB)
        await trio.sleep(12)
        assert alice.peer._core.ice.selected_path.local[0] == ALICE
        assert bob.peer._core.ice.selected_path.remote[0] == ALICE
        alice.peer.send(channel_id, b"and back")
        assert await bob.receive(3) == [b"by the other way", b"still", b"and back"]
        assert not alice.count(Failed)


async def test_a_reader_that_does_not_consume_holds_the_writer_back(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    sctp = SctpConfig(receive_window=128 * 1024, manual_window=True)
    async with two_connections(*configs(network, sctp=sctp)) as (alice, bob):
        channel_id = await open_channel(alice, bob)
        for _ in range(40):
            alice.peer.send(channel_id, bytes(16384))
        await trio.sleep(10)
        assert len(bob.messages) <= 9
        assert alice.peer.buffered_amount(channel_id) > 0
        taken = 0
        while taken < 40:
            assert len(bob.messages) > taken, "the window did not open again"
            bob.peer.consume((len(bob.messages) - taken) * 16384)
            taken = len(bob.messages)
            await trio.sleep(2)


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_ends_run_and_tells_the_peer(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    first, second = configs(network)
    async with running(second) as bob:
        async with nothing_left_behind():
            async with running(first) as alice:
                introduce(alice, bob)
                channel_id = await open_channel(alice, bob)
                alice.peer.close()
                alice.peer.close()
                with pytest.raises(TransportError):
                    alice.peer.send(channel_id, b"too late")
        await bob.expect(Failed)
        assert not alice.count(Failed)


async def test_nothing_is_reported_after_closing(autojump_clock):
    """The sink closes in the middle of a batch of events."""
    network = Network(model=LinkModel(delay_s=0.02))
    first, second = configs(network)
    async with running(second) as bob:
        heard: list[object] = []

        def close_at_once(event: object) -> None:
            heard.append(event)
            alice.close()

        alice = PeerConnection(first, close_at_once)
        await alice.gather()
        async with trio.open_nursery() as nursery:
            await nursery.start(alice.run)
            alice.apply_answer(bob.peer.accept_offer(alice.create_offer()))
            for label in ("one", "two", "three"):
                alice.open_channel(label)
        assert len(heard) == 1


async def test_an_exception_of_the_sink_ends_run_and_closes_everything(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))
    binder = Binder(network)
    first, second = PeerConfig(hosts=(ALICE,), bind=binder), configs(network)[1]

    def complain(event: object) -> None:
        raise LookupError(event)

    async with running(second) as bob:
        alice = PeerConnection(first, complain)
        await alice.gather()
        with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                await nursery.start(alice.run)
                alice.apply_answer(bob.peer.accept_offer(alice.create_offer()))
        with pytest.raises(trio.ClosedResourceError):
            binder.endpoints[0].receive_all(1)


async def test_closing_before_run_ends_run(autojump_clock):
    network = Network()
    binder = Binder(network)
    alice = PeerConnection(PeerConfig(hosts=(ALICE,), bind=binder), print)
    await alice.gather()
    alice.close()
    async with trio.open_nursery() as nursery:
        await nursery.start(alice.run)
    with pytest.raises(trio.ClosedResourceError):
        binder.endpoints[0].receive_all(1)


async def test_closing_while_gathering(autojump_clock):
    """The STUN server does not answer, so that there is time."""
    network = Network()
    servers = (IceServer(("stun:192.0.2.1",)),)
    alice = PeerConnection(PeerConfig(hosts=(ALICE,), bind=network.bind, ice_servers=servers), print)
    with pytest.RaisesGroup(trio.ClosedResourceError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.gather)
            await trio.sleep(0.1)
            alice.close()
    network.bind(ALICE, 49152)  # the address is free again


async def test_gathering_after_closing_opens_nothing():
    alice = PeerConnection(PeerConfig(hosts=("127.0.0.1",)), print)
    alice.close()
    with pytest.raises(trio.ClosedResourceError):
        await alice.gather()


@pytest.mark.parametrize("steps", range(12))
async def test_closing_while_connecting(autojump_clock, steps):
    """At any stage of it the other side finds out, and nothing is left."""
    network = Network(model=LinkModel(delay_s=0.05))
    first, second = configs(network)
    async with nothing_left_behind():
        async with running(first) as alice, running(second) as bob:
            introduce(alice, bob)
            await trio.sleep(0.03 * steps)
            alice.peer.close()
            await bob.expect(Failed)


async def test_cancelling_anywhere_leaves_nothing_behind(autojump_clock):
    network = Network(model=LinkModel(delay_s=0.02))

    async def talk() -> None:
        async with two_connections(*configs(network)) as (alice, bob):
            channel_id = await open_channel(alice, bob)
            alice.peer.send(channel_id, b"hello")
            await bob.receive(1)

    await cancel_everywhere(talk)


async def test_cancelling_anywhere_leaves_no_socket_open():
    hosts = ("127.0.0.1",)

    async def talk() -> None:
        async with two_connections(PeerConfig(hosts=hosts), PeerConfig(hosts=hosts, controlling=False)) as (a, b):
            await open_channel(a, b)

    await cancel_everywhere(talk, every=3)


# --- running out of things --------------------------------------------------------------------------------------------


async def test_running_out_of_files_while_gathering(no_leaks):
    hosts = tuple(f"127.0.0.{last}" for last in range(1, 30))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    alice = PeerConnection(PeerConfig(hosts=hosts), print)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 10, hard))
        with pytest.raises(OSError) as caught:
            await alice.gather()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
    await alice.gather()  # and when there are files again, it works
    assert len(alice.local_candidates()) == len(hosts)
    alice.close()


async def test_an_address_that_cannot_be_bound_is_left_out(no_leaks):
    alice = PeerConnection(PeerConfig(hosts=("192.0.2.1", "127.0.0.1")), print)
    await alice.gather()
    assert [line.split()[4] for line in alice.local_candidates()] == ["127.0.0.1"]
    alice.close()


async def test_no_address_at_all_is_an_error(no_leaks):
    alice = PeerConnection(PeerConfig(hosts=("192.0.2.1",)), print)
    with pytest.raises(TransportError, match="no local address"):
        await alice.gather()
    alice.close()
