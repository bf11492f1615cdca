"""Numbered frames: on a link that loses, repeats and reorders, what is missing is known exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit.cli.exits import CommandError
from trio_livekit.cli.numbering import Collector, Numberer


def wrapped(count):
    numberer = Numberer()
    return [numberer.wrap(b"%d" % number) for number in range(count)], numberer.end()


def collect(payloads):
    collector = Collector()
    frames = [frame for payload in payloads for frame in collector.push(payload)]
    return collector, frames + collector.finish()


@given(st.integers(0, 200), st.data())
def test_any_loss_is_counted(count, data):
    frames, end = wrapped(count)
    lost = data.draw(st.sets(st.integers(0, max(0, count - 1)), max_size=count))
    there = [frame for number, frame in enumerate(frames) if number not in lost]
    collector, received = collect([*there, end, end])
    assert received == [b"%d" % number for number in range(count) if number not in lost]
    assert collector.missing == count - len(received)
    assert collector.expected == count


@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_order_is_restored(count, random):
    frames, end = wrapped(count)
    payloads = [*frames, end, *random.sample(frames, count // 3)]  # some twice
    random.shuffle(payloads)
    collector, received = collect(payloads)
    assert received == [b"%d" % number for number in range(count)]
    assert collector.missing == 0
    assert collector.is_complete


def test_frames_are_not_held_back_for_ever():
    frames, _ = wrapped(200)
    collector = Collector()
    received = [frame for payload in frames[1:] for frame in collector.push(payload)]
    assert received[0] == b"1"
    assert collector.missing == 1
    assert collector.push(frames[0]) == []  # too late: it has been counted


def test_without_an_end_nothing_is_said_of_the_total():
    frames, _ = wrapped(5)
    collector, received = collect(frames[:3])
    assert len(received) == 3
    assert (collector.expected, collector.missing, collector.is_complete) == (None, 0, False)


def test_frames_without_a_number_are_noticed():
    with pytest.raises(CommandError, match="without a number"):
        Collector().push(b"abc")
