"""Latencies and paces."""

from __future__ import annotations

import math

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit.cli.latency import Latencies
from trio_livekit.cli.pacing import Pacer


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_quantiles_are_right_to_a_percent(values, share):
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert latencies.quantile(share) == pytest.approx(exact, rel=0.011)


def test_latencies_as_json():
    latencies = Latencies()
    nothing = latencies.summary_ms()
    assert nothing == {"samples": 0, "min": None, "p50": None, "p99": None, "max": None}
    latencies.add(0.0)  # two readings of a coarse clock
    latencies.add(0.002)
    assert latencies.summary_ms() == {"samples": 2, "min": 0.0, "p50": 0.0, "p99": 2.0, "max": 2.0}


@pytest.mark.parametrize(
    ("frames_per_s", "bytes_per_s", "seconds"), [(10, None, 9.9), (None, 1000, 9.9), (10, 500, 19.8), (None, None, 0)]
)
async def test_a_pace_is_kept(autojump_clock, frames_per_s, bytes_per_s, seconds):
    pacer = Pacer(frames_per_s, bytes_per_s)
    started = trio.current_time()
    for _ in range(100):
        await pacer.wait(100)
    assert trio.current_time() - started == pytest.approx(seconds, abs=0.025)


async def test_a_pause_is_not_made_up_for(autojump_clock):
    pacer = Pacer(10, None)
    await pacer.wait(1)
    await trio.sleep(60)
    started = trio.current_time()
    for _ in range(11):
        await pacer.wait(1)
    assert trio.current_time() - started == pytest.approx(1, abs=0.025)
