"""The order and the pace in which frames leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.tracks.send_queue import SendQueue


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
    ("queued", "packets", "buffered", "expected"),
    [(0, 1, 0, True), (0, 1, 64 * 1024, True), (0, 1, 64 * 1024 + 1, False), (0, 2, 0, False), (1, 1, 0, False)],
)
def test_passes(queued: int, packets: int, buffered: int, expected: bool) -> None:
    queue = SendQueue()
    for _ in range(queued):
        queue.push(1, frame("q"))
    assert queue.passes(frame("a", packets), buffered) is expected


def test_small_frames_leave_at_once_and_take_turns() -> None:
    queue = SendQueue()
    for index in range(3):
        queue.push(1, frame(f"a{index}-"))
    queue.push(2, frame("b0-"))
    queue.push(3, frame("c0-"))
    assert drain(queue) == [(0.0, name) for name in ("a0-0", "b0-0", "c0-0", "a1-0", "a2-0")]
    assert queue.passes(frame("d"), 0)


def test_the_newest_frame_of_a_full_track_is_refused_and_others_are_not() -> None:
    queue = SendQueue(frames_per_track=2)
    assert [queue.push(1, frame(name)) for name in "abc"] == [True, True, False]
    assert not queue.has_room(1)
    assert queue.has_room(2)
    assert queue.push(2, frame("x"))
    assert names(queue.packets_to_send(0, 0.0)) == ["a0", "x0", "b0"]
    assert queue.has_room(1)


def test_a_queue_of_one_frame_keeps_it_whole() -> None:
    """A frame that is newer does not take the place of one that waits, begun or not: it is refused."""
    queue = SendQueue(frames_per_track=1)
    large = frame("a", 13, 16_000)
    assert queue.push(1, large)
    assert not queue.push(1, frame("b"))
    first = queue.packets_to_send(0, 0.0)
    assert first == large[:1]
    assert not queue.push(1, frame("b"))
    rest = drain(queue, 0.0)
    assert names(first) + [name for _, name in rest] == names(large)
    assert queue.push(1, frame("b"))


def test_nothing_leaves_while_the_channel_is_full() -> None:
    queue = SendQueue(buffered_limit=2500)
    for index in range(5):
        queue.push(1, frame(f"f{index}-"))
    assert queue.packets_to_send(2501, 0.0) == []
    assert queue.next_timeout() is None  # the channel says when
    assert names(queue.packets_to_send(0, 0.0)) == ["f0-0", "f1-0", "f2-0"]  # up to the one that fills it
    assert names(queue.packets_to_send(2500, 0.0)) == ["f3-0"]


def test_a_large_frame_is_spread_out() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5)
    queue.push(1, frame("a", 4))
    assert drain(queue, 10.0) == [(10.0, "a0"), (10.5, "a1"), (11.0, "a2"), (11.5, "a3")]


def test_a_burst_may_hold_several_packets() -> None:
    queue = SendQueue(burst_bytes=2500, spacing_s=0.5, opening_s=0.0)
    queue.push(1, frame("a", 5))
    assert drain(queue, 10.0) == [(10.0, "a0"), (10.0, "a1"), (10.5, "a2"), (10.5, "a3"), (11.0, "a4")]


def test_the_small_rest_of_a_frame_leaves_with_the_packet_before_it_if_others_wait() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5, opening_s=0.0)
    for name in "abc":
        queue.push(1, [*frame(name, 1), *frame(f"rest-{name}", 1, 100)])
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
        queue.push(1, [*frame(name, 1), *frame(f"rest-{name}", 1, 100)])
    assert drain(queue, 10.0) == [(10.0, "a0"), (11.0, "rest-a0"), (11.0625, "b0"), (11.125, "rest-b0")]


def test_one_small_packet_follows_a_full_burst_and_no_second() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5, opening_s=0.0)
    queue.push(1, [*frame("a", 1), *frame("b", 1, 100), *frame("c", 1, 100)])
    queue.push(1, frame("d", 2))
    assert drain(queue, 10.0)[:3] == [(10.0, "a0"), (10.0, "b0"), (10.5, "c0")]


def test_a_packet_larger_than_a_burst_still_leaves() -> None:
    queue = SendQueue(burst_bytes=10, spacing_s=0.5)
    queue.push(1, frame("a", 2))
    assert [name for _, name in drain(queue)] == ["a0", "a1"]


def test_without_spacing_there_is_no_pace() -> None:
    queue = SendQueue(spacing_s=0.0, opening_s=0.0)
    queue.push(1, frame("a", 5, 16_000)[:4])
    assert names(queue.packets_to_send(0, 1.0)) == ["a0", "a1", "a2", "a3"]


def test_the_first_packet_of_a_large_frame_goes_ahead_of_the_others() -> None:
    queue = SendQueue(burst_bytes=2000, spacing_s=0.25, opening_s=1.0)
    queue.push(1, frame("a", 4))
    assert drain(queue, 10.0) == [(10.0, "a0"), (11.0, "a1"), (11.0, "a2"), (11.25, "a3")]


def test_frames_that_follow_each_other_closely_open_the_way_for_each_other() -> None:
    queue = SendQueue(burst_bytes=3000, spacing_s=0.03125, opening_s=1.0)
    queue.push(1, frame("a", 2))
    queue.push(1, frame("b", 2))
    assert drain(queue, 10.0) == [(10.0, "a0"), (11.0, "a1"), (11.0, "b0"), (11.0, "b1")]
    queue.push(1, frame("c", 2))
    assert drain(queue, 11.125 - 1 / 64) == [(11.109375, "c0"), (11.109375, "c1")]
    queue.push(1, frame("d", 2))
    assert drain(queue, 11.25) == [(11.25, "d0"), (12.25, "d1")]


def test_small_frames_of_other_tracks_pass_a_large_one() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=0.5)
    queue.push(1, frame("large", 3))
    assert names(queue.packets_to_send(0, 1.0)) == ["large0"]
    queue.push(2, frame("small"))
    assert names(queue.packets_to_send(0, 1.1)) == ["small0"]
    assert queue.next_timeout() == 1.5


def test_large_frames_do_not_mix_and_the_order_of_a_track_holds() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 3))
    queue.push(1, frame("after-a"))
    queue.push(2, frame("b", 2))
    order = [name for _, name in drain(queue)]
    assert order == ["a0", "a1", "a2", "b0", "b1", "after-a0"] or order == ["a0", "a1", "a2", "after-a0", "b0", "b1"]


def test_the_pace_holds_from_one_large_frame_to_the_next() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 2))
    queue.push(2, frame("b", 2))
    assert [when for when, _ in drain(queue, 5.0)] == [5.0, 6.0, 7.0, 8.0]


def test_a_late_timer_does_not_slow_the_pace_but_a_very_late_one_makes_no_burst() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 4))
    queue.packets_to_send(0, 10.0)
    queue.packets_to_send(0, 11.3)
    assert queue.next_timeout() == 12.0
    assert names(queue.packets_to_send(0, 17.0)) == ["a2"]
    assert queue.next_timeout() == 18.0


def test_drop_frees_the_way_for_others() -> None:
    queue = SendQueue(burst_bytes=1000, spacing_s=1.0)
    queue.push(1, frame("a", 3))
    queue.push(1, frame("a"))
    queue.push(2, frame("b", 2))
    queue.packets_to_send(0, 1.0)
    assert queue.drop(1) == 2
    assert queue.drop(1) == 0
    assert [name for _, name in drain(queue, 2.0)] == ["b0", "b1"]


def test_clear() -> None:
    queue = SendQueue()
    queue.push(1, frame("a", 3))
    queue.push(1, frame("a"))
    queue.push(2, frame("b"))
    assert queue.clear() == {1: 2, 2: 1}
    assert queue.packets_to_send(0, 1.0) == []
    assert queue.next_timeout() is None


operations = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 3), st.integers(1, 4)),
        st.tuples(st.just("send"), st.integers(0, 4000), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("drop"), st.integers(1, 3), st.just(0)),
    ),
    max_size=40,
)


@given(operations, st.integers(500, 3000))
def test_every_frame_leaves_whole_and_in_order_or_is_counted(
    story: list[tuple[str, int, int]], burst_bytes: int
) -> None:
    queue = SendQueue(frames_per_track=3, buffered_limit=2000, burst_bytes=burst_bytes, spacing_s=1.0)
    accepted: dict[int, list[list[bytes]]] = {1: [], 2: [], 3: []}
    sent: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    now = 0.0

    def send(buffered: int) -> None:
        large = 0
        for packet in queue.packets_to_send(buffered, now):
            track, number, count = map(int, packet.rstrip(b".").decode().split("-")[:3])
            assert number >= 0
            sent[track].append(packet)
            large += len(packet) if count > 1 else 0
        assert large <= max(burst_bytes, 500)

    for step, (kind, first, second) in enumerate(story):
        if kind == "push":
            packets = frame(f"{first}-{step}-{second}-", second, 500)
            room = queue.has_room(first)
            assert queue.push(first, packets) is room
            if room:
                accepted[first].append(packets)
        elif kind == "send":
            send(first)
        elif kind == "wait":
            now += first
        else:
            unfinished = accepted[first]
            done = sum(len(packets) for packets in unfinished) - len(sent[first])
            dropped = queue.drop(first)
            assert (dropped > 0) == (done > 0)
            accepted[first] = unfinished[: len(unfinished) - dropped]
            whole = sum(len(packets) for packets in accepted[first])
            sent[first] = sent[first][:whole]
    while not queue.passes([b""], 0):
        send(0)
        deadline = queue.next_timeout()
        now = now if deadline is None else max(now, deadline)
    assert sent == {track: [packet for packets in frames for packet in packets] for track, frames in accepted.items()}
