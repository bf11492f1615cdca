"""Live tables by rich. Imported where there is a terminal to show them, and fails to be where there is no rich."""

from __future__ import annotations

__all__ = ["rich_display"]

from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from .tables import GAP
from .wording import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tables import Table


class _RichDisplay:
    interval_s = 0.25

    def __init__(self, live: Live, ascii_only: bool) -> None:
        self._live = live
        self.ascii_only = ascii_only

    @property
    def width(self) -> int:
        return self._live.console.width

    def show(self, table: Table) -> None:
        drawn = RichTable(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
        for column in table.columns:
            side = "left" if column.left else "right"
            drawn.add_column(
                column.heading,
                style=column.style,
                justify=side,  # type: ignore[arg-type]
                width=column.width,
                no_wrap=True,
            )
        for row, texts in enumerate(table.rows):
            shown = zip(map(plain, texts), table.columns, strict=True)
            cells = [Text(text[: c.width] if c.left else text) for text, c in shown]
            for number, cell in enumerate(cells):
                if (row, number) in table.alarms:
                    cell.stylize("bold red")
            drawn.add_row(*cells)
        head = Text(plain(table.title), style="bold", no_wrap=True)
        foot = Text(plain(table.footer), style="dim", no_wrap=True)
        self._live.update(Group(head, Text(), drawn, Text(), foot), refresh=True)


@contextmanager
def rich_display(stream: TextIO, ascii_only: bool) -> Iterator[_RichDisplay]:
    """A table that stays where it is; the last one is left on the screen."""
    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield _RichDisplay(live, ascii_only)
