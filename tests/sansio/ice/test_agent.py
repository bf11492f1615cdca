"""Connecting: roles, lite peers, trickle, early checks, peer-reflexive candidates, loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sansio.ice.network import LiteResponder, Nat, Network, Node, binding_request, both_connected, pair, signal
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.candidate import Candidate
from trio_livekit._sansio.ice.events import Path, PathSelected, State, StateChanged

if TYPE_CHECKING:
    from collections.abc import Callable


def assert_same_path(a: Node, b: Node) -> None:
    ours, theirs = a.agent.selected_path, b.agent.selected_path
    assert ours is not None
    assert theirs is not None
    assert (ours.local, ours.remote) == (theirs.remote, theirs.local)


def test_two_full_agents_connect_in_one_and_a_half_round_trips() -> None:
    network = Network(delay_s=0.01)
    a, b = pair(network)
    signal(b, a)
    signal(a, b)
    start = network.now
    assert network.run(until=both_connected(a, b))
    assert network.now - start < 0.031
    assert_same_path(a, b)
    assert a.events == [
        StateChanged(State.CHECKING),
        PathSelected(a.agent.selected_path),
        StateChanged(State.CONNECTED),
    ]
    assert a.send(b"\x14hello")
    network.run(seconds=0.1)
    assert b.data == [(b.agent.selected_path, b"\x14hello")]


def test_a_lite_peer_is_selected_after_one_round_trip() -> None:
    network = Network(delay_s=0.01)
    a = Node(network, ["10.0.0.1"], controlling=True)
    server = LiteResponder(network, [("10.0.0.9", 7882)])
    start = network.now
    server.introduce(a)
    assert network.run(until=lambda: a.is_connected)
    assert network.now - start == pytest.approx(0.02)
    assert a.agent.selected_path == Path(a.candidates[0].address, ("10.0.0.9", 7882), "udp")
    assert server.selected == Path(("10.0.0.9", 7882), a.candidates[0].address, "udp")


def test_facing_a_lite_peer_makes_us_control() -> None:
    network = Network()
    a = Node(network, ["10.0.0.1"], controlling=False)
    server = LiteResponder(network, [("10.0.0.9", 7882)])
    server.introduce(a)
    assert a.agent.controlling
    assert network.run(until=lambda: a.is_connected)


def test_a_lite_peer_ends_up_on_the_pair_we_chose_among_many() -> None:
    network = Network(delay_s=0.06)
    a = Node(network, ["10.0.0.1", "10.0.1.1", "10.0.2.1"], controlling=True)
    server = LiteResponder(network, [("10.0.0.9", 7882), ("10.0.1.9", 7882)])
    server.introduce(a)
    network.run(seconds=0.4)  # before the first keep-alive would put it right
    chosen = a.agent.selected_path
    assert chosen is not None
    assert server.selected == Path(chosen.remote, chosen.local, "udp")
    best = max(a.candidates, key=lambda candidate: candidate.priority)
    assert chosen.local == best.address


@pytest.mark.parametrize("a_controls", [True, False])
@pytest.mark.parametrize("b_controls", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_every_combination_of_roles_connects_with_one_controlling(
    a_controls: bool, b_controls: bool, seed: int
) -> None:
    network = Network(seed)
    a = Node(network, ["10.0.0.1"], controlling=a_controls)
    b = Node(network, ["10.0.0.2"], controlling=b_controls)
    signal(b, a)
    signal(a, b)
    assert network.run(seconds=5, until=both_connected(a, b))
    network.run(seconds=3)
    assert a.agent.controlling is not b.agent.controlling
    assert_same_path(a, b)


@pytest.mark.parametrize("controls", [True, False])
def test_equal_tie_breakers_are_drawn_again(controls: bool) -> None:
    network = Network()

    def same_at_first() -> Callable[[int], bytes]:
        ties = [b"\x55" * 8]
        return lambda n: ties.pop() if n == 8 and ties else network.random_bytes(n)

    a, b = (Node(network, [ip], controlling=controls, random_bytes=same_at_first()) for ip in ("10.0.0.1", "10.0.0.2"))
    signal(b, a)
    signal(a, b)
    assert network.run(seconds=5, until=both_connected(a, b))
    network.run(seconds=3)
    assert a.agent.controlling is not b.agent.controlling


def test_checks_before_the_answer_are_answered_and_remembered() -> None:
    network = Network(delay_s=0.01)
    a, b = pair(network)
    signal(a, b)  # b knows a; a does not know b, and b's candidates never come
    network.run(seconds=0.05)
    assert a.agent.state is State.NEW
    assert a.agent.statistics().peer_reflexive == 1
    assert b.agent.state is State.CONNECTED  # our answer proved that we know our password
    start = network.now
    signal(b, a, candidates=False)
    assert network.run(until=lambda: a.is_connected)
    assert network.now - start == pytest.approx(0.02)


def test_an_early_check_from_somebody_else_leaves_no_trace() -> None:
    network = Network()
    a, b = pair(network)
    stranger = Node(network, ["10.0.0.66"], controlling=False)
    signal(a, stranger)
    network.run(seconds=0.05)
    path = Path(a.candidates[0].address, stranger.candidates[0].address, "udp")
    assert a.agent.is_authenticated(path)
    signal(b, a)
    signal(a, b)
    assert not a.agent.is_authenticated(path)
    assert network.run(until=both_connected(a, b))
    network.run(seconds=1)
    assert_same_path(a, b)


def test_a_peer_that_is_only_known_by_its_checks_is_reached() -> None:
    network = Network()
    a, b = pair(network)
    signal(b, a, candidates=False)  # as with a server that advertises an address nobody can reach
    a.agent.add_remote_candidate(Candidate.local_host(("192.0.2.99", 1)), network.now)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    assert_same_path(a, b)
    assert a.agent.statistics().peer_reflexive == 1


def test_a_reflexive_candidate_that_is_signalled_later_is_replaced_not_doubled() -> None:
    network = Network()
    a, b = pair(network)
    signal(b, a, candidates=False)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    before = a.agent.statistics()
    a.agent.add_remote_candidate(b.candidates[0], network.now)
    after = a.agent.statistics()
    assert (before.pairs, before.remote_candidates, before.peer_reflexive) == (1, 0, 1)
    assert (after.pairs, after.remote_candidates, after.peer_reflexive) == (1, 1, 0)


def test_candidates_may_trickle_before_and_after_the_credentials() -> None:
    network = Network()
    a, b = pair(network, b_ips=["10.0.0.2", "10.0.0.3"])
    a.agent.add_remote_candidate(b.candidates[1], network.now)
    network.run(seconds=1)
    assert network.log == []
    signal(b, a, candidates=False)
    signal(a, b, candidates=False)
    network.run(seconds=1)
    a.agent.add_remote_candidate(b.candidates[0], network.now)
    assert network.run(until=both_connected(a, b))
    network.run(seconds=1)
    assert_same_path(a, b)


def test_candidates_that_name_another_generation_wait_for_it() -> None:
    network = Network()
    a, b = pair(network)
    line = b.candidates[0].to_sdp()
    a.agent.add_remote_candidate(Candidate.parse(f"{line} ufrag {b.agent.ufrag}"), network.now)
    a.agent.add_remote_candidate(Candidate.parse("candidate:1 1 udp 99 10.9.9.9 9 typ host ufrag stale"), network.now)
    assert a.agent.statistics().remote_candidates == 0
    signal(b, a, candidates=False)
    assert a.agent.statistics().remote_candidates == 1
    signal(a, b)
    assert network.run(until=both_connected(a, b))


def test_ipv6_is_preferred_and_ipv4_is_the_way_when_it_is_blocked() -> None:
    for blocked in (False, True):
        network = Network()
        a = Node(network, ["2001:db8::1", "10.0.0.1"], controlling=True)
        b = Node(network, ["2001:db8::2", "10.0.0.2"], controlling=False)
        if blocked:
            network.blocked.append(lambda source, target, protocol: ":" in target[0])
        signal(b, a)
        signal(a, b)
        network.run(seconds=1)
        assert_same_path(a, b)
        assert (":" in a.agent.selected_path.remote[0]) is not blocked


@pytest.mark.parametrize("seed", range(30))
def test_half_of_all_packets_lost_is_no_obstacle(seed: int) -> None:
    network = Network(seed, loss=0.5)
    a, b = pair(network)
    signal(b, a)
    signal(a, b)
    assert network.run(seconds=15, until=both_connected(a, b))


@pytest.mark.parametrize("seed", range(10))
def test_many_interfaces_agree_on_one_pair(seed: int) -> None:
    network = Network(seed, delay_s=0.03, loss=0.1)
    a, b = pair(network, a_ips=["10.0.0.1", "10.1.0.1", "10.2.0.1"], b_ips=["10.0.0.2", "10.1.0.2", "2001:db8::2"])
    network.blocked.append(lambda source, target, protocol: source[0].split(".")[:2] != target[0].split(".")[:2])
    signal(b, a)
    signal(a, b)
    assert network.run(seconds=10, until=both_connected(a, b))
    network.run(seconds=4)
    assert_same_path(a, b)


def test_behind_a_nat_the_address_others_see_is_learnt() -> None:
    network = Network()
    network.nats["10.0.0.1"] = Nat("198.51.100.1")
    a, b = pair(network, b_ips=["203.0.113.5"])
    signal(b, a)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    assert b.agent.selected_path.remote[0] == "198.51.100.1"
    assert a.agent.selected_path.local == a.candidates[0].address


def test_a_controlling_peer_that_nominates_regularly_is_followed() -> None:
    """A check without USE-CANDIDATE makes a provisional choice, which a later nomination overrides."""
    network = Network()
    b = Node(network, ["10.0.0.2", "10.0.0.3"], controlling=False)
    remote = ("10.0.0.1", 4000)
    b.agent.set_remote_parameters("peer", "peerpassword", now=network.now)

    def answer(data: bytes, path: Path, now: float) -> None:
        request = stun.decode(data)
        if request.message_class == stun.REQUEST:
            mapped = [(stun.XOR_MAPPED_ADDRESS, path.remote)]
            network.send(path, stun.encode(1, stun.SUCCESS, request.transaction_id, mapped, key=b"peerpassword"))

    network.sockets[remote, "udp"] = answer

    def check(target: Candidate, *extra: tuple[int, object]) -> None:
        request = binding_request(b, "peer", (stun.ICE_CONTROLLING, 2**64 - 1), *extra)
        network.send(Path(remote, target.address, "udp"), request)
        network.run(seconds=0.2)

    high, low = b.candidates
    to_high, to_low = Path(high.address, remote, "udp"), Path(low.address, remote, "udp")
    nominated = (stun.USE_CANDIDATE, None)
    check(high)
    assert b.agent.selected_path == to_high
    check(low, nominated)
    assert b.agent.selected_path == to_low
    check(high, nominated)
    assert b.agent.selected_path == to_high
    check(low, nominated)  # of lower priority, and the other still works: no flapping
    assert b.agent.selected_path == to_high
    check(low, nominated, (stun.NOMINATION, 1))  # a peer that renominates means it
    assert b.agent.selected_path == to_low
    check(high, nominated, (stun.NOMINATION, 0))  # overtaken
    assert b.agent.selected_path == to_low
    check(high, nominated, (stun.NOMINATION, 2))
    assert b.agent.selected_path == to_high


def test_nobody_there_fails_after_the_time_for_connecting() -> None:
    network = Network()
    a = Node(network, ["10.0.0.1"], controlling=True)
    a.agent.set_remote_parameters("peer", "password", now=network.now)
    a.agent.add_remote_candidate(Candidate.local_host(("10.0.0.2", 9)), network.now)
    start = network.now
    assert network.run(seconds=60, until=lambda: a.agent.state is State.FAILED)
    assert network.now - start == pytest.approx(15.0)
    assert len(network.log) == 7  # tries, then silence
    assert a.agent.next_timeout() is None


def test_close_says_nothing_more() -> None:
    network = Network()
    a, b = pair(network)
    signal(b, a)
    signal(a, b)
    network.run(until=both_connected(a, b))
    a.agent.close()
    sent = len(network.log)
    network.run(seconds=0.001)
    assert a.agent.state is State.CLOSED
    assert a.agent.selected_path is None
    assert not any(entry[1] == a.candidates[0].address for entry in network.log[sent:])
    assert a.agent.datagrams_to_send(network.now) == []


def test_pairs_below_the_selected_one_are_left_in_peace() -> None:
    network = Network(delay_s=0.03)
    a = Node(network, ["10.0.0.1"], controlling=True)
    nobody = Candidate.local_host(("10.0.0.8", 1), local_preference=1)
    server = LiteResponder(network, [("10.0.0.9", 7882)])
    server.introduce(a)
    a.agent.add_remote_candidate(nobody, network.now)
    network.run(seconds=5)
    assert a.is_connected
    assert sum(target == nobody.address for _, _, target, _ in network.log) == 1  # before there was an answer


def test_pairs_are_ranked_by_the_address_the_peer_sees() -> None:
    """The first interface is preferred, but behind a NAT; the peer thinks more of the second, and so must we."""
    network = Network()
    network.nats["10.0.0.1"] = Nat("198.51.100.1")
    a, b = pair(network, a_ips=["10.0.0.1", "10.1.0.1"])
    signal(b, a)
    signal(a, b)
    network.run(seconds=1)
    assert_same_path(a, b)
    assert a.agent.selected_path.local[0] == "10.1.0.1"


def test_a_full_list_makes_room_for_the_peer_that_is_really_there() -> None:
    network = Network()
    a = Node(network, [f"10.0.0.{n}" for n in range(1, 6)], controlling=True)
    b = Node(network, ["10.0.1.1"], controlling=False)
    for n in range(32):
        a.agent.add_remote_candidate(Candidate.local_host(("10.0.9.9", 1000 + n)), network.now)
    signal(b, a, candidates=False)
    assert a.agent.statistics().pairs == 100
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    assert a.agent.statistics().pairs == 100
