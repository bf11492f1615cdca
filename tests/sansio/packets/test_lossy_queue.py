"""Lossy packets leave fresh, or not at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.packets.lossy_queue import CHANNEL_BYTES, MAX_AGE_S, MAX_BYTES, LossyQueue


def test_a_channel_with_room_takes_them_at_once() -> None:
    queue = LossyQueue()
    queue.push(b"a", 0.0)
    queue.push(b"b", 0.0)
    assert queue.messages_to_send(0, 0.0) == [(MAX_AGE_S, b"a"), (MAX_AGE_S, b"b")]
    assert not queue


def test_what_waited_too_long_is_dropped() -> None:
    queue = LossyQueue()
    queue.push(b"old", 0.0)
    queue.push(b"new", 0.2)
    assert queue.messages_to_send(CHANNEL_BYTES, 0.25) == []
    assert queue.messages_to_send(0, MAX_AGE_S) == [(0.2 + MAX_AGE_S, b"new")]
    assert queue.dropped == 1


@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 0.2), st.integers(0, 2 * CHANNEL_BYTES))))
def test_fresh_in_order_and_bounded(steps: list[tuple[int, float, int]]) -> None:
    queue = LossyQueue()
    pushed: dict[bytes, float] = {}
    sent: list[bytes] = []
    now = 0.0
    for number, (size, pause, unsent) in enumerate(steps):
        now += pause
        message = number.to_bytes(4, "big").ljust(max(4, size))
        pushed[message] = now
        queue.push(message, now)
        out = queue.messages_to_send(unsent, now)
        assert all(now < expires_at == pushed[message] + MAX_AGE_S for expires_at, message in out)
        assert unsent + sum(len(message) for _, message in out[:-1]) < CHANNEL_BYTES or not out
        sent += [message for _, message in out]
        held = [message for message in pushed if message not in sent][-len(queue) :] if queue else []
        assert sum(map(len, held)) <= MAX_BYTES or len(queue) == 1
    assert sent == sorted(sent)
    assert len(pushed) == len(sent) + queue.dropped + len(queue)
