"""Data channels on loopback: two processes of the same stack, nothing between them."""

from __future__ import annotations

__all__ = ["SCENARIOS"]

import contextlib
import time
from typing import TYPE_CHECKING, Any

from ..scenario import LOWER, OURSELVES, Metric, Options, Peer, Scenario
from ..worker import Worker, WorkerError, open_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

_PEERS = (OURSELVES, "aiortc", "pion")
_SIZES = {"1 KiB": 1024, "16 KiB": 16384, "64 KiB": 65536}
_SMALL = 100  # bytes

_RELIABLE_QUIET_S = 10.0  # retransmission timers of the slowest stack fit in
_LOSSY_QUIET_S = 0.3


def connect(left: Worker, right: Worker) -> float:
    """Exchange descriptions; seconds from the first command until both ends have both channels open."""
    for worker in (left, right):
        worker.ask("usage")  # has started, and imported what it needs
    start = time.monotonic()
    answer = right.ask("answer", sdp=left.ask("offer")["sdp"])
    left.ask("accept", sdp=answer["sdp"])
    for worker in (left, right):
        worker.tell("wait_open")
    for worker in (left, right):
        worker.answer()
    return time.monotonic() - start


def flood(left: Worker, right: Worker, channel: str, size: int, seconds: float) -> dict[str, Any]:
    """Send as fast as the channel takes it. CPU seconds are of the whole process, from before the first message."""
    right.ask("expect", channel=channel, size=size)
    before = [worker.ask("usage")["cpu_s"] for worker in (left, right)]
    sent = left.ask("send", channel=channel, size=size, seconds=seconds)["sent"]
    quiet_s = _RELIABLE_QUIET_S if channel == "reliable" else _LOSSY_QUIET_S
    result = right.ask("received", sent=sent, quiet_s=quiet_s)
    after = [worker.ask("usage")["cpu_s"] for worker in (left, right)]
    if result["damaged"] or (channel == "reliable" and result["received"] != sent):
        raise WorkerError(
            f"{result['received']} of {sent} messages of {size} bytes arrived, {result['damaged']} damaged"
        )
    if result["received"] < 2:
        raise WorkerError(f"only {result['received']} of {sent} messages arrived")
    result["rate"] = (result["received"] - 1) / result["seconds"]
    result["share"] = result["received"] / sent
    result["send_cpu_s"], result["receive_cpu_s"] = (b - a for a, b in zip(before, after, strict=True))
    return result


def measure_reliable(peer: Peer, options: Options) -> dict[str, float]:
    values: dict[str, float] = {}
    with _connected(peer) as (left, right):
        for name, size in _SIZES.items():
            found = flood(left, right, "reliable", size, options.pick(5.0, 0.7))
            gigabytes = found["received"] * size / 1e9
            values[f"{name}: rate"] = found["rate"] * size / 1e6
            values[f"{name}: sender"] = found["send_cpu_s"] / gigabytes
            values[f"{name}: receiver"] = found["receive_cpu_s"] / gigabytes
    return values


def measure_lossy(peer: Peer, options: Options) -> dict[str, float]:
    with _connected(peer) as (left, right):
        found = flood(left, right, "lossy", _SMALL, options.pick(5.0, 0.7))
    return {
        "rate": found["rate"],
        "delivered": 100 * found["share"],
        "sender": found["send_cpu_s"] / found["received"] * 1e6,
        "receiver": found["receive_cpu_s"] / found["received"] * 1e6,
    }


def measure_latency(peer: Peer, options: Options) -> dict[str, float]:
    with open_workers(peer, "channel") as (left, right):
        first_s = connect(left, right)
        again_s = [connect(left, right) for _ in range(options.pick(5, 2))]
        right.ask("echo")
        left.ask("ping", count=100, size=_SMALL)
        found = left.ask("ping", count=options.pick(10_000, 1000), size=_SMALL)
    return {
        "first connection": first_s * 1000,
        "later connection": sorted(again_s)[len(again_s) // 2] * 1000,
        "round trip p50": found["p50_us"],
        "round trip p99": found["p99_us"],
    }


@contextlib.contextmanager
def _connected(peer: Peer) -> Iterator[tuple[Worker, Worker]]:
    with open_workers(peer, "channel") as (left, right):
        connect(left, right)
        yield left, right


SCENARIOS = (
    Scenario(
        "channel-reliable",
        "reliable ordered messages over a data channel on loopback",
        _PEERS,
        tuple(
            metric
            for size in _SIZES
            for metric in (
                Metric(f"{size}: rate", "MB/s"),
                Metric(f"{size}: sender", "CPU-s/GB", LOWER),
                Metric(f"{size}: receiver", "CPU-s/GB", LOWER),
            )
        ),
        measure_reliable,
    ),
    Scenario(
        "channel-lossy",
        "unordered 100-byte messages without retransmission",
        _PEERS,
        (
            Metric("rate", "messages/s"),
            Metric("delivered", "%"),
            Metric("sender", "CPU-us/message", LOWER),
            Metric("receiver", "CPU-us/message", LOWER),
        ),
        measure_lossy,
    ),
    Scenario(
        "channel-latency",
        "echo of 100 bytes, and time to connect (from asking for an offer until both ends have open channels)",
        _PEERS,
        (
            Metric("round trip p50", "us", LOWER),
            Metric("round trip p99", "us", LOWER),
            Metric("first connection", "ms", LOWER),
            Metric("later connection", "ms", LOWER),
        ),
        measure_latency,
    ),
)
