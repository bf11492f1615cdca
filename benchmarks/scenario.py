"""What a benchmark is: a scenario, the peers it is run with, and the metrics it yields."""

from __future__ import annotations

__all__ = ["HIGHER", "LOWER", "OURSELVES", "Metric", "Options", "Peer", "Scenario", "Unavailable"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

HIGHER = "higher"
LOWER = "lower"

OURSELVES = "trio_livekit"


class Unavailable(Exception):
    """A peer or a tool cannot be had on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a scenario, and which way is better."""

    name: str
    unit: str
    better: str = HIGHER


@dataclass(frozen=True, slots=True)
class Peer:
    """An implementation that is ready to run. Its workers are ``python <script>``, or ``program`` itself."""

    name: str
    version: str
    python: Path | None = None
    program: Path | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """How thorough a run is."""

    quick: bool

    def pick(self, full: T, quick: T) -> T:
        """The one of two settings that goes with this run."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Scenario:
    """A thing to measure. ``measure`` does one round with one peer and returns values by the name of the metric."""

    name: str
    title: str
    peers: tuple[str, ...]
    metrics: tuple[Metric, ...]
    measure: Callable[[Peer, Options], dict[str, float]]
    rounds: int = 3
    quick_rounds: int = 2
