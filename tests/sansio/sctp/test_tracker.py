from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.sctp.rx.tracker import MAX_AHEAD, MAX_DUPLICATES, TsnTracker

NEAR_THE_WRAP = 0xFFFFFFF0


@given(st.lists(st.integers(0, 60), max_size=120), st.integers(0, 0xFFFFFFFF))
def test_against_a_plain_set(offsets: list[int], initial: int):
    tracker = TsnTracker(initial)
    first = tracker.cumulative + 1
    seen: set[int] = set()
    for offset in offsets:
        tsn = tracker.unwrap(initial + offset & 0xFFFFFFFF)
        assert tsn == first + offset
        assert tracker.add(tsn) == (offset not in seen)
        seen.add(offset)
        cumulative = next(n for n in range(100) if n not in seen) - 1
        assert tracker.cumulative == first + cumulative
        reported = {n for start, end in tracker.gap_blocks(100) for n in range(start, end + 1)}
        assert reported == {n - cumulative for n in seen if n > cumulative}
    blocks = tracker.gap_blocks(100)
    assert all(block[0] >= 2 for block in blocks)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(blocks))


@given(st.sets(st.integers(0, 40)), st.integers(0, 45))
def test_advancing_against_a_plain_set(offsets: set[int], to: int):
    tracker = TsnTracker(5)
    first = tracker.cumulative + 1
    for offset in sorted(offsets, key=lambda n: n * 7 % 41):
        tracker.add(first + offset)
    tracker.advance_to(first + to)
    held = offsets | set(range(to + 1))
    assert tracker.cumulative == first + next(n for n in range(100) if n not in held) - 1


def test_duplicates_are_listed_up_to_a_limit_and_wrapped():
    tracker = TsnTracker(NEAR_THE_WRAP)
    first = tracker.cumulative + 1
    for offset in range(0x20):
        tracker.add(first + offset)
    for _ in range(3):
        for offset in range(0x20):
            assert not tracker.add(first + offset)
    assert tracker.duplicates == [NEAR_THE_WRAP + offset & 0xFFFFFFFF for offset in range(0x20)][:MAX_DUPLICATES]


def test_too_far_ahead_is_not_kept():
    tracker = TsnTracker(0)
    assert not tracker.add(tracker.cumulative + MAX_AHEAD + 1)
    assert tracker.add(tracker.cumulative + MAX_AHEAD)
    assert tracker.gap_blocks(10) == [(MAX_AHEAD, MAX_AHEAD)]


def test_lowest_gaps_are_reported_first():
    tracker = TsnTracker(0)
    for offset in range(2, 200, 2):
        tracker.add(tracker.cumulative + offset)
    assert tracker.gap_blocks(3) == [(2, 2), (4, 4), (6, 6)]
