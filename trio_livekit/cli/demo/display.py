"""The demo's table: one row for each track, with as many details and readings as there is place for."""

from __future__ import annotations

__all__ = ["demo_table", "layout"]

from typing import TYPE_CHECKING

from ..tables import GAP, Column, Table
from ..wording import bytes_text, milliseconds, sparkline
from .wording import details_text, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .meters import Meter

_COLUMNS = (
    Column("track", 7, "bold cyan", left=True),
    Column("frames/s", 8),
    Column("bytes/s", 8),
    Column("lost", 5),
    Column("p50 ms", 6, "green"),
    Column("p99 ms", 6, "green"),
    Column("latest", 11, "bold"),
)
_LOST = 3
_DETAILS_WIDTH = 40
_WIDE = 118
"""From how many columns on there is place for details."""


def layout(width: int) -> tuple[int, int]:
    """How wide the details and the sparkline are on a terminal of ``width`` columns; 0 where there is no place."""
    left = width - sum(column.width for column in _COLUMNS) - GAP * len(_COLUMNS)
    details = _DETAILS_WIDTH if width >= _WIDE else 0
    return details, max(0, left - (details + GAP if details else 0))


def demo_table(meters: Sequence[Meter], title: str, footer: str, *, width: int, ascii_only: bool) -> Table:
    """What there is to see of the tracks on ``width`` columns."""
    details, spark = layout(width)
    extra = [Column("", details, "dim", left=True)] if details else []
    columns = [*_COLUMNS, *extra, Column("", spark, "cyan", left=True)]
    rows = []
    for meter in meters:
        middle = [details_text(meter.latest)] if details else []
        rows.append([*_cells(meter), *middle, _bars(meter, spark, ascii_only=ascii_only)])
    alarms = frozenset((row, _LOST) for row, meter in enumerate(meters) if meter.lost)
    return Table(title, columns, rows, footer, alarms)


def _cells(meter: Meter) -> tuple[str, ...]:
    return (
        meter.name,
        f"{meter.frames_per_s:.1f}",
        bytes_text(meter.bytes_per_s),
        str(meter.lost),
        milliseconds(meter.latencies.quantile(0.5)),
        milliseconds(meter.latencies.quantile(0.99)),
        value_text(meter.latest),
    )


def _bars(meter: Meter, width: int, *, ascii_only: bool) -> str:
    """The track's readings; shares of a whole are drawn as such."""
    top = 100.0 if meter.latest is not None and meter.latest["unit"] == "%" else None
    return sparkline(meter.history, width, top=top, ascii_only=ascii_only)
