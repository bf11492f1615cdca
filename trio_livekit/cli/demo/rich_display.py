"""The live table by rich. Imported where there is a terminal to show it, and fails to be where there is no rich."""

from __future__ import annotations

__all__ = ["rich_display"]

from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .display import GAP, HEADINGS, WIDTHS, cells, layout, meter_sparkline
from .wording import details_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import JustifyMethod

    from .meters import Meter

_STYLES = ("bold cyan", "", "", "", "green", "green", "bold")


class _RichTable:
    interval_s = 0.25

    def __init__(self, live: Live, ascii_only: bool) -> None:
        self._live = live
        self._ascii_only = ascii_only

    def show(self, meters: Sequence[Meter], title: str, footer: str) -> None:
        details, spark = layout(self._live.console.width)
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
        for heading, width, style in zip(HEADINGS, WIDTHS, _STYLES, strict=True):
            side: JustifyMethod = "left" if heading == "track" else "right"
            table.add_column(heading, style=style, justify=side, width=width, no_wrap=True)
        if details:
            table.add_column("", style="dim", no_wrap=True, width=details)
        table.add_column("", style="cyan", no_wrap=True, width=spark)
        for meter in meters:
            texts = list(map(Text, cells(meter)))
            if meter.lost:
                texts[3].stylize("bold red")
            extra = [Text(details_text(meter.latest))] if details else []
            bars = Text(meter_sparkline(meter, spark, ascii_only=self._ascii_only))
            table.add_row(*texts, *extra, bars)
        head, foot = Text(title, style="bold", no_wrap=True), Text(footer, style="dim", no_wrap=True)
        self._live.update(Group(head, Text(), table, Text(), foot), refresh=True)


@contextmanager
def rich_display(stream: TextIO, ascii_only: bool) -> Iterator[_RichTable]:
    """A table that stays where it is; the last one is left on the screen."""
    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield _RichTable(live, ascii_only)
