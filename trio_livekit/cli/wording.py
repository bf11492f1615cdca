"""Numbers as short texts, and texts of others as they may be shown."""

from __future__ import annotations

__all__ = ["bytes_text", "counted", "milliseconds", "plain", "sparkline"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-:=+*#"


def bytes_text(count: float) -> str:
    """``512 B``, ``1.2 kB``, ``15.6 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counted(count: int, what: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def milliseconds(seconds: float | None) -> str:
    """``0.84``, ``12.3``, ``250``, or a dash."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def plain(text: str) -> str:
    """``text`` as it may be shown: what others chose, such as a name, must not move the cursor or colour the screen.

    Escape sequences, ends of lines and what changes the direction of writing become question marks.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def sparkline(values: Iterable[float], width: int, *, top: float | None = None, ascii_only: bool = False) -> str:
    """The last ``width`` values as bars, from zero to ``top`` (by default the greatest of them)."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    shown = list(values)[-width:] if width > 0 else []
    scale = top or max(shown, default=0.0) or 1.0
    steps = len(blocks) - 1
    return "".join(blocks[min(steps, max(0, round(value / scale * steps)))] for value in shown)
