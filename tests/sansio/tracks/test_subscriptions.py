"""Subscriptions: the state machine case by case, and random histories against a server that never says no."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_livekit._sansio.signal.messages import UpdateDataSubscription
from trio_livekit._sansio.tracks.depacketizer import Depacketizer
from trio_livekit._sansio.tracks.packet import FINAL, SINGLE, START, Packet, encode
from trio_livekit._sansio.tracks.subscriptions import (
    LINGER_S,
    PROBE_AFTER_S,
    Active,
    Ended,
    InDoubt,
    Paused,
    Subscriptions,
    TimedOut,
)

A, B = "DTR_a", "DTR_b"


def sent(core: Subscriptions) -> dict[str, bool]:
    """What the core wants sent now, as one batch."""
    commands = core.poll_commands()
    assert len(commands) <= 1
    return dict(commands[0].updates) if commands else {}


def active(*sids: str) -> Subscriptions:
    """A core with these tracks subscribed, under handles from 1."""
    core = Subscriptions()
    for sid in sids:
        core.want(sid, Depacketizer(), 0.0)
    sent(core)
    core.on_handles(dict(enumerate(sids, 1)), 0.0)
    core.poll_events()
    return core


def message(handle: int, number: int = 0, payload: bytes = b"x", marker: int = SINGLE, sequence: int = 0) -> bytes:
    return encode(Packet(marker, handle, sequence, number, 0, None, None, payload))


def test_subscribe_and_receive() -> None:
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    assert core.poll_commands() == [UpdateDataSubscription(((A, True),))]
    assert core.receive(message(63)) is None  # before the list that explains it
    core.on_handles({63: A}, 0.1)
    assert core.poll_events() == [Active(A, 63)]
    assert core.route(63) == A
    received = core.receive(message(63, payload=b"hello"))
    assert received is not None
    assert (received[0], received[1].payload) == (A, b"hello")
    assert core.unknown_handles == 1
    assert core.next_timeout() is None
    assert sent(core) == {}


def test_a_handle_is_what_a_packet_can_carry() -> None:
    """0 is reserved, and 65536 too large. Messages of signalling have room for both."""
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    assert sent(core) == {A: True}
    for handle in (0, 65_536, 2**32 - 1):
        core.on_handles({handle: A}, 0.1)
        assert core.poll_events() == []
        assert core.route(handle) is None
    for handle in (1, 65_535):
        core.on_handles({65_536: "DTR_x", handle: A}, 0.2)
        assert core.poll_events() == [Active(A, handle)]


def test_several_at_once_go_in_one_message() -> None:
    core = Subscriptions()
    for index in range(60):
        core.want(f"DTR_{index}", Depacketizer(), 0.0)
    assert sent(core) == {f"DTR_{index}": True for index in range(60)}


def test_wanting_twice_sends_once() -> None:
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    core.want(A, Depacketizer(), 0.0)
    assert sent(core) == {A: True}
    core.want(A, Depacketizer(), 0.0)
    assert sent(core) == {}


def test_already_on_the_list() -> None:
    """Subscribed automatically, before anybody asked: a request would get no answer."""
    core = Subscriptions()
    core.on_handles({7: A}, 0.0)
    assert sent(core) == {}
    core.want(A, Depacketizer(), 1.0)
    assert core.poll_events() == [Active(A, 7)]
    assert sent(core) == {}


def test_automatic_subscriptions_that_nobody_wants_are_left_alone() -> None:
    core = Subscriptions()
    core.on_handles({7: A}, 0.0)
    core.on_handles({7: A, 8: B}, 0.0)
    assert sent(core) == {}
    assert core.receive(message(7)) is None


def test_unsubscribe_and_subscribe_again() -> None:
    core = active(A)
    core.unwant(A, 1.0)
    assert sent(core) == {A: False}
    assert core.receive(message(1)) is None
    core.want(A, Depacketizer(), 1.1)
    assert sent(core) == {}  # the list has to show the one before the other is sent
    assert core.poll_events() == []
    core.on_handles({}, 1.2)
    assert sent(core) == {A: True}
    core.on_handles({}, 1.2)  # lists come twice
    core.on_handles({2: A}, 1.3)
    assert core.poll_events() == [Active(A, 2)]
    assert sent(core) == {}


def test_an_unsubscription_that_the_list_never_shows() -> None:
    core = active(A)
    core.unwant(A, 0.0)
    sent(core)
    core.want(A, Depacketizer(), 1.0)
    assert core.next_timeout() == 5.0
    core.handle_timeout(5.0)
    assert sent(core) == {A: True}
    assert core.poll_events() == [Active(A, 1)]
    core.handle_timeout(8.0)  # no answer, and still on the list: settled
    assert sent(core) == {}
    assert core.next_timeout() is None


def test_a_subscription_that_the_server_lost_is_asked_for_again() -> None:
    core = active(A)
    core.unwant(A, 0.0)
    sent(core)
    core.want(A, Depacketizer(), 0.0)
    core.handle_timeout(4.0)
    assert sent(core) == {A: True}
    core.on_handles({}, 4.5)
    assert core.poll_events() == [Active(A, 1), Paused(A)]
    core.handle_timeout(7.0)
    assert sent(core) == {A: True}
    core.on_handles({9: A}, 7.1)
    assert core.poll_events() == [Active(A, 9)]


def test_unwant_before_the_request_left() -> None:
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    core.unwant(A, 0.0)
    assert sent(core) == {}
    core.on_handles({1: A}, 0.0)
    assert sent(core) == {}


def test_want_again_before_the_unsubscription_left() -> None:
    core = active(A)
    core.unwant(A, 0.0)
    core.want(A, Depacketizer(), 0.0)
    assert sent(core) == {}
    assert core.poll_events() == [Active(A, 1)]
    assert core.receive(message(1)) is not None


def test_unwant_while_pending_waits_until_it_is_established() -> None:
    """Unsubscribing at once deadlocks servers up to 1.13.5."""
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    sent(core)
    core.unwant(A, 0.1)
    assert sent(core) == {}
    assert core.next_timeout() is None
    core.on_handles({3: A}, 0.2)
    assert sent(core) == {A: False}
    assert core.poll_events() == []


def test_an_unsubscription_is_withdrawn_when_the_list_has_changed_before_it_left() -> None:
    core = active(A)
    core.unwant(A, 0.0)
    core.on_handles({}, 0.0)
    assert sent(core) == {}


def test_pending_is_repeated_and_then_times_out_without_unsubscribing() -> None:
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    times = []
    while (now := core.next_timeout()) is not None:
        if sent(core):
            times.append(now)
        core.handle_timeout(now)
    assert times == [3.0, 6.0, 9.0, 10.0]  # each seen when the next deadline came
    assert core.poll_events() == [TimedOut(A)]
    assert sent(core) == {}
    core.on_handles({5: A}, 30.0)  # the server kept the wish, and only now may grant it
    assert sent(core) == {A: False}


def test_want_again_after_it_timed_out() -> None:
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    sent(core)
    core.handle_timeout(10.0)
    core.want(A, Depacketizer(), 11.0)
    assert sent(core) == {A: True}
    assert core.next_timeout() == 14.0
    core.on_handles({5: A}, 12.0)
    assert core.poll_events() == [TimedOut(A), Active(A, 5)]


def test_paused_and_resumed() -> None:
    """A revoked permission takes the handle away; granted again it comes back under another, unasked."""
    core = active(A)
    core.receive(message(1, marker=START))
    core.on_handles({}, 1.0)
    assert core.poll_events() == [Paused(A)]
    assert sent(core) == {}
    assert core.next_timeout() is None
    core.on_handles({2: A}, 60.0)
    assert core.poll_events() == [Active(A, 2)]
    assert core.receive(message(2, marker=FINAL, sequence=1)) is None  # the frame in progress is forgotten


def test_unwant_while_paused_unsubscribes_when_it_comes_back() -> None:
    core = active(A)
    core.on_handles({}, 1.0)
    core.unwant(A, 2.0)
    assert sent(core) == {}
    core.on_handles({2: A}, 60.0)
    assert sent(core) == {A: False}


def test_unwant_just_before_it_turns_out_to_be_paused() -> None:
    core = active(A)
    core.unwant(A, 1.0)
    core.on_handles({}, 1.0)  # the server has not read the request, which would deadlock it now
    assert sent(core) == {}
    core.on_handles({2: A}, 60.0)
    assert sent(core) == {A: False}


def test_a_new_handle_replaces_the_old_one() -> None:
    core = active(A, B)
    core.on_handles({2: A, 1: B}, 1.0)
    assert set(core.poll_events()) == {Active(A, 2), Active(B, 1)}
    assert [core.route(handle) for handle in (1, 2)] == [B, A]


@pytest.mark.parametrize("state", ["pending", "paused"])
def test_unpublished_ends_it_and_sends_nothing(state: str) -> None:
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    sent(core)
    if state != "pending":
        core.on_handles({1: A}, 0.0)
    if state == "paused":
        core.on_handles({}, 0.0)
    core.poll_events()
    core.on_unpublished(A, 0.0)
    assert core.poll_events() == [Ended(A)]
    core.on_handles({1: A}, 0.0)  # the list lags behind by seconds
    core.on_handles({}, 3.0)
    assert sent(core) == {}
    assert core.poll_events() == []
    assert core.next_timeout() is None


def test_the_last_frames_may_come_after_the_news_that_a_track_is_unpublished() -> None:
    core = active(A)
    core.on_unpublished(A, 1.0)
    assert core.poll_events() == []
    core.on_handles({}, 1.0)
    assert core.receive(message(1)) is not None
    assert core.next_timeout() == 1.0 + LINGER_S
    core.handle_timeout(1.0 + LINGER_S)
    assert core.poll_events() == [Ended(A)]
    assert core.receive(message(1)) is None
    assert sent(core) == {}
    assert core.next_timeout() is None


def test_a_handle_that_is_given_to_another_track_does_not_linger() -> None:
    core = active(A, B)
    core.on_unpublished(A, 1.0)
    core.on_handles({1: B}, 1.0)
    assert core.route(1) == B
    core.handle_timeout(2.0)
    assert core.poll_events() == [Active(B, 1), Ended(A)]
    assert core.route(1) == B


def test_the_last_frames_are_not_for_nobody() -> None:
    core = active(A)
    core.on_unpublished(A, 1.0)
    core.unwant(A, 1.0)
    assert core.receive(message(1)) is None
    core.handle_timeout(2.0)
    assert core.poll_events() == []


def test_unpublished_after_the_last_reader_left_is_quiet() -> None:
    core = active(A)
    core.unwant(A, 0.0)
    core.on_unpublished(A, 0.0)
    assert core.poll_events() == []
    assert sent(core) == {}


def test_reassigned_while_active() -> None:
    core = active(A)
    core.on_reassigned(A, B, 1.0)
    assert sent(core) == {B: True}
    core.on_handles({1: A, 2: B}, 1.1)
    assert core.poll_events() == [Active(B, 2)]
    assert core.receive(message(1)) is None
    assert core.receive(message(2)) is not None
    core.unwant(B, 2.0)
    assert sent(core) == {B: False}


def test_reassigned_while_not_subscribed() -> None:
    core = Subscriptions()
    core.on_reassigned(A, B, 0.0)
    assert sent(core) == {}
    assert core.poll_events() == []


def test_reassigned_while_pending_keeps_to_the_new_sid() -> None:
    core = Subscriptions()
    core.want(A, Depacketizer(), 0.0)
    sent(core)
    core.on_reassigned(A, B, 1.0)
    assert sent(core) == {B: True}
    core.unwant(B, 2.0)
    core.on_handles({4: B}, 3.0)
    assert sent(core) == {B: False}


class TestNewSession:
    def test_wanted_tracks_are_asked_for_again(self) -> None:
        core = active(A, B)
        core.unwant(B, 1.0)
        sent(core)
        core.reset()
        assert core.poll_events() == [Paused(A)]
        assert core.receive(message(1)) is None
        assert sent(core) == {}
        core.resubscribe(2.0)
        assert sent(core) == {A: True}
        core.on_handles({9: A}, 2.1)
        assert core.poll_events() == [Active(A, 9)]

    def test_a_track_that_has_gone_meanwhile_ends(self) -> None:
        core = active(A)
        core.reset()
        core.on_unpublished(A, 0.0)
        core.resubscribe(0.0)
        assert core.poll_events() == [Paused(A), Ended(A)]
        assert sent(core) == {}

    def test_a_track_with_a_new_sid(self) -> None:
        core = active(A)
        core.reset()
        core.on_reassigned(A, B, 0.0)
        assert sent(core) == {}
        core.resubscribe(0.0)
        assert sent(core) == {B: True}

    def test_readers_that_had_frames_before_do_not_time_out(self) -> None:
        core = active(A)
        core.reset()
        core.resubscribe(0.0)
        for now in (3.0, 6.0, 9.0, 12.0):
            core.handle_timeout(now)
        assert core.poll_events() == [Paused(A)]
        assert sent(core) == {A: True}

    def test_readers_that_still_wait_get_their_full_time(self) -> None:
        core = Subscriptions()
        core.want(A, Depacketizer(), 0.0)
        sent(core)
        core.reset()
        assert core.next_timeout() is None
        core.resubscribe(20.0)
        core.handle_timeout(29.9)
        assert core.poll_events() == []
        core.handle_timeout(30.0)
        assert core.poll_events() == [TimedOut(A)]

    def test_the_list_of_the_new_session_may_come_before_its_publications(self) -> None:
        core = active(A)
        core.reset()
        core.on_handles({2: A}, 0.0)
        core.resubscribe(0.0)
        assert core.poll_events() == [Paused(A), Active(A, 2)]
        assert sent(core) == {}


class TestResumed:
    def test_handles_stay_valid(self) -> None:
        core = active(A)
        core.on_signal_lost()
        assert core.receive(message(1)) is not None
        core.on_resumed(5.0)
        assert core.poll_events() == []
        assert sent(core) == {}

    def test_no_clock_runs_meanwhile_and_lost_requests_are_repeated(self) -> None:
        core = Subscriptions()
        core.want(A, Depacketizer(), 0.0)
        sent(core)
        core.on_signal_lost()
        core.want(B, Depacketizer(), 1.0)
        assert core.next_timeout() is None
        core.on_resumed(60.0)
        assert sent(core) == {A: True, B: True}
        assert core.next_timeout() == 60.0 + PROBE_AFTER_S
        core.on_handles({}, 60.1)
        assert core.next_timeout() == 63.0

    def test_a_lost_unsubscription_is_not_repeated(self) -> None:
        core = active(A)
        core.unwant(A, 0.0)
        sent(core)
        core.on_signal_lost()
        core.on_resumed(1.0)
        assert sent(core) == {}


class TestAListThatIsLost:
    """The server has established what was asked for, and the word of it went down with the signal connection."""

    @staticmethod
    def lost(*sids: str, established: tuple[str, ...] = ()) -> Subscriptions:
        core = active(*established)
        for sid in sids:
            core.want(sid, Depacketizer(), 0.0)
        sent(core)
        core.on_signal_lost()
        return core

    def test_a_packet_says_it_as_well(self) -> None:
        core = self.lost(A, established=(B,))
        received = core.receive(message(7, payload=b"first"))
        assert received is not None
        assert (received[0], received[1].payload) == (A, b"first")
        assert core.poll_events() == [Active(A, 7)]
        core.on_resumed(1.0)
        assert sent(core) == {}
        core.on_handles({1: B, 7: A}, 1.0)
        assert core.poll_events() == []

    def test_not_a_packet_of_what_was_subscribed_before(self) -> None:
        core = active(B)
        core.unwant(B, 0.0)
        sent(core)
        core.on_handles({}, 0.0)
        core.want(A, Depacketizer(), 0.0)
        sent(core)
        core.on_signal_lost()
        assert core.receive(message(1)) is None
        assert core.poll_events() == []

    def test_not_a_packet_of_what_may_have_been_subscribed(self) -> None:
        core = self.lost(A, B)
        core.on_unpublished(B, 0.0)
        assert core.receive(message(7)) is None
        assert core.poll_events() == [Ended(B)]

    def test_not_while_the_list_is_sure_to_come(self) -> None:
        core = Subscriptions()
        core.want(A, Depacketizer(), 0.0)
        sent(core)
        assert core.receive(message(7)) is None
        assert core.poll_events() == []

    def test_nobody_wants_it_any_more(self) -> None:
        core = self.lost(A)
        core.unwant(A, 0.0)
        core.on_resumed(1.0)
        assert core.receive(message(7)) is None
        assert sent(core) == {A: False}
        core.on_handles({}, 1.0)
        assert core.poll_events() == []

    def test_packets_of_several(self) -> None:
        """When there are as many handles as there are tracks, all are subscribed: giving one up brings a list."""
        core = self.lost(A, B)
        core.on_resumed(1.0)
        assert sent(core) == {A: True, B: True}
        assert core.receive(message(7)) is None
        assert core.receive(message(7)) is None
        assert sent(core) == {}
        assert core.receive(message(8)) is None
        assert sent(core) == {A: False}
        core.on_handles({8: B}, 1.1)
        assert core.poll_events() == [Active(B, 8)]
        assert sent(core) == {A: True}
        core.on_handles({8: B, 9: A}, 1.2)
        assert core.poll_events() == [Active(A, 9)]

    def test_a_probe(self) -> None:
        core = self.lost(A)
        core.on_resumed(1.0)
        sent(core)
        core.handle_timeout(1.0 + PROBE_AFTER_S)
        assert core.poll_events() == [InDoubt()]
        assert not core.probe(A)
        assert core.probe(B)
        assert not core.probe(B)
        assert sent(core) == {B: True}
        core.on_handles({7: A, 8: B}, 1.4)
        assert core.poll_events() == [Active(A, 7)]
        assert sent(core) == {B: False}
        core.on_handles({7: A}, 1.5)
        assert core.next_timeout() is None

    def test_presumed(self) -> None:
        core = self.lost(A)
        core.on_resumed(1.0)
        core.handle_timeout(1.0 + PROBE_AFTER_S)
        assert core.poll_events() == [InDoubt()]
        core.presume()
        core.presume()
        assert core.poll_events() == [Active(A, None)]
        core.handle_timeout(60.0)
        assert core.poll_events() == [InDoubt()]
        assert core.receive(message(7)) is not None
        assert core.poll_events() == [Active(A, 7)]

    def test_several_are_not_presumed(self) -> None:
        core = self.lost(A, B)
        core.on_resumed(1.0)
        core.presume()
        assert core.poll_events() == []

    def test_nothing_is_in_doubt(self) -> None:
        core = self.lost(established=(A,))
        core.on_resumed(1.0)
        assert core.next_timeout() is None
        assert core.receive(message(7)) is None


def test_bad_packets_are_counted_and_dropped() -> None:
    core = active(A)
    for bad in (b"", bytes(11), bytes(12), b"\x20" + bytes(20)):
        assert core.receive(bad) is None
    assert core.bad_packets == 4
    assert core.receive(message(1)) is not None


@pytest.mark.parametrize(("capacity", "delivered"), [(1, [1]), (3, [0, 1])])
def test_the_depacketizer_is_the_callers(capacity: int, delivered: list[int]) -> None:
    core = Subscriptions()
    depacketizer = Depacketizer(max_partial_frames=capacity)
    core.want(A, depacketizer, 0.0)
    core.on_handles({1: A}, 0.0)
    numbers = []
    for marker, sequence, number in [(START, 0, 0), (START, 2, 1), (FINAL, 1, 0), (FINAL, 3, 1)]:
        received = core.receive(message(1, number, marker=marker, sequence=sequence))
        if received is not None:
            numbers.append(received[1].number)
    assert numbers == delivered
    assert depacketizer.statistics().frames == len(delivered)


SIDS = (A, B, "DTR_c", "DTR_d", "DTR_e")
EVERYTHING: Any = type("Everything", (), {"draw": lambda _, __: set(SIDS)})()


class Histories(RuleBasedStateMachine):
    """The core against a server that takes its time, loses a close resubscription, and deadlocks when provoked."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Subscriptions()
        self.now = 0.0
        self.wanted: set[str] = set()
        self.up: set[str] = set()
        self.lingering: set[str] = set()
        self.gone: set[str] = set()  # a SID never comes back
        self.list: dict[int, str] = {}  # the latest that the core has seen
        self.wishes: set[str] = set()
        self.server: dict[int, str] = {}
        self.next_handle = 1
        self.lost = False
        self.probes: set[str] = set()

    @rule(sid=st.sampled_from(SIDS))
    def want(self, sid: str) -> None:
        if sid in self.gone:
            return
        self.wanted.add(sid)
        self.core.want(sid, Depacketizer(), self.now)

    @rule(sid=st.sampled_from(SIDS))
    def unwant(self, sid: str) -> None:
        self.read()
        self.wanted.discard(sid)
        self.lingering.discard(sid)
        self.up.discard(sid)
        self.core.unwant(sid, self.now)

    @rule()
    def send(self) -> None:
        if self.lost:
            return
        for sid, subscribe in sent(self.core).items():
            if subscribe:
                assert sid in self.wanted | self.probes
                self.wishes.add(sid)
            else:
                # What is wanted is given up only to provoke a list, where one may be lost.
                assert sid in self.list.values() or sid in self.server.values()
                assert sid not in self.wanted or sid not in self.list.values()
                self.wishes.discard(sid)

    @precondition(lambda self: self.server)
    @rule(data=st.data())
    def bring(self, data: st.DataObject) -> None:
        """A packet of any track that the server forwards."""
        handle = data.draw(st.sampled_from(sorted(self.server)))
        received = self.core.receive(message(handle))
        assert received is None or (received[0] == self.server[handle] and received[0] in self.wanted)

    @rule(data=st.data())
    def reconcile(self, data: st.DataObject) -> None:
        for sid in data.draw(st.sets(st.sampled_from(SIDS))):
            handles = [handle for handle, other in self.server.items() if other == sid]
            if sid in self.wishes and not handles:
                self.server[self.next_handle] = sid
                self.next_handle += 1
            elif sid not in self.wishes and handles:
                del self.server[handles[0]]

    @rule()
    def hear(self) -> None:
        if self.lost:
            return
        self.list = dict(self.server)
        self.core.on_handles(self.list, self.now)

    @rule()
    def settle(self) -> None:
        """Everything asked for is done and told of, so that there are histories of tracks that are up."""
        self.send()
        self.reconcile(EVERYTHING)
        self.hear()

    @precondition(lambda self: self.server)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        del self.server[data.draw(st.sampled_from(sorted(self.server)))]

    @rule(sid=st.sampled_from(SIDS))
    def unpublish(self, sid: str) -> None:
        self.wishes.discard(sid)
        self.server = {handle: other for handle, other in self.server.items() if other != sid}
        self.read()
        self.core.on_unpublished(sid, self.now)
        self.gone.add(sid)
        if sid in self.up:
            self.up.remove(sid)
            self.lingering.add(sid)
        else:
            assert self.core.poll_events() == ([Ended(sid)] if sid in self.wanted else [])
        self.wanted.discard(sid)

    @rule()
    def lose_signal(self) -> None:
        self.core.on_signal_lost()
        self.lost = True

    @precondition(lambda self: self.lost)
    @rule()
    def resume(self) -> None:
        self.core.on_resumed(self.now)
        self.lost = False

    @rule()
    def rejoin(self) -> None:
        self.core.reset()
        self.wishes, self.server, self.list = set(), {}, {}
        self.core.resubscribe(self.now)
        self.lost = False

    @rule(seconds=st.sampled_from([1.0, 3.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.core.handle_timeout(self.now)

    @invariant()
    def read(self) -> None:
        for event in self.core.poll_events():
            if isinstance(event, InDoubt):
                self.resolve()
                continue
            sid = event.sid
            assert sid in (self.lingering if isinstance(event, Ended) else self.wanted)
            match event:
                case Ended():
                    self.lingering.remove(sid)
                case Active(_, None):
                    assert sid not in self.up
                case Active():
                    self.up.add(sid)
                case Paused():
                    assert sid in self.up
                    self.up.remove(sid)
                case TimedOut():
                    assert sid not in self.up
                    self.wanted.remove(sid)
                case _:
                    raise AssertionError(event)
        routed = {sid for handle in {**self.list, **self.server} if (sid := self.core.route(handle)) is not None}
        assert routed - self.lingering == self.up

    def resolve(self) -> None:
        """What there is to be done about a list that may be lost."""
        for sid in sorted(set(SIDS) - self.wanted - self.gone):
            if self.core.probe(sid):
                self.probes.add(sid)
                return
        self.core.presume()
        self.read()

    def teardown(self) -> None:
        """Left in peace, what is wanted flows, and nothing else does."""
        if self.lost:
            self.resume()
        for _ in range(12):
            self.reconcile(EVERYTHING)
            self.hear()
            self.read()
            self.wait(2.0)
            self.send()
        self.read()
        assert self.up == self.wanted
        assert set(self.server.values()) == self.wanted


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
