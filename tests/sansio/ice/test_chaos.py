"""Two agents while everything around them changes at random: nothing breaks, and in the end they are connected."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sansio.ice.network import Nat, Network, Node, binding_request, both_connected, pair, signal
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.candidate import Candidate
from trio_livekit._sansio.ice.events import Path, State


def assert_consistent(node: Node) -> None:
    agent = node.agent
    path = agent.selected_path
    assert path is None or agent.is_authenticated(path)
    assert path is not None or agent.state is not State.CONNECTED
    statistics = agent.statistics()
    assert statistics.pairs <= 100
    assert statistics.remote_candidates <= 32


def disturb(network: Network, nodes: tuple[Node, Node], chance: random.Random) -> None:
    node = chance.choice(nodes)
    match chance.randrange(7):
        case 0:
            ip = chance.choice([c.host for n in nodes for c in n.candidates])
            network.blocked.append(lambda source, target, protocol: ip in (source[0], target[0]))
        case 1:
            network.blocked.clear()
        case 2:
            network.loss = chance.choice([0.0, 0.1, 0.5])
        case 3:
            network.nats["10.0.0.1"].rebind()
        case 4 if len(node.candidates) > 1:
            gone = node.candidates.pop(0)
            del network.sockets[gone.address, "udp"]
            node.agent.remove_local_candidate(gone.address, network.now)
        case 5:
            new = node.bind((f"10.7.{chance.randrange(250)}.1", chance.randrange(1024, 65000)))
            for other in nodes:
                if other is not node:
                    other.agent.add_remote_candidate(new, network.now)
        case 6:
            restart(network, nodes)


def restart(network: Network, nodes: tuple[Node, Node]) -> None:
    for node in nodes:
        node.agent.restart(network.now)
    signal(nodes[0], nodes[1])
    signal(nodes[1], nodes[0])


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_they_find_each_other_again(seed: int) -> None:
    network = Network(seed, delay_s=0.02)
    network.nats["10.0.0.1"] = Nat("198.51.100.1", symmetric=seed % 2 == 0)
    nodes = pair(network, a_ips=["10.0.0.1", "10.0.1.1"], b_ips=["10.0.0.2", "10.0.1.2"])
    signal(nodes[1], nodes[0])
    signal(nodes[0], nodes[1])
    chance = random.Random(seed)
    for _ in range(40):
        network.run(seconds=chance.uniform(0, 4))
        disturb(network, nodes, chance)
        for node in nodes:
            assert_consistent(node)
    network.blocked.clear()
    network.loss = 0.0
    restart(network, nodes)
    assert network.run(seconds=10, until=both_connected(*nodes))
    network.run(seconds=20)
    a, b = nodes
    assert a.agent.controlling is not b.agent.controlling
    for sender, receiver in ((a, b), (b, a)):
        receiver.data.clear()
        assert sender.send(b"\x80x")
        network.run(seconds=0.1)
        assert [data for _, data in receiver.data] == [b"\x80x"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_bytes_and_any_change_of_a_genuine_message(data: st.DataObject) -> None:
    network = Network()
    a, b = pair(network)
    signal(b, a)
    signal(a, b)
    network.run(until=both_connected(a, b))
    path = a.agent.selected_path
    a.flush()
    genuine = data.draw(
        st.sampled_from(
            [
                binding_request(a, b.agent.ufrag, (stun.USE_CANDIDATE, None)),
                stun.encode(1, stun.SUCCESS, bytes(12), [(stun.XOR_MAPPED_ADDRESS, path.local)], key=b"x"),
                b"",
            ]
        )
    )
    # Up to the FINGERPRINT: what follows MESSAGE-INTEGRITY is not authenticated, and without it the message is genuine.
    at = data.draw(st.integers(0, max(0, len(genuine) - 9)))
    mutated = genuine[:at] + data.draw(st.binary(max_size=20)) + genuine[at + data.draw(st.integers(1, 8)) :]
    if mutated != genuine:
        before = a.agent.statistics()
        a.agent.receive_datagram(
            mutated, data.draw(st.sampled_from([path, Path(path.local, ("1.2.3.4", 5), "udp")])), network.now
        )
        after = a.agent.statistics()
        assert a.agent.datagrams_to_send(network.now) == []
        assert (after.pairs, after.state, after.answers_received) == (
            before.pairs,
            before.state,
            before.answers_received,
        )


def test_a_relayed_candidate_is_a_base_like_any_other() -> None:
    network = Network()
    a = Node(network, ["10.0.0.1"], controlling=True)
    b = Node(network, ["10.0.0.2"], controlling=False)
    relayed, mapped = ("203.0.113.7", 50000), ("198.51.100.1", 40000)
    network.sockets[relayed, "udp"] = a.receive
    a.add(Candidate.relayed(relayed, mapped, ("203.0.113.1", 3478)))
    network.blocked.append(lambda source, target, protocol: "10.0.0.1" in (source[0], target[0]))
    signal(b, a)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    assert a.agent.selected_path == Path(relayed, b.candidates[0].address, "udp")
    network.blocked.clear()  # the direct way opens, and is better
    assert network.run(seconds=3, until=lambda: a.agent.selected_path.local == a.candidates[0].address)
