"""The bound follows the network, and nothing else."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.packets.high_water import MAX_BYTES, MIN_BYTES, HighWater


def acknowledge(water: HighWater, rate: float, seconds: float, begin: float = 0.0, *, is_behind: bool = True) -> float:
    """``rate`` bytes a second, in steps of 50 ms; returns the time afterwards."""
    steps = round(seconds / 0.05)
    for step in range(1, steps + 1):
        water.on_acknowledged(int(rate * 0.05), begin + step * 0.05, is_behind=is_behind)
    return begin + seconds


@pytest.mark.parametrize(
    ("rate", "limit"), [(1_000, MIN_BYTES), (40_000, 40_000), (200_000, 200_000), (5_000_000, MAX_BYTES)]
)
def test_it_is_a_second_of_what_the_network_takes(rate: float, limit: int) -> None:
    water = HighWater()
    assert water.limit == MAX_BYTES
    acknowledge(water, rate, 1.0)
    assert water.limit == pytest.approx(limit, rel=0.01)


def test_it_follows_a_network_that_changes() -> None:
    water = HighWater()
    now = acknowledge(water, 40_000, 1.0)
    now = acknowledge(water, 10_000_000, 0.5, now)
    assert water.limit == MAX_BYTES
    acknowledge(water, 40_000, 1.0, now)
    assert water.limit == pytest.approx(40_000, rel=0.01)


def test_what_the_application_asks_for_says_nothing() -> None:
    water = HighWater()
    now = acknowledge(water, 10, 10.0, is_behind=False)
    assert water.limit == MAX_BYTES
    acknowledge(water, 100_000, 1.0, now + 100)  # the time before does not count
    assert water.limit == pytest.approx(100_000, rel=0.01)
