"""What a run found, as text for people and as JSON for programs."""

from __future__ import annotations

__all__ = ["Spread", "as_json", "as_text", "spread"]

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from .scenario import OURSELVES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .runner import ScenarioResult

_HEADINGS = ("metric", "peer", "min", "median", "max", "n", "ours : peer")


class Spread(NamedTuple):
    """A metric over the rounds."""

    low: float
    median: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """The range and the middle of at least one value."""
    return Spread(min(values), statistics.median(values), max(values), len(values))


def ratio(result: ScenarioResult, peer: str, metric: str) -> float | None:
    """Our median over the peer's, where there are both and the quotient means something."""
    ours = result.values.get(OURSELVES, {}).get(metric)
    theirs = result.values.get(peer, {}).get(metric)
    if peer == OURSELVES or not ours or not theirs or not statistics.median(theirs):
        return None
    return statistics.median(ours) / statistics.median(theirs)


def as_text(result: ScenarioResult) -> str:
    """One table for one scenario."""
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for metric in result.scenario.metrics:
        label = f"{metric.name} [{metric.unit}, {metric.better} is better]"
        for peer in result.peers:
            values = result.values[peer].get(metric.name)
            if not values:
                continue
            found = spread(values)
            quotient = ratio(result, peer, metric.name)
            numbers = [number(value) for value in found[:3]]
            rows.append((label, peer, *numbers, str(found.rounds), "" if quotient is None else f"{quotient:.3g}"))
            label = ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [f"{result.scenario.name}: {result.scenario.title} ({result.seconds:.0f} s)"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*lines, *(f"  ! {problem}" for problem in result.problems)])


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def as_json(
    run: Mapping[str, object], versions: Mapping[str, str], results: Sequence[ScenarioResult]
) -> dict[str, Any]:
    """Everything, with every single value."""
    return {"run": dict(run), "peers": dict(versions), "scenarios": [_scenario_json(result) for result in results]}


def _scenario_json(result: ScenarioResult) -> dict[str, Any]:
    return {
        "name": result.scenario.name,
        "title": result.scenario.title,
        "seconds": round(result.seconds, 1),
        "problems": result.problems,
        "metrics": [
            {
                "name": metric.name,
                "unit": metric.unit,
                "better": metric.better,
                "peers": {
                    peer: {
                        "values": values,
                        **spread(values)._asdict(),
                        "ours_to_peer": ratio(result, peer, metric.name),
                    }
                    for peer in result.peers
                    if (values := result.values[peer].get(metric.name))
                },
            }
            for metric in result.scenario.metrics
        ],
    }
