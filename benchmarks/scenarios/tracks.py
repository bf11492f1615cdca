"""Data tracks through a real livekit-server, beside the official SDK."""

from __future__ import annotations

__all__ = ["SCENARIOS", "highest_rate"]

import math
from typing import TYPE_CHECKING, Any

from ..scenario import LOWER, OURSELVES, Metric, Options, Peer, Scenario
from .rooms import open_pair

if TYPE_CHECKING:
    from collections.abc import Callable

_PEERS = (OURSELVES, "livekit")
_SIZES = {"100 B": 100, "1 KiB": 1024, "16 KiB": 16384, "64 KiB": 65536}
_FIRST_RATES = {"100 B": 2000.0, "1 KiB": 2000.0, "16 KiB": 250.0, "64 KiB": 60.0}
_LOADS = {"1 KiB at 250 Hz": (1024, 250.0), "16 KiB at 60 Hz": (16384, 60.0)}
_LARGE = {"64 KiB at 30 Hz": (65536, 30.0), "256 KiB at 10 Hz": (262144, 10.0)}
_LATENCIES = {"100 Hz": 100.0, "1 kHz": 1000.0}

_LEAST_SHARE = 0.99
_MOST_STEPS = 8  # up, or down


def highest_rate(passes: Callable[[float], bool], first: float, *, factor: float, halvings: int) -> float:
    """The highest rate that passes, sought from ``first`` by steps of a factor and then in between; 0 if none does.

    A rate is given up after failing twice: what disturbs the machine for a moment should not end the search.
    """

    def holds(rate: float) -> bool:
        return passes(rate) or passes(rate)

    good, bad = 0.0, math.inf
    rate = first
    for _ in range(_MOST_STEPS):
        if holds(rate):
            good = rate
        else:
            bad = rate
        if good and bad < math.inf:
            break
        rate = rate * factor if good else rate / factor
    for _ in range(halvings if good and bad < math.inf else 0):
        rate = math.sqrt(good * bad)
        if holds(rate):
            good = rate
        else:
            bad = rate
    return good


def measure_rate(peer: Peer, options: Options) -> dict[str, float]:
    values: dict[str, float] = {}
    seconds = options.pick(2.0, 0.25)
    with open_pair(peer) as pair:
        for name, size in _SIZES.items():
            passed: dict[float, dict[str, Any]] = {}

            def passes(rate: float, size: int = size, passed: dict[float, dict[str, Any]] = passed) -> bool:
                found = pair.stream(size, rate, seconds)
                if not found["kept_up"] or found["share"] < _LEAST_SHARE:
                    return False
                passed[rate] = found
                return True

            rate = highest_rate(passes, _FIRST_RATES[name], factor=options.pick(2.0, 4.0), halvings=options.pick(3, 1))
            values[f"{name}: frames"] = rate
            values[f"{name}: bytes"] = rate * size / 1e6
            if rate in passed:
                values |= _cpu(name, size, passed[rate])
    return values


def measure_delivery(peer: Peer, options: Options) -> dict[str, float]:
    with open_pair(peer) as pair:
        return {
            name: 100 * pair.stream(size, rate, options.pick(10.0, 2.0))["share"]
            for name, (size, rate) in _LARGE.items()
        }


def measure_latency(peer: Peer, options: Options) -> dict[str, float]:
    values: dict[str, float] = {}
    with open_pair(peer) as pair:
        for name, rate in _LATENCIES.items():
            found = pair.stream(100, rate, options.pick(20.0, 2.0))
            values |= {f"{name}: {p}": found[f"{p}_us"] / 1000 for p in ("p50", "p99", "p99.9")}
            values[f"{name}: delivered"] = 100 * found["share"]
    return values


def measure_cpu(peer: Peer, options: Options) -> dict[str, float]:
    values: dict[str, float] = {}
    with open_pair(peer) as pair:
        for name, (size, rate) in _LOADS.items():
            values |= _cpu(name, size, pair.stream(size, rate, options.pick(10.0, 1.5)))
    return values


def _cpu(name: str, size: int, found: dict[str, Any]) -> dict[str, float]:
    gigabytes = found["received"] * size / 1e9
    return {
        f"{name}: publisher": found["push_cpu_s"] / gigabytes,
        f"{name}: subscriber": found["receive_cpu_s"] / gigabytes,
    }


SCENARIOS = (
    Scenario(
        "track-rate",
        "highest rate of frames of which 99 % arrive, and CPU time for a gigabyte at that rate",
        _PEERS,
        tuple(
            metric
            for size in _SIZES
            for metric in (
                Metric(f"{size}: frames", "frames/s"),
                Metric(f"{size}: bytes", "MB/s"),
                Metric(f"{size}: publisher", "CPU-s/GB", LOWER),
                Metric(f"{size}: subscriber", "CPU-s/GB", LOWER),
            )
        ),
        measure_rate,
    ),
    Scenario(
        "track-delivery",
        "share of large frames that arrive whole",
        _PEERS,
        tuple(Metric(name, "%") for name in _LARGE),
        measure_delivery,
    ),
    Scenario(
        "track-latency",
        "from push to receive, 100-byte frames",
        _PEERS,
        tuple(
            metric
            for name in _LATENCIES
            for metric in (
                *(Metric(f"{name}: {p}", "ms", LOWER) for p in ("p50", "p99", "p99.9")),
                Metric(f"{name}: delivered", "%"),
            )
        ),
        measure_latency,
    ),
    Scenario(
        "track-cpu",
        "CPU time of each end for a gigabyte that arrives, at a steady rate",
        _PEERS,
        tuple(Metric(f"{name}: {side}", "CPU-s/GB", LOWER) for name in _LOADS for side in ("publisher", "subscriber")),
        measure_cpu,
    ),
)
