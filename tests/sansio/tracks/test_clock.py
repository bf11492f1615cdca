"""The 90 kHz clock of a track."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.tracks.vectors import VECTORS
from trio_livekit._sansio.tracks.clock import RATE_HZ, MediaClock


@pytest.mark.parametrize("case", VECTORS["clock"]["cases"], ids=lambda case: f"{case['base']}+{case['elapsed_ns']}ns")
@pytest.mark.parametrize("started", [0.0, 12.5])
def test_vector(case: dict, started: float) -> None:
    assert VECTORS["clock"]["rate_hz"] == RATE_HZ
    assert MediaClock(case["base"], started).at(started + case["elapsed_ns"] / 1e9) == case["ticks"]


def test_never_goes_back() -> None:
    case = VECTORS["clock"]["monotonic"]
    clock = MediaClock(case["base"], 0.0)
    assert [clock.at(elapsed_ms / 1000) for elapsed_ms in case["calls_elapsed_ms"]] == case["ticks"]


def test_before_it_started_it_stands_at_its_base() -> None:
    assert MediaClock(99, 10.0).at(3.0) == 99


def test_goes_on_after_half_a_turn_of_silence() -> None:
    """A clock that compares 32-bit values would think that time had gone back."""
    clock = MediaClock(0, 0.0)
    clock.at(1.0)
    day = 86_400.0
    assert clock.at(day) == int(day * RATE_HZ) % 2**32


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0, 1e6), min_size=1))
def test_distance_follows_the_furthest_instant(base: int, instants: list[float]) -> None:
    clock = MediaClock(base, 0.0)
    for index, instant in enumerate(instants):
        furthest = max(instants[: index + 1])
        assert (clock.at(instant) - base) % 2**32 == int(furthest * RATE_HZ + 0.5) % 2**32
