"""The live table: with rich on a terminal, without it by a few escape sequences, and into a file as plain text."""

from __future__ import annotations

__all__ = [
    "GAP",
    "HEADINGS",
    "WIDTHS",
    "LiveTable",
    "cells",
    "layout",
    "meter_sparkline",
    "open_display",
    "table_lines",
]

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from .wording import bytes_text, details_text, milliseconds, sparkline, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .meters import Meter

HEADINGS = ("track", "frames/s", "bytes/s", "lost", "p50 ms", "p99 ms", "latest")
WIDTHS = (7, 8, 8, 5, 6, 6, 11)  # all but the first are aligned to the right
GAP = 2
_DETAILS_WIDTH = 40
_WIDE = 118
"""From how many columns on there is place for details."""

_LOG_INTERVAL_S = 2.0


class LiveTable(Protocol):
    """Something that shows the meters again and again."""

    interval_s: float

    def show(self, meters: Sequence[Meter], title: str, footer: str) -> None:
        """Show how things stand."""


def cells(meter: Meter) -> tuple[str, ...]:
    """What the columns say of one track, without details and sparkline."""
    return (
        meter.name,
        f"{meter.frames_per_s:.1f}",
        bytes_text(meter.bytes_per_s),
        str(meter.lost),
        milliseconds(meter.latencies.quantile(0.5)),
        milliseconds(meter.latencies.quantile(0.99)),
        value_text(meter.latest),
    )


def layout(width: int) -> tuple[int, int]:
    """How wide the details and the sparkline are on a terminal of ``width`` columns; 0 where there is no place."""
    left = width - sum(WIDTHS) - GAP * len(WIDTHS)
    details = _DETAILS_WIDTH if width >= _WIDE else 0
    return details, max(0, left - (details + GAP if details else 0))


def meter_sparkline(meter: Meter, width: int, *, ascii_only: bool) -> str:
    """The track's readings; shares of a whole are drawn as such."""
    top = 100.0 if meter.latest is not None and meter.latest["unit"] == "%" else None
    return sparkline(meter.history, width, top=top, ascii_only=ascii_only)


def table_lines(meters: Sequence[Meter], title: str, footer: str, *, width: int, ascii_only: bool) -> list[str]:
    """The table as plain text."""
    details, spark = layout(width)

    def line(texts: Sequence[str], detail: str, bars: str) -> str:
        first, *rest = texts
        columns = [f"{first:<{WIDTHS[0]}}"]
        columns += [f"{text:>{size}}" for text, size in zip(rest, WIDTHS[1:], strict=True)]
        if details:
            columns.append(f"{detail[:details]:<{details}}")
        return (" " * GAP).join([*columns, bars]).rstrip()

    lines = [title[:width], "", line(HEADINGS, "", "")]
    lines += [
        line(cells(meter), details_text(meter.latest), meter_sparkline(meter, spark, ascii_only=ascii_only))
        for meter in meters
    ]
    return [*lines, "", footer[:width]]


@contextmanager
def open_display(stream: TextIO) -> Iterator[LiveTable]:
    """The best display that ``stream`` can show."""
    ascii_only = not _can_show_blocks(stream)
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield _Log(stream, ascii_only)
        return
    try:
        from .rich_display import rich_display
    except ImportError:
        yield _Redrawn(stream, ascii_only)
        return
    with rich_display(stream, ascii_only) as display:
        yield display


class _Log:
    """For files and pipes: the table again every few seconds."""

    interval_s = _LOG_INTERVAL_S

    def __init__(self, stream: TextIO, ascii_only: bool) -> None:
        self._stream = stream
        self._ascii_only = ascii_only

    def show(self, meters: Sequence[Meter], title: str, footer: str) -> None:
        width = shutil.get_terminal_size().columns
        lines = table_lines(meters, title, footer, width=width, ascii_only=self._ascii_only)
        print(*lines, "", sep="\n", file=self._stream, flush=True)


class _Redrawn:
    """For terminals where there is no rich: the table over the last one."""

    interval_s = 0.25

    def __init__(self, stream: TextIO, ascii_only: bool) -> None:
        self._stream = stream
        self._ascii_only = ascii_only
        self._height = 0

    def show(self, meters: Sequence[Meter], title: str, footer: str) -> None:
        width = shutil.get_terminal_size().columns
        lines = table_lines(meters, title, footer, width=width - 1, ascii_only=self._ascii_only)
        up = f"\x1b[{self._height}A" if self._height else ""
        self._height = len(lines)
        self._stream.write("\r" + up + "\x1b[J" + "\n".join(lines) + "\n")
        self._stream.flush()


def _can_show_blocks(stream: TextIO) -> bool:
    try:
        "▁█".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
