"""The replay window against a plain set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.dtls.replay import ReplayWindow

SIZE = 16


@given(st.lists(st.one_of(st.integers(0, 60), st.integers(2**47, 2**47 + 60)), max_size=200))
def test_accepts_what_a_set_of_the_newest_numbers_would(numbers: list[int]) -> None:
    window = ReplayWindow(SIZE)
    seen: set[int] = set()
    for number in numbers:
        expected = number not in seen and number > max(seen, default=-1) - SIZE
        assert window.is_fresh(number) is expected
        if expected:
            window.record(number)
            seen.add(number)


def test_asking_changes_nothing() -> None:
    window = ReplayWindow(SIZE)
    window.record(5)
    assert window.is_fresh(2**48 - 1)
    assert window.is_fresh(6)
    assert window.is_fresh(4)
    assert not window.is_fresh(5)


def test_late_records_are_accepted_once() -> None:
    window = ReplayWindow(SIZE)
    window.record(10)
    for number in (9, 3, 0):
        assert window.is_fresh(number)
        window.record(number)
        assert not window.is_fresh(number)
