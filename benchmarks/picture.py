"""The run as a picture: for each metric a bar for each peer, as long as the median, with the range over the rounds."""

from __future__ import annotations

__all__ = ["MatplotlibMissing", "draw"]

import math
from typing import TYPE_CHECKING

from .report import Spread, number, spread
from .scenario import OURSELVES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .runner import ScenarioResult

_COLUMNS = 3
_COLOURS = {OURSELVES: "#1f6feb", "aiortc": "#d29922", "livekit": "#a371f7", "pion": "#57606a", "primitives": "#57606a"}
_OTHER = "#8b949e"


class MatplotlibMissing(Exception):
    """The optional extra ``bench`` is not installed."""


def draw(run: Mapping[str, object], results: Sequence[ScenarioResult], path: Path) -> None:
    """Write a PNG. Raises ``MatplotlibMissing``."""
    try:
        import matplotlib
    except ImportError as exc:
        raise MatplotlibMissing("no picture: matplotlib is missing (pip install 'trio-livekit[bench]')") from exc
    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [
        (result, metric) for result in results for metric in result.scenario.metrics if _rows(result, metric.name)
    ]
    if not panels:
        return
    rows = math.ceil(len(panels) / _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(6 * _COLUMNS, 1.5 * rows + 1), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (result, metric) in zip(axes.flat, panels, strict=False):
        found = _rows(result, metric.name)
        medians = [entry.median for _, entry in found]
        whiskers = [[e.median - e.low for _, e in found], [e.high - e.median for _, e in found]]
        names = [name for name, _ in found]
        axis.barh(names, medians, xerr=whiskers, color=[_COLOURS.get(name, _OTHER) for name in names], capsize=3)
        axis.invert_yaxis()
        reach = max(entry.high for _, entry in found) or 1
        axis.set_xlim(min(0, *(entry.low for _, entry in found)), reach * 1.25)
        for row, (_, entry) in enumerate(found):
            axis.annotate(number(entry.median), (entry.high, row), (4, 0), textcoords="offset points", va="center")
        axis.set_title(f"{result.scenario.name}: {metric.name}\n{metric.unit}, {metric.better} is better", fontsize=8)
        axis.tick_params(labelsize=7)
    heading = f"{run['commit']}  {run['time']}  {run['machine']}  {run['python']}\n{run['command']}"
    figure.suptitle(heading, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.6 / figure.get_figheight()))
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _rows(result: ScenarioResult, metric: str) -> list[tuple[str, Spread]]:
    return [(peer, spread(result.values[peer][metric])) for peer in result.peers if result.values[peer].get(metric)]
