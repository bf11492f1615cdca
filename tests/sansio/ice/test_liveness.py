"""After connecting: consent, suspicion, other pairs, outages, addresses that change, a process that sleeps."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.sansio.ice.network import LiteResponder, Nat, Network, Node, binding_request, both_connected, pair, signal
from trio_livekit._sansio.ice import stun
from trio_livekit._sansio.ice.candidate import Candidate
from trio_livekit._sansio.ice.events import Path, PathRecovered, PathSuspected, State

if TYPE_CHECKING:
    from trio_livekit._sansio.types import Address


def connected(network: Network, **ips: list[str]) -> tuple[Node, Node]:
    a, b = pair(network, **ips)
    signal(b, a)
    signal(a, b)
    assert network.run(until=both_connected(a, b))
    network.run(seconds=1.0)
    return a, b


def requests_since(network: Network, start: float, source: Address) -> list[float]:
    return [
        at
        for at, sender, _, data in network.log
        if at > start and sender == source and data[0:2] == b"\x00\x01" and stun.is_stun(data)
    ]


def test_idle_path_is_checked_about_every_second() -> None:
    network = Network()
    a, _ = connected(network)
    start = network.now
    network.run(seconds=10)
    sent = requests_since(network, start, a.candidates[0].address)
    assert 9 <= len(sent) <= 10


def test_busy_path_is_checked_every_two_to_two_and_a_half_seconds_with_jitter() -> None:
    network = Network()
    a, _ = connected(network)
    start = network.now
    while network.now < start + 20:
        network.run(seconds=0.1)
        a.agent.note_activity(network.now)
    sent = requests_since(network, start, a.candidates[0].address)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert all(2.0 <= gap <= 2.6 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 3


def test_silence_means_disconnected_then_failed_and_nothing_is_sent_any_more() -> None:
    network = Network()
    a, b = connected(network)
    network.silence("10.0.0.2")
    start = network.now
    assert network.run(seconds=30, until=lambda: a.agent.state is State.DISCONNECTED)
    assert 4.5 <= network.now - start <= 5.6
    assert a.agent.selected_path is not None
    assert network.run(seconds=30, until=lambda: a.agent.state is State.FAILED)
    assert 19.0 <= network.now - start <= 20.1
    assert a.agent.selected_path is None
    assert not a.agent.is_authenticated(Path(a.candidates[0].address, b.candidates[0].address, "udp"))
    sent = len(network.log)
    network.run(seconds=60)
    assert not [entry for entry in network.log[sent:] if entry[1] == a.candidates[0].address]


def test_an_outage_of_ten_seconds_is_survived() -> None:
    network = Network()
    a, b = connected(network)
    a.events.clear()
    network.silence("10.0.0.2")
    network.run(seconds=10)
    assert a.agent.state is State.DISCONNECTED
    network.blocked.clear()
    assert network.run(seconds=1, until=both_connected(a, b))
    assert PathRecovered(a.agent.selected_path) in a.events
    assert a.states == [State.DISCONNECTED, State.CONNECTED]


def test_a_short_outage_is_noticed_as_suspicion_and_recovery_only() -> None:
    network = Network()
    a, _ = connected(network)
    a.events.clear()
    network.silence("10.0.0.2")
    network.run(seconds=3.5)
    network.blocked.clear()
    network.run(seconds=2)
    path = a.agent.selected_path
    assert a.events == [PathSuspected(path), PathRecovered(path)]


def test_a_dead_pair_gives_way_to_another_within_three_seconds() -> None:
    network = Network()
    a, b = connected(network, b_ips=["10.0.0.2", "10.0.0.3"])
    first = a.agent.selected_path
    assert first is not None
    dead = first.remote[0]
    network.silence(dead)
    assert network.run(seconds=3.2, until=lambda: a.agent.selected_path != first)
    assert a.agent.state is State.CONNECTED  # never was disconnected
    assert network.run(seconds=1, until=lambda: b.agent.selected_path.local[0] != dead)
    assert a.agent.selected_path.remote == b.agent.selected_path.local
    network.run(seconds=30)
    assert a.is_connected
    assert b.is_connected


def test_lite_peer_follows_when_its_first_address_dies() -> None:
    network = Network()
    a = Node(network, ["10.0.0.1"], controlling=True)
    server = LiteResponder(network, [("10.0.0.9", 7882), ("10.0.0.8", 7882)])
    server.introduce(a)
    network.run(seconds=2)
    first = a.agent.selected_path
    network.silence(first.remote[0])
    assert network.run(seconds=3.5, until=lambda: a.agent.selected_path != first)
    network.run(seconds=2)
    assert server.selected.local == a.agent.selected_path.remote


@pytest.mark.parametrize("behind_nat_controls", [True, False])
def test_nat_rebinding_is_followed(behind_nat_controls: bool) -> None:
    network = Network()
    nat = network.nats["10.0.0.1"] = Nat("198.51.100.1")
    a = Node(network, ["10.0.0.1"], controlling=behind_nat_controls)
    b = Node(network, ["203.0.113.5"], controlling=not behind_nat_controls)
    signal(b, a)
    signal(a, b)
    network.run(until=both_connected(a, b))
    network.run(seconds=2)
    before = b.agent.selected_path.remote
    nat.rebind()
    assert network.run(seconds=5, until=lambda: b.agent.selected_path.remote != before)
    network.run(seconds=5)
    assert State.DISCONNECTED not in a.states + b.states
    assert b.send(b"\x80x")
    network.run(seconds=0.1)
    assert [data for _, data in a.data] == [b"\x80x"]


class FullResponder(LiteResponder):
    """What a full pion does when it is controlled: it keeps its pair, unless a numbered nomination names another.

    It takes a nomination only on a path on which its own check was answered; one that comes earlier is forgotten.
    """

    def __init__(self, network: Network, address: Address, client: Node) -> None:
        super().__init__(network, [address])
        self._client = client
        self._answered: set[Path] = set()
        self._nomination = 0

    def receive(self, data: bytes, path: Path, now: float) -> None:
        message = stun.decode(data) if stun.is_stun(data) else None
        if message is not None and message.message_class == stun.SUCCESS:
            self._answered.add(path)
            return
        kept = self.selected
        super().receive(data, path, now)
        if message is None:
            return
        nomination = message.number(stun.NOMINATION) or 0
        is_better = kept is None or nomination > self._nomination
        if not (message.has(stun.USE_CANDIDATE) and path in self._answered and is_better):
            self.selected = kept
        elif nomination:
            self._nomination = nomination
        if path not in self._answered:
            self.network.send(path, binding_request(self._client, self.ufrag, (stun.ICE_CONTROLLED, 1)))


def test_a_full_peer_that_keeps_to_its_pair_is_told_to_follow_a_rebinding() -> None:
    network = Network()
    nat = network.nats["10.0.0.1"] = Nat("198.51.100.1")
    a = Node(network, ["10.0.0.1"], controlling=True)
    peer = FullResponder(network, ("203.0.113.5", 7882), a)
    a.agent.set_remote_parameters(peer.ufrag, peer.password, now=network.now)
    a.agent.add_remote_candidate(peer.candidates[0], network.now)
    a.agent.end_of_candidates(network.now)
    assert network.run(until=lambda: a.is_connected and peer.selected is not None)
    network.run(seconds=2)
    for _ in range(3):
        before = peer.selected
        nat.rebind()
        assert network.run(seconds=5, until=lambda before=before: peer.selected != before)
        network.run(seconds=5)
        network.send(peer.selected, b"\x80x")
        network.run(seconds=0.1)
        assert a.data.pop()[1] == b"\x80x"
    assert State.DISCONNECTED not in a.states


def test_a_new_local_address_takes_over_when_the_old_one_goes() -> None:
    network = Network()
    a, b = connected(network)
    network.silence("10.0.0.1")
    new = a.bind(("10.0.5.1", 6000))
    a.agent.remove_local_candidate(a.candidates[0].address, network.now)
    assert a.agent.state is State.DISCONNECTED
    assert a.agent.selected_path is None
    assert network.run(seconds=1, until=lambda: a.is_connected)
    assert a.agent.selected_path.local == new.address
    network.run(seconds=5)
    assert b.agent.selected_path.remote == new.address


def test_consent_needs_answers_even_if_data_keeps_coming() -> None:
    network = Network()
    a, _ = connected(network)
    network.blocked.append(lambda source, target, protocol: source == a.candidates[0].address)
    start = network.now
    while a.agent.state is not State.FAILED and network.now < start + 60:
        network.run(seconds=0.25)
        a.agent.note_activity(network.now)
    assert 27 <= network.now - start <= 30.3


def test_a_process_that_slept_asks_before_it_gives_up() -> None:
    network = Network()
    a, _ = connected(network)
    network.now += 20  # longer than silence may last, shorter than consent does
    a.events.clear()
    network.run(seconds=1)
    assert a.is_connected
    assert a.agent.selected_path is not None
    assert State.FAILED not in a.states


def test_a_process_that_slept_past_consent_sends_no_data_before_an_answer() -> None:
    network = Network()
    a, _ = connected(network)
    path = a.agent.selected_path
    network.now += 100
    a.agent.handle_timeout(network.now)
    assert a.agent.selected_path is None
    a.flush()
    network.run(seconds=1)
    assert a.agent.selected_path == path
    assert a.selections[-1] == path


def test_rtt_is_measured() -> None:
    network = Network(delay_s=0.05)
    a, _ = connected(network)
    assert a.agent.statistics().rtt_s == pytest.approx(0.1)


def test_an_indication_or_another_method_changes_nothing() -> None:
    network = Network()
    a, _ = connected(network)
    before = a.agent.statistics()
    for data in (
        stun.encode(stun.BINDING, stun.INDICATION, bytes(12)),
        stun.encode(stun.ALLOCATE, stun.REQUEST, bytes(12)),
    ):
        a.agent.receive_datagram(data, a.agent.selected_path, network.now)
    assert a.agent.datagrams_to_send(network.now) == []
    after = a.agent.statistics()
    assert (after.state, after.pairs, after.requests_answered) == (before.state, before.pairs, before.requests_answered)


def test_candidates_added_after_connecting_are_used_if_better() -> None:
    network = Network()
    a, b = pair(network)
    low = Candidate.local_host(("10.0.0.2", 7777), local_preference=5)
    network.sockets[low.address, "udp"] = b.receive
    b.candidates[:] = []
    b.agent.remove_local_candidate(("10.0.0.2", 5001), network.now)
    b.add(low)
    signal(b, a)
    signal(a, b)
    network.run(seconds=1)
    assert a.agent.selected_path.remote == low.address
    high = b.bind(("10.0.0.3", 7778))
    a.agent.add_remote_candidate(high, network.now)
    network.run(seconds=1)
    assert a.agent.selected_path.remote == high.address
    assert b.agent.selected_path.local == high.address


def test_data_that_still_arrives_does_not_hide_that_nothing_is_answered() -> None:
    network = Network()
    a, _ = connected(network, b_ips=["10.0.0.2", "10.0.0.3"])
    first = a.agent.selected_path
    network.blocked.append(lambda source, target, protocol: target == first.remote)
    start = network.now
    while a.agent.selected_path == first and network.now < start + 20:
        network.run(seconds=0.25)
        if a.agent.selected_path == first:
            a.agent.note_activity(network.now)
    assert network.now - start < 8
    assert a.agent.selected_path.remote != first.remote
    assert State.DISCONNECTED not in a.states
