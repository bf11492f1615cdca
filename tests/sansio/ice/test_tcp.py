"""ICE-TCP: active candidates against a passive server (RFC 6544)."""

from __future__ import annotations

import pytest

from tests.sansio.ice.network import LiteResponder, Network, Node
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.events import Path, State, TcpConnectNeeded

UDP = ("10.0.0.9", 7882)
TCP = ("10.0.0.9", 7881)


def node(network: Network) -> Node:
    return Node(network, ["10.0.0.1"], controlling=True, tcp=True)


def dials(a: Node) -> int:
    return sum(isinstance(event, TcpConnectNeeded) for event in a.events)


def test_udp_works_so_tcp_is_never_dialled() -> None:
    network = Network()
    a = node(network)
    LiteResponder(network, [UDP], tcp=[TCP]).introduce(a)
    network.run(seconds=10)
    assert a.agent.selected_path.protocol == "udp"
    assert dials(a) == 0


def test_tcp_is_tried_after_300_ms_when_udp_is_blocked() -> None:
    network = Network()
    network.blocked.append(lambda source, target, protocol: protocol == "udp")
    a = node(network)
    server = LiteResponder(network, [UDP], tcp=[TCP])
    start = network.now
    server.introduce(a)
    assert network.run(until=lambda: a.is_connected)
    assert network.now - start == pytest.approx(0.34)
    assert a.agent.selected_path.protocol == "tcp"
    assert server.selected is not None
    assert server.selected.protocol == "tcp"
    network.run(seconds=60)
    assert a.is_connected


def test_tcp_is_tried_at_once_when_there_is_nothing_else() -> None:
    network = Network()
    a = node(network)
    server = LiteResponder(network, [], tcp=[TCP])
    start = network.now
    server.introduce(a)
    assert network.run(until=lambda: a.is_connected)
    assert network.now - start == pytest.approx(0.04)


def test_without_the_end_of_candidates_tcp_gives_udp_a_moment() -> None:
    network = Network()
    a = node(network)
    server = LiteResponder(network, [UDP], tcp=[TCP])
    a.agent.set_remote_parameters(server.ufrag, server.password, lite=True, now=network.now)
    udp, tcp = server.candidates
    a.agent.add_remote_candidate(tcp, network.now)
    network.run(seconds=0.01)
    a.agent.add_remote_candidate(udp, network.now)
    network.run(seconds=5)
    assert a.agent.selected_path.protocol == "udp"
    assert dials(a) == 0


def test_refused_connection_does_not_stop_udp() -> None:
    network = Network()
    a = node(network)
    server = LiteResponder(network, [UDP], tcp=[TCP])
    network.listeners.clear()
    network.blocked.append(lambda source, target, protocol: network.now < 101 and protocol == "udp")
    server.introduce(a)
    assert network.run(seconds=5, until=lambda: a.is_connected)
    assert dials(a) == 1
    assert a.agent.selected_path.protocol == "udp"


def test_udp_that_comes_up_later_is_preferred() -> None:
    network = Network()
    network.blocked.append(lambda source, target, protocol: network.now < 100.6 and protocol == "udp")
    a = node(network)
    LiteResponder(network, [UDP], tcp=[TCP]).introduce(a)
    network.run(seconds=5)
    assert [path.protocol for path in a.selections] == ["tcp", "udp"]


def test_a_lost_connection_is_made_again() -> None:
    network = Network()
    a = node(network)
    LiteResponder(network, [], tcp=[TCP]).introduce(a)
    network.run(seconds=3)
    lost = a.agent.selected_path
    a.agent.path_lost(lost, network.now)
    assert a.agent.selected_path is None
    assert a.agent.state is State.DISCONNECTED
    assert not a.agent.is_authenticated(lost)
    assert network.run(seconds=3, until=lambda: a.is_connected)
    assert a.agent.selected_path != lost
    assert dials(a) == 2


def test_a_lost_connection_with_a_server_that_is_gone_fails_in_time() -> None:
    network = Network()
    a = node(network)
    LiteResponder(network, [], tcp=[TCP]).introduce(a)
    network.run(seconds=3)
    network.listeners.clear()
    start = network.now
    a.agent.path_lost(a.agent.selected_path, network.now)
    assert network.run(seconds=40, until=lambda: a.agent.state is State.FAILED)
    assert network.now - start == pytest.approx(20.0)
    assert dials(a) >= 2


def test_udp_dying_brings_tcp_up() -> None:
    network = Network()
    a = node(network)
    LiteResponder(network, [UDP], tcp=[TCP]).introduce(a)
    network.run(seconds=3)
    assert a.agent.selected_path.protocol == "udp"
    network.blocked.append(lambda source, target, protocol: protocol == "udp")
    assert network.run(seconds=4, until=lambda: a.agent.selected_path.protocol == "tcp")
    assert State.DISCONNECTED not in a.states


def test_a_lesser_path_is_nominated_until_a_full_peer_can_have_taken_it() -> None:
    """A pion that is not lite takes a numbered nomination only when its own check of the pair was answered."""
    network = Network()
    a = node(network)
    LiteResponder(network, [UDP], tcp=[TCP]).introduce(a)
    network.run(seconds=3)
    network.blocked.append(lambda source, target, protocol: protocol == "udp")
    assert network.run(seconds=4, until=lambda: a.agent.selected_path.protocol == "tcp")
    chosen_at, round_trip_s = network.now, 2 * network.delay_s
    network.run(seconds=0.4)
    nominated = [at for at, _, target, data in network.log if target == TCP and nomination(data) is not None]
    assert sum(at >= chosen_at + round_trip_s for at in nominated) == 1
    assert len(nominated) == 3  # one that the choice was made by, one at once, and one that comes after their check


def nomination(data: bytes) -> object:
    return stun.decode(data).attributes.get(stun.NOMINATION)


def test_an_unasked_connection_is_not_wanted() -> None:
    network = Network()
    a = node(network)
    LiteResponder(network, [UDP]).introduce(a)
    assert not a.agent.tcp_connected(Path(("10.0.0.1", 1), TCP, "tcp"), network.now)


def test_at_most_four_connections_are_attempted_at_a_time() -> None:
    network = Network()
    a = Node(network, ["10.0.0.1"], controlling=True, tcp=True)
    LiteResponder(network, [], tcp=[("10.0.0.9", 1000 + n) for n in range(20)]).introduce(a)
    network.listeners.clear()
    a.flush()
    assert dials(a) == 4
    network.run(seconds=2)
    assert dials(a) == 20


def test_path_lost_for_a_path_never_known_is_ignored() -> None:
    network = Network()
    a = node(network)
    a.agent.path_lost(Path(("10.0.0.1", 1), TCP, "tcp"), network.now)
    a.agent.tcp_failed(TCP, network.now)
    assert a.agent.state is State.NEW


def test_one_connection_per_server_address_however_many_addresses_we_have() -> None:
    network = Network()
    a = Node(network, ["10.0.0.1", "10.0.0.2", "10.0.0.3"], controlling=True, tcp=True)
    LiteResponder(network, [], tcp=[TCP]).introduce(a)
    network.run(seconds=3)
    assert a.is_connected
    assert dials(a) == 1
