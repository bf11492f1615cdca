"""What it takes to have the SDK: memory, threads, time to import, disk."""

from __future__ import annotations

__all__ = ["SCENARIOS"]

import json
import statistics
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

from ..peers import site_packages
from ..scenario import LOWER, OURSELVES, Metric, Options, Peer, Scenario
from ..worker import SCRIPTS, Worker, WorkerError, open_workers
from ..workers.usage import memory
from .rooms import TRACK, open_pair, open_server

if TYPE_CHECKING:
    from pathlib import Path

_SUBSCRIPTIONS = 16
_FLOOD_SIZE, _FLOOD_RATE = 1024, 500.0
_SAMPLE_S = 0.5
_IMPORTS = {OURSELVES: "trio_livekit", "livekit": "livekit.rtc", "aiortc": "aiortc"}
_NOT_OURS = ("pip", "setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence.pth")


def measure_memory(peer: Peer, options: Options) -> dict[str, float]:
    with ExitStack() as stack:
        server = stack.enter_context(open_server())
        publisher, subscriber = stack.enter_context(open_workers(peer, "track"))
        room = uuid4().hex
        publisher.ask("connect", url=server.url, token=server.token("publisher", room))
        subscriber.ask("connect", url=server.url, token=server.token("subscriber", room))
        idle = _settled(subscriber)
        for number in range(_SUBSCRIPTIONS):
            publisher.ask("publish", name=f"track {number}")
        subscriber.ask("subscribe", publisher="publisher", name="track 0")
        one = _settled(subscriber)
        for number in range(1, _SUBSCRIPTIONS):
            subscriber.ask("subscribe", publisher="publisher", name=f"track {number}")
        all_of_them = _settled(subscriber)
    return {
        "connected": (idle["rss_kib"] - _bare_rss_kib(peer)) / 1024,
        "further subscription": (all_of_them["rss_kib"] - one["rss_kib"]) / (_SUBSCRIPTIONS - 1),
        "threads": all_of_them["threads"],
    }


def measure_flood(peer: Peer, options: Options) -> dict[str, float]:
    """Growth is between the median of the second quarter and that of the last one."""
    seconds = options.pick(600.0, 20.0)
    with open_pair(peer) as pair:
        pair.subscriber.ask("expect", size=_FLOOD_SIZE, keep=False)
        pair.publisher.tell("push", name=TRACK, size=_FLOOD_SIZE, rate=_FLOOD_RATE, seconds=seconds)
        samples: list[tuple[int, ...]] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            samples.append(tuple(memory(worker.pid)["rss_kib"] for worker in pair))
            time.sleep(_SAMPLE_S)
        pushed = pair.publisher.answer(timeout_s=seconds)
        result = pair.subscriber.ask("received", sent=pushed["pushed"], quiet_s=1.0)
    if result["damaged"]:
        raise WorkerError(f"{result['damaged']} of {result['received']} frames arrived damaged")
    quarter = len(samples) // 4
    values = {"delivered": 100 * result["received"] / pushed["pushed"]}
    for name, series in zip(pair._fields, zip(*samples, strict=True), strict=True):
        before, after = (statistics.median(part) for part in (series[quarter : 2 * quarter], series[-quarter:]))
        values[f"{name} grows by"] = after - before
    return values


def measure_install(peer: Peer, options: Options) -> dict[str, float]:
    assert peer.python is not None
    packages = site_packages(peer.python)
    own = [path for path in packages.iterdir() if not path.name.startswith(_NOT_OURS)]
    values = {
        "import": _import_ms(peer.python, _IMPORTS[peer.name], options.pick(9, 3)),
        "installed size": sum(_size(path) for path in own) / 1e6,
        "distributions": float(sum(path.name.endswith(".dist-info") for path in own)),
    }
    if peer.name == OURSELVES:
        values["import of trio alone"] = _import_ms(peer.python, "trio", options.pick(9, 3))
    return values


def _settled(worker: Worker) -> dict[str, int]:
    time.sleep(0.3)
    return memory(worker.pid)


def _bare_rss_kib(peer: Peer) -> int:
    out = subprocess.run([str(peer.python), str(SCRIPTS / "usage.py")], capture_output=True, check=True)
    rss_kib: int = json.loads(out.stdout)["rss_kib"]
    return rss_kib


def _import_ms(python: Path, module: str, times: int) -> float:
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [str(python), "-I", "-c", code]  # isolated: else the tree in the working directory would be imported
    runs = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(times)]
    return statistics.median(float(run) for run in runs) * 1000


def _size(path: Path) -> int:
    """Bytes of all the files below."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


SCENARIOS = (
    Scenario(
        "memory",
        "resident memory of a client in a room, over that of an interpreter that has imported nothing",
        (OURSELVES, "livekit"),
        (
            Metric("connected", "MiB", LOWER),
            Metric("further subscription", "KiB", LOWER),
            Metric("threads", "threads", LOWER),
        ),
        measure_memory,
    ),
    Scenario(
        "memory-flood",
        f"growth under {_FLOOD_RATE:.0f} frames of 1 KiB a second, from the second quarter to the last",
        (OURSELVES, "livekit"),
        (
            Metric("publisher grows by", "KiB", LOWER),
            Metric("subscriber grows by", "KiB", LOWER),
            Metric("delivered", "%"),
        ),
        measure_flood,
        rounds=1,
        quick_rounds=1,
    ),
    Scenario(
        "install",
        "a fresh install: time to import, size on disk with byte code",
        (OURSELVES, "livekit", "aiortc"),
        (
            Metric("import", "ms", LOWER),
            Metric("import of trio alone", "ms", LOWER),
            Metric("installed size", "MB", LOWER),
            Metric("distributions", "packages", LOWER),
        ),
        measure_install,
    ),
)
