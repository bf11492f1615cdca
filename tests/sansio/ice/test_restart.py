"""ICE restart: new credentials while the old pair carries data (RFC 8445 section 9)."""

from __future__ import annotations

import pytest

from tests.sansio.ice.network import LiteResponder, Network, Node, binding_request, both_connected, pair, signal
from trio_livekit._sansio.ice.events import Path, State


def connected(network: Network) -> tuple[Node, Node]:
    a, b = pair(network, b_ips=["10.0.0.2", "10.0.0.3"])
    signal(b, a)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    network.run(seconds=1.0)
    return a, b


def test_restart_changes_both_credentials() -> None:
    network = Network()
    a, _ = connected(network)
    before = a.agent.ufrag, a.agent.password
    after = a.agent.restart(network.now)
    assert after == (a.agent.ufrag, a.agent.password)
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert len(after[0]) >= 4
    assert len(after[1]) >= 22


def test_data_flows_throughout() -> None:
    network = Network(delay_s=0.02)
    a, b = connected(network)
    sent = 0

    def talk(seconds: float) -> None:
        nonlocal sent
        end = network.now + seconds
        while network.now < end:
            assert a.send(b"\x80%d" % sent)
            sent += 1
            network.run(seconds=0.01)

    a.agent.restart(network.now)
    talk(0.5)  # the offer travels
    b.agent.restart(network.now)
    signal(a, b)
    talk(0.1)  # b checks already, a does not know its credentials yet
    signal(b, a)
    talk(1.0)
    network.run(seconds=0.1)
    assert [data for _, data in b.data] == [b"\x80%d" % n for n in range(sent)]
    assert State.DISCONNECTED not in a.states + b.states
    assert len(a.selections) == 2


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_after_a_restart_consent_is_asked_with_the_new_credentials(loss: float) -> None:
    network = Network(3, loss=loss)
    a, b = connected(network)
    for node in (a, b):
        node.agent.restart(network.now)
    signal(a, b)
    signal(b, a)
    network.run(seconds=40)
    assert a.is_connected
    assert b.is_connected
    assert a.agent.statistics().unmatched == 0
    if not loss:
        assert b.agent.statistics().unauthentic == 0
        assert State.DISCONNECTED not in a.states


def test_old_credentials_are_answered_for_ten_seconds_more() -> None:
    network = Network()
    a, b = connected(network)
    with_old_credentials = binding_request(b, a.agent.ufrag)
    for node in (a, b):
        node.agent.restart(network.now)
    signal(a, b)
    signal(b, a)
    path = b.agent.selected_path
    network.run(seconds=9)
    b.agent.receive_datagram(with_old_credentials, path, network.now)
    assert [to for to, _ in b.agent.datagrams_to_send(network.now)] == [path]
    network.run(seconds=3)
    b.agent.receive_datagram(with_old_credentials, path, network.now)
    assert b.agent.datagrams_to_send(network.now) == []


def test_a_restart_that_nobody_answers_leaves_the_old_path_in_place() -> None:
    network = Network()
    a, b = connected(network)
    path = a.agent.selected_path
    a.agent.restart(network.now)
    network.run(seconds=40)
    assert a.agent.selected_path == path
    assert a.is_connected
    a.agent.set_remote_parameters("gone", "goneforever", now=network.now)
    network.run(seconds=40)
    assert a.agent.selected_path == path
    assert a.is_connected
    assert b.is_connected


def test_a_restart_brings_back_what_had_failed() -> None:
    network = Network()
    a, b = connected(network)
    network.blocked.append(lambda source, target, protocol: True)
    assert network.run(seconds=40, until=lambda: a.agent.state is b.agent.state is State.FAILED)
    network.blocked.clear()
    for node in (a, b):
        node.agent.restart(network.now)
        assert node.agent.state is State.NEW
    signal(a, b)
    signal(b, a)
    assert network.run(seconds=2, until=both_connected(a, b))


def test_the_old_path_dying_during_a_restart_does_not_end_it() -> None:
    network = Network()
    a, b = connected(network)
    dead = a.agent.selected_path.remote[0]
    network.blocked.append(lambda source, target, protocol: dead in (source[0], target[0]))
    network.run(seconds=12)  # disconnected, or moved to the other address
    for node in (a, b):
        node.agent.restart(network.now)
    network.run(seconds=6)  # signalling is slow
    signal(a, b)
    signal(b, a)
    assert network.run(seconds=5, until=both_connected(a, b))
    assert a.agent.selected_path.remote[0] == "10.0.0.2" if dead == "10.0.0.3" else "10.0.0.3"


def test_two_restarts_in_a_row() -> None:
    network = Network()
    a, b = connected(network)
    a.agent.restart(network.now)
    a.agent.restart(network.now)
    b.agent.restart(network.now)
    signal(a, b)
    signal(b, a)
    network.run(seconds=2)
    assert len(a.selections) == 2
    network.run(seconds=20)
    assert a.is_connected
    assert b.is_connected


def test_the_same_remote_parameters_again_change_nothing() -> None:
    network = Network()
    a, b = connected(network)
    signal(b, a)
    assert a.agent.statistics().pairs == 2
    network.run(seconds=3)
    assert len(a.selections) == 1


def test_another_peer_answering_starts_over_with_our_credentials_kept() -> None:
    network = Network()
    a, _ = connected(network)
    ufrag = a.agent.ufrag
    server = LiteResponder(network, [("10.0.0.9", 7882)])
    server.introduce(a)
    assert a.agent.ufrag == ufrag
    assert network.run(
        seconds=2,
        until=lambda: a.agent.selected_path == Path(a.candidates[0].address, ("10.0.0.9", 7882), "udp"),
    )


def test_no_restart_after_close() -> None:
    network = Network()
    a, _ = connected(network)
    a.agent.close()
    before = a.agent.ufrag
    assert a.agent.restart(network.now)[0] == before
    assert a.agent.state is State.CLOSED


def test_while_the_peer_does_not_answer_a_restart_other_pairs_take_over() -> None:
    network = Network()
    a, b = connected(network)
    first = a.agent.selected_path
    a.agent.restart(network.now)
    assert a.agent.is_restarting
    network.silence(first.remote[0])
    assert network.run(seconds=3.5, until=lambda: a.agent.selected_path != first)
    assert State.DISCONNECTED not in a.states
    b.agent.restart(network.now)
    signal(a, b)
    signal(b, a)
    assert network.run(seconds=2, until=lambda: not a.agent.is_restarting and not b.agent.is_restarting)


def test_a_path_that_came_back_before_the_answer_is_used_at_once() -> None:
    network = Network()
    a, b = connected(network)
    for node in (a, b):
        network.silence(node.candidates[0].address[0])
    network.run(seconds=6)
    assert a.agent.state is State.DISCONNECTED
    a.agent.restart(network.now)
    network.blocked.clear()
    assert network.run(seconds=1, until=lambda: a.is_connected)
    assert a.agent.is_restarting
    assert a.send(b"\x80x")
    network.run(seconds=0.1)
    assert [data for _, data in b.data] == [b"\x80x"]


def test_a_restart_that_waits_for_its_answer_is_not_given_up_with_the_old_path() -> None:
    network = Network()
    a, b = connected(network)
    network.silence("10.0.0.1")
    network.run(seconds=6)
    a.agent.restart(network.now)
    network.run(seconds=17)  # without any answer for longer than an agent waits
    assert a.agent.state is State.DISCONNECTED
    assert a.agent.selected_path is None
    network.blocked.clear()
    b.agent.restart(network.now)
    signal(a, b)
    signal(b, a)
    assert network.run(seconds=2, until=lambda: a.is_connected and not a.agent.is_restarting)


def test_a_restart_that_is_never_answered_ends_in_failure() -> None:
    network = Network()
    a, _ = connected(network)
    network.silence("10.0.0.1")
    network.run(seconds=6)
    a.agent.restart(network.now)
    assert network.run(seconds=60, until=lambda: a.agent.state is State.FAILED)


def test_checks_of_the_new_generation_are_answered_before_the_peers_answer_is_here() -> None:
    network = Network()
    a, b = connected(network)
    ufrag, _ = a.agent.restart(network.now)
    answered = a.agent.statistics().requests_answered
    b.agent.restart(network.now)
    signal(a, b)  # the offer; the answer is still on its way
    network.run(seconds=0.3)
    assert a.agent.ufrag == ufrag
    assert a.agent.statistics().requests_answered > answered
    assert len(a.selections) == 1
    signal(b, a, candidates=False)  # what the checks taught is enough
    assert network.run(seconds=0.3, until=lambda: not a.agent.is_restarting)
