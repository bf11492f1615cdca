"""Runs each scenario with its peers in turn, A B A B, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

__all__ = ["ScenarioResult", "run_scenario"]

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .scenario import OURSELVES, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .scenario import Options, Peer, Scenario


@dataclass(slots=True)
class ScenarioResult:
    """Every value of every round. A round that failed is in ``problems``, and leaves no value."""

    scenario: Scenario
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # peer, then metric
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def peers(self) -> list[str]:
        """Who was measured, ourselves first."""
        return sorted(self.values, key=lambda peer: peer != OURSELVES)


def run_scenario(
    scenario: Scenario,
    find_peer: Callable[[str], Peer],
    options: Options,
    say: Callable[[str], None],
) -> ScenarioResult:
    """Measure a scenario: all peers once, then all of them again, and so on.

    A peer that ``find_peer`` raises ``Unavailable`` for is skipped; one that fails in a round has its next turn all the
    same.
    """
    result = ScenarioResult(scenario)
    start = time.monotonic()
    peers = []
    for name in scenario.peers:
        try:
            peers.append(find_peer(name))
        except Unavailable as exc:
            result.problems.append(f"{name} skipped: {exc}")
            say(result.problems[-1])
    for round_number in range(1, options.pick(scenario.rounds, scenario.quick_rounds) + 1):
        for peer in peers:
            say(f"{scenario.name}: {peer.name}, round {round_number}")
            try:
                measured = scenario.measure(peer, options)
            except Exception as exc:
                result.problems.append(f"{peer.name}, round {round_number}: {type(exc).__name__}: {exc}")
                say(result.problems[-1])
                continue
            by_metric = result.values.setdefault(peer.name, {})
            for metric, value in measured.items():
                by_metric.setdefault(metric, []).append(value)
    result.seconds = time.monotonic() - start
    return result
