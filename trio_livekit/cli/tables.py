"""Live tables: with rich on a terminal, without it by a few escape sequences, and into a file as plain text."""

from __future__ import annotations

__all__ = ["GAP", "Column", "LiveTable", "Table", "open_display", "table_lines"]

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from .wording import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GAP = 2
"""Blanks between columns."""

_LOG_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, its width in characters, and what it looks like where there are colours."""

    heading: str
    width: int
    style: str = ""
    left: bool = False
    """Aligned to the left."""


@dataclass(frozen=True, slots=True)
class Table:
    """What is shown at one moment: a line above, rows of as many texts as there are columns, and a line below."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    footer: str
    alarms: frozenset[tuple[int, int]] = field(default=frozenset())
    """Rows and columns to be looked at."""


class LiveTable(Protocol):
    """Something that shows a table again and again."""

    interval_s: float
    ascii_only: bool

    @property
    def width(self) -> int:
        """How many columns of characters there are at the moment."""

    def show(self, table: Table) -> None:
        """Show how things stand."""


def table_lines(table: Table, width: int) -> list[str]:
    """The table as plain text."""

    def line(texts: Sequence[str]) -> str:
        cells = [
            f"{text[: column.width]:<{column.width}}" if column.left else f"{text:>{column.width}}"
            for text, column in zip(map(plain, texts), table.columns, strict=True)
        ]
        return (" " * GAP).join(cells).rstrip()

    headings = line([column.heading for column in table.columns])
    title, footer = plain(table.title)[:width], plain(table.footer)[:width]
    return [title, "", headings, *map(line, table.rows), "", footer]


@contextmanager
def open_display(stream: TextIO) -> Iterator[LiveTable]:
    """The best display that ``stream`` can show."""
    ascii_only = not _can_show_blocks(stream)
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield _Log(stream, ascii_only)
        return
    try:
        from .rich_tables import rich_display
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
        self.ascii_only = ascii_only

    @property
    def width(self) -> int:
        return shutil.get_terminal_size().columns

    def show(self, table: Table) -> None:
        print(*table_lines(table, self.width), "", sep="\n", file=self._stream, flush=True)


class _Redrawn:
    """For terminals where there is no rich: the table over the last one."""

    interval_s = 0.25

    def __init__(self, stream: TextIO, ascii_only: bool) -> None:
        self._stream = stream
        self.ascii_only = ascii_only
        self._height = 0

    @property
    def width(self) -> int:
        return shutil.get_terminal_size().columns - 1

    def show(self, table: Table) -> None:
        lines = table_lines(table, self.width)
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
