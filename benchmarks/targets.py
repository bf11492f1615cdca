"""What was aimed at beside what a run found, as a table in Markdown: ``python -m benchmarks.targets FILE.json``."""

from __future__ import annotations

__all__ = ["TARGETS", "Target", "as_markdown"]

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .report import number
from .scenario import OURSELVES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Target(NamedTuple):
    """Bounds on some metrics of a scenario: of our median over a peer's, or of our median itself without a peer."""

    scenario: str
    metrics: tuple[str, ...]
    bound: float
    peer: str = ""
    at_least: bool = False

    def is_met_by(self, value: float) -> bool:
        """Whether a ratio, or a value, is within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


_SIZES = ("1 KiB", "16 KiB", "64 KiB")
_ENDS = tuple(f"{size}: {end}" for size in _SIZES for end in ("sender", "receiver"))
_SIDES = tuple(f"{size}: {side}" for size in _SIZES for side in ("publisher", "subscriber"))

TARGETS = (
    Target("channel-reliable", tuple(f"{size}: rate" for size in _SIZES), 4, "aiortc", at_least=True),
    Target("channel-reliable", _ENDS, 0.2, "aiortc"),
    Target("channel-reliable", ("16 KiB: rate",), 1, "pion", at_least=True),
    Target("channel-lossy", ("rate",), 5, "aiortc", at_least=True),
    Target("track-rate", tuple(f"{size}: frames" for size in _SIZES), 5, "livekit", at_least=True),
    Target("track-rate", _SIDES, 0.1, "livekit"),
    Target("track-delivery", ("64 KiB at 30 Hz", "256 KiB at 10 Hz"), 95, at_least=True),
    Target("track-latency", tuple(f"{hz}: {p}" for hz in ("100 Hz", "1 kHz") for p in ("p50", "p99")), 1, "livekit"),
    Target("joining", ("connected, first time", "connected, later"), 0.6, "livekit"),
    Target("memory", ("connected",), 0.6, "livekit"),
    Target("memory", ("threads",), 1),
    Target("layers", ("all, sending", "all, receiving"), 6, "primitives"),
)


def as_markdown(found: Mapping[str, Any], targets: Sequence[Target] = TARGETS) -> str:
    """One row for each metric that has a target and was measured; empty where there is none. ``found``: ``as_json``."""
    rows = list(_rows(found, targets))
    if not rows:
        return ""
    head = "| scenario | metric | peer | ours | peer's | ours : peer | target | |\n" + "| --- " * 8 + "|"
    return "\n".join([head, *("| " + " | ".join(row) + " |" for row in rows)])


def _rows(found: Mapping[str, Any], targets: Sequence[Target]) -> Iterator[tuple[str, ...]]:
    metrics = {(s["name"], m["name"]): m for s in found["scenarios"] for m in s["metrics"]}
    for target in targets:
        for name in target.metrics:
            metric = metrics.get((target.scenario, name), {"peers": {}})
            ours, theirs = (metric["peers"].get(peer) for peer in (OURSELVES, target.peer))
            value = theirs["ours_to_peer"] if target.peer and theirs else ours["median"] if ours else None
            if ours is None or value is None or (target.peer and theirs is None):
                continue
            bound = f"{'at least' if target.at_least else 'at most'} {number(target.bound)}"
            yield (
                target.scenario,
                f"{name} [{metric['unit']}]",
                target.peer,
                number(ours["median"]),
                number(theirs["median"]) if theirs else "",
                number(value) if theirs else "",
                bound,
                "met" if target.is_met_by(value) else "missed",
            )


if __name__ == "__main__":
    print(as_markdown(json.loads(Path(sys.argv[1]).read_text())))
