"""The order and the pace in which frames leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.tracks.packet import FINAL, INTER, SINGLE, START
from trio_livekit._sansio.tracks.send_queue import FRESH_S, PROMISED, SendQueue


def frame(name: str, count: int = 1, size: int = 1000) -> list[bytes]:
    return [f"{name}{index}".encode().ljust(size, b".") for index in range(count)]


def names(packets: list[bytes]) -> list[str]:
    return [packet.rstrip(b".").decode() for packet in packets]


def drain(queue: SendQueue, now: float = 0.0) -> list[tuple[float, str]]:
    """Everything, with the instants at which it leaves, into a channel that is always empty."""
    sent = [(now, name) for name in names(queue.packets_to_send(0, now))]
    while (deadline := queue.next_timeout()) is not None:
        now = max(now, deadline)
        sent += [(now, name) for name in names(queue.packets_to_send(0, now))]
    return sent


@pytest.mark.parametrize(
    ("queued", "buffered", "expected"),
    [(0, 0, True), (0, 64 * 1024, True), (0, 64 * 1024 + 1, False), (1, 0, False)],
)
def test_passes(queued: int, buffered: int, expected: bool) -> None:
    queue = SendQueue()
    for _ in range(queued):
        queue.push(1, frame("q"), PROMISED)
    assert queue.passes(buffered) is expected


def test_small_frames_leave_at_once_and_take_turns() -> None:
    queue = SendQueue()
    for index in range(3):
        queue.push(1, frame(f"a{index}-"), PROMISED)
    queue.push(2, frame("b0-"), PROMISED)
    queue.push(3, frame("c0-"), PROMISED)
    assert drain(queue) == [(0.0, name) for name in ("a0-0", "b0-0", "c0-0", "a1-0", "a2-0")]
    assert queue.passes(0)


def test_the_newest_frame_of_a_full_track_is_refused_and_others_are_not() -> None:
    queue = SendQueue(frames_per_track=2)
    assert [queue.push(1, frame(name), PROMISED) for name in "abc"] == [True, True, False]
    assert not queue.make_room(1, 0.0)
    assert queue.make_room(2, 0.0)
    assert queue.push(2, frame("x"), PROMISED)
    assert names(queue.packets_to_send(0, 0.0)) == ["a0", "x0", "b0"]
    assert queue.make_room(1, 0.0)


def test_a_frame_that_is_too_old_gives_its_place_to_the_newest() -> None:
    queue = SendQueue(frames_per_track=2)
    queue.push(1, frame("a"), 0.0)
    queue.push(1, frame("b"), 0.05)
    assert not queue.make_room(1, 0.09)
    assert queue.make_room(1, FRESH_S)
    assert queue.push(1, frame("c"), FRESH_S)
    assert queue.take_outdated() == {1: 1}
    assert queue.take_outdated() == {}
    assert names(queue.packets_to_send(0, FRESH_S)) == ["b0", "c0"]


def test_a_track_that_is_behind_sends_its_newest_frame_until_it_has_caught_up() -> None:
    queue = SendQueue(buffered_limit=0)
    for number in range(4):
        queue.push(1, frame(f"a{number}-"), number * 0.04)
    assert names(queue.packets_to_send(0, 0.12)) == ["a3-0"]
    queue.push(1, frame("b0-"), 0.13)
    queue.push(1, frame("b1-"), 0.14)
    assert names(queue.packets_to_send(0, 0.15)) == ["b1-0"]
    assert queue.take_outdated() == {1: 4}
    queue.push(1, frame("c0-"), 0.16)
    assert names(queue.packets_to_send(0, 0.17)) == ["c0-0"]  # and nothing is behind it
    queue.push(1, frame("d0-"), 0.20)
    queue.push(1, frame("d1-"), 0.21)
    assert names(queue.packets_to_send(0, 0.22)) == ["d0-0"]


def test_the_newest_frame_goes_however_old_it_is_and_so_does_one_that_was_promised_to() -> None:
    queue = SendQueue()
    queue.push(1, frame("a"), 0.0)
    assert names(queue.packets_to_send(0, 60.0)) == ["a0"]
    queue.push(1, frame("b"), 0.0)
    queue.push(1, frame("promised"), PROMISED)
    queue.push(1, frame("c"), 0.0)
    queue.push(1, frame("d"), 0.0)
    assert names(queue.packets_to_send(0, 60.0)) == ["promised0", "d0"]
    assert queue.take_outdated() == {1: 2}


def test_a_frame_that_was_begun_is_finished_and_what_waits_behind_it_becomes_old() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 3), 0.0)
    queue.push(1, frame("b"), 0.0)
    queue.push(1, frame("c"), 0.0)
    assert [name for _, name in drain(queue, 0.0)] == ["a0", "a1", "a2", "c0"]


def packet(track: int, kind: int, name: str) -> bytes:
    return bytes((kind, 0, 0, track)) + name.encode()


def test_what_the_channel_has_not_begun_is_taken_back_for_what_is_newer() -> None:
    queue = SendQueue(buffered_limit=0)
    old, new, other = packet(1, SINGLE, "old"), packet(1, SINGLE, "new"), packet(2, SINGLE, "other")
    assert queue.passes(0)
    queue.handed_bytes += len(old)
    queue.push(1, [new], 0.05)
    assert not queue.wants_back(1, len(old), 0.05)  # it is noticed now
    queue.push(2, [other], 0.06)
    assert not queue.wants_back(2, len(old), 0.14)
    assert queue.wants_back(1, len(old), 0.16)
    assert queue.take_back([old]) == []
    assert queue.packets_to_send(0, 0.16) == [new]
    assert queue.packets_to_send(0, 0.16) == [other]
    assert queue.take_outdated() == {1: 1}


def test_what_leaves_in_time_is_not_taken_back_though_there_is_always_something() -> None:
    queue = SendQueue()
    single = packet(1, SINGLE, "any")
    for number in range(20):
        queue.handed_bytes += 2 * len(single)  # of which the first leaves
        assert not queue.wants_back(1, len(single), number * 0.05)


def test_the_newest_of_its_track_is_given_to_the_channel_again() -> None:
    queue = SendQueue(buffered_limit=0)
    only, new = packet(1, SINGLE, "only"), packet(2, SINGLE, "new")
    queue.push(1, [only], 0.0)
    assert queue.packets_to_send(0, 0.0) == [only]
    queue.push(2, [new], 0.2)
    assert queue.wants_back(2, len(only), 0.2)
    assert queue.take_back([only]) == []
    assert [queue.packets_to_send(0, 0.2) for _ in range(2)] == [[new], [only]]
    assert queue.take_outdated() == {}


def test_a_frame_of_which_the_first_packet_has_not_left_is_taken_back_whole_and_one_that_was_begun_is_not() -> None:
    queue = SendQueue(buffered_limit=0, spacing_s=0.0, opening_s=0.0)
    large = [packet(1, START, "a0"), packet(1, INTER, "a1"), packet(1, FINAL, "a2")]
    single = packet(1, SINGLE, "b")
    queue.push(1, large, 0.0)
    assert queue.packets_to_send(0, 0.0) == large[:1]
    assert queue.packets_to_send(len(large[0]), 0.0) == []
    assert queue.is_midway
    queue.push(1, [single], 0.1)
    assert queue.wants_back(1, len(large[0]), 0.1)
    assert queue.take_back(large[:1]) == []
    assert not queue.is_midway
    assert queue.packets_to_send(0, 0.1) == [single]
    queue.push(1, large, 0.2)
    assert queue.packets_to_send(0, 0.2) == large[:1]
    assert queue.packets_to_send(0, 0.2) == large[1:]  # the first has left
    queue.push(1, [single], 0.4)
    assert queue.wants_back(1, sum(map(len, large[1:])), 0.4)
    assert queue.take_back(large[1:]) == large[1:]
    assert queue.packets_to_send(0, 0.4) == [single]


def test_what_was_promised_to_is_not_taken_back() -> None:
    queue = SendQueue(buffered_limit=0)
    promised, new = packet(1, SINGLE, "promised"), packet(1, SINGLE, "new")
    queue.push(1, [promised], PROMISED)
    assert queue.packets_to_send(0, 0.0) == [promised]
    queue.push(1, [new], 1.0)
    assert not queue.wants_back(1, len(promised), 1.0)
    assert not queue.wants_back(1, len(promised), 2.0)
    assert queue.packets_to_send(0, 2.0) == [new]
    assert queue.wants_back(1, len(new), 3.0)


def test_a_queue_of_one_frame_keeps_it_whole() -> None:
    """A frame that is newer does not take the place of one that waits, begun or not: it is refused."""
    queue = SendQueue(frames_per_track=1)
    large = frame("a", 13, 16_000)
    assert queue.push(1, large, PROMISED)
    assert not queue.push(1, frame("b"), PROMISED)
    first = queue.packets_to_send(0, 0.0)
    assert first == large[:1]
    assert not queue.push(1, frame("b"), PROMISED)
    rest = drain(queue, 0.0)
    assert names(first) + [name for _, name in rest] == names(large)
    assert queue.push(1, frame("b"), PROMISED)


def test_nothing_leaves_while_the_channel_is_full() -> None:
    queue = SendQueue(buffered_limit=2500)
    for index in range(5):
        queue.push(1, frame(f"f{index}-"), PROMISED)
    assert queue.packets_to_send(2501, 0.0) == []
    assert queue.next_timeout() is None  # the channel says when
    assert names(queue.packets_to_send(0, 0.0)) == ["f0-0", "f1-0", "f2-0"]  # up to the one that fills it
    assert names(queue.packets_to_send(2500, 0.0)) == ["f3-0"]


def test_a_large_frame_is_spread_out() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5)
    queue.push(1, frame("a", 4), PROMISED)
    assert drain(queue, 10.0) == [(10.0, "a0"), (10.5, "a1"), (11.0, "a2"), (11.5, "a3")]


def test_a_burst_may_hold_several_packets() -> None:
    queue = SendQueue(burst_bytes=2500, spacing_s=0.5, opening_s=0.0)
    queue.push(1, frame("a", 5), PROMISED)
    assert drain(queue, 10.0) == [(10.0, "a0"), (10.0, "a1"), (10.5, "a2"), (10.5, "a3"), (11.0, "a4")]


def test_the_small_rest_of_a_frame_leaves_with_the_packet_before_it_if_others_wait() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5, opening_s=0.0)
    for name in "abc":
        queue.push(1, [*frame(name, 1), *frame(f"rest-{name}", 1, 100)], PROMISED)
    times = drain(queue, 10.0)
    assert times == [
        (10.0, "a0"),
        (10.0, "rest-a0"),
        (10.5, "b0"),
        (10.5, "rest-b0"),
        (11.0, "c0"),
        (11.5, "rest-c0"),  # nobody waits
    ]


def test_the_small_rest_of_a_frame_does_not_follow_a_packet_that_opens_the_way() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.0625, opening_s=1.0)
    for name in "ab":
        queue.push(1, [*frame(name, 1), *frame(f"rest-{name}", 1, 100)], PROMISED)
    assert drain(queue, 10.0) == [(10.0, "a0"), (11.0, "rest-a0"), (11.0625, "b0"), (11.125, "rest-b0")]


def test_one_small_packet_follows_a_full_burst_and_no_second() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5, opening_s=0.0)
    queue.push(1, [*frame("a", 1), *frame("b", 1, 100), *frame("c", 1, 100)], PROMISED)
    queue.push(1, frame("d", 2), PROMISED)
    assert drain(queue, 10.0)[:3] == [(10.0, "a0"), (10.0, "b0"), (10.5, "c0")]


def test_a_packet_larger_than_a_burst_still_leaves() -> None:
    queue = SendQueue(burst_bytes=10, spacing_s=0.5)
    queue.push(1, frame("a", 2), PROMISED)
    assert [name for _, name in drain(queue)] == ["a0", "a1"]


def test_without_spacing_there_is_no_pace() -> None:
    queue = SendQueue(spacing_s=0.0, opening_s=0.0)
    queue.push(1, frame("a", 5, 16_000)[:4], PROMISED)
    assert names(queue.packets_to_send(0, 1.0)) == ["a0", "a1", "a2", "a3"]


def test_the_first_packet_of_a_large_frame_goes_ahead_of_the_others() -> None:
    queue = SendQueue(burst_bytes=2000, spacing_s=0.25, opening_s=1.0)
    queue.push(1, frame("a", 4), PROMISED)
    assert drain(queue, 10.0) == [(10.0, "a0"), (11.0, "a1"), (11.0, "a2"), (11.25, "a3")]


def test_frames_that_follow_each_other_closely_open_the_way_for_each_other() -> None:
    queue = SendQueue(burst_bytes=3000, spacing_s=0.03125, opening_s=1.0)
    queue.push(1, frame("a", 2), PROMISED)
    queue.push(1, frame("b", 2), PROMISED)
    assert drain(queue, 10.0) == [(10.0, "a0"), (11.0, "a1"), (11.0, "b0"), (11.0, "b1")]
    queue.push(1, frame("c", 2), PROMISED)
    assert drain(queue, 11.125 - 1 / 64) == [(11.109375, "c0"), (11.109375, "c1")]
    queue.push(1, frame("d", 2), PROMISED)
    assert drain(queue, 11.25) == [(11.25, "d0"), (12.25, "d1")]


def test_small_frames_of_other_tracks_pass_a_large_one() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5)
    queue.push(1, frame("large", 3), PROMISED)
    assert names(queue.packets_to_send(0, 1.0)) == ["large0"]
    queue.push(2, frame("small"), PROMISED)
    assert names(queue.packets_to_send(0, 1.1)) == ["small0"]
    assert queue.next_timeout() == 1.5


def test_large_frames_do_not_mix_and_the_order_of_a_track_holds() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 3), PROMISED)
    queue.push(1, frame("after-a"), PROMISED)
    queue.push(2, frame("b", 2), PROMISED)
    order = [name for _, name in drain(queue)]
    assert order == ["a0", "a1", "a2", "b0", "b1", "after-a0"] or order == ["a0", "a1", "a2", "after-a0", "b0", "b1"]


def test_the_pace_holds_from_one_large_frame_to_the_next() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 2), PROMISED)
    queue.push(2, frame("b", 2), PROMISED)
    assert [when for when, _ in drain(queue, 5.0)] == [5.0, 6.0, 7.0, 8.0]


def test_a_late_timer_does_not_slow_the_pace_but_a_very_late_one_makes_no_burst() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 4), PROMISED)
    queue.packets_to_send(0, 10.0)
    queue.packets_to_send(0, 11.3)
    assert queue.next_timeout() == 12.0
    assert names(queue.packets_to_send(0, 17.0)) == ["a2"]
    assert queue.next_timeout() == 18.0


def test_drop_frees_the_way_for_others() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 3), PROMISED)
    queue.push(1, frame("a"), PROMISED)
    queue.push(2, frame("b", 2), PROMISED)
    queue.packets_to_send(0, 1.0)
    assert queue.drop(1) == 2
    assert queue.drop(1) == 0
    assert [name for _, name in drain(queue, 2.0)] == ["b0", "b1"]


def test_clear() -> None:
    queue = SendQueue()
    queue.push(1, frame("a", 3), PROMISED)
    queue.push(1, frame("a"), PROMISED)
    queue.push(2, frame("b"), PROMISED)
    assert queue.clear() == {1: 2, 2: 1}
    assert queue.packets_to_send(0, 1.0) == []
    assert queue.next_timeout() is None


operations = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 3), st.integers(1, 4)),
        st.tuples(st.just("promise"), st.integers(1, 3), st.integers(1, 4)),
        st.tuples(st.just("send"), st.integers(0, 4000), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("drop"), st.integers(1, 3), st.just(0)),
    ),
    max_size=40,
)


@given(operations, st.integers(500, 3000))
def test_every_frame_leaves_whole_and_in_order_or_is_counted(
    story: list[tuple[str, int, int]], burst_bytes: int
) -> None:
    """What is dropped for its age is never the newest of its track, and nothing that was begun or promised to."""
    queue = SendQueue(frames_per_track=3, buffered_limit=2000, burst_bytes=burst_bytes, spacing_s=0.05)
    accepted: dict[int, list[list[bytes]]] = {1: [], 2: [], 3: []}
    promised: set[bytes] = set()
    sent: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    outdated = {1: 0, 2: 0, 3: 0}
    now = 0.0

    def send(buffered: int) -> None:
        large = 0
        for packet in queue.packets_to_send(buffered, now):
            track, number, count = map(int, packet.rstrip(b".").decode().split("-")[:3])
            assert number >= 0
            sent[track].append(packet)
            large += len(packet) if count > 1 else 0
        assert large <= max(burst_bytes, 500)
        count_outdated()

    def count_outdated() -> None:
        for track, frames in queue.take_outdated().items():
            outdated[track] += frames

    for step, (kind, first, second) in enumerate(story):
        if kind in ("push", "promise"):
            packets = frame(f"{first}-{step}-{second}-", second, 500)
            room = queue.make_room(first, now)
            assert queue.push(first, packets, PROMISED if kind == "promise" else now) is room
            if room:
                accepted[first].append(packets)
                promised.update(packets if kind == "promise" else ())
            count_outdated()
        elif kind == "send":
            send(first)
        elif kind == "wait":
            now += first / 100
        else:
            waiting = queue.queued(first)
            assert queue.drop(first) == waiting
            whole = len(accepted[first]) - waiting
            gone = {packet for packets in accepted[first][whole:] for packet in packets}
            del accepted[first][whole:]
            sent[first] = [packet for packet in sent[first] if packet not in gone]
    while not queue.passes(0):
        send(0)
        deadline = queue.next_timeout()
        now = now if deadline is None else max(now, deadline)
    for track, frames in accepted.items():
        left = set(sent[track])
        kept = [packets for packets in frames if packets[0] in left]
        assert sent[track] == [packet for packets in kept for packet in packets]
        assert len(kept) + outdated[track] == len(frames)
        assert promised & {packet for packets in frames for packet in packets} <= left
        assert kept[-1:] == frames[-1:]
