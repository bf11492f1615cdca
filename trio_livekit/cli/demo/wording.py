"""Numbers as short texts."""

from __future__ import annotations

__all__ = ["bytes_text", "details_text", "milliseconds", "sparkline", "value_text"]

from typing import TYPE_CHECKING, Any

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


def milliseconds(seconds: float | None) -> str:
    """``0.84``, ``12.3``, ``250``, or a dash."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def value_text(reading: dict[str, Any] | None) -> str:
    """The reading itself."""
    if reading is None:
        return "-"
    value, unit = float(reading["value"]), reading["unit"]
    if unit == "B/s":
        return bytes_text(value) + "/s"
    return f"load {value:.2f}" if unit == "load" else f"{value:.1f} {unit}"


def details_text(reading: dict[str, Any] | None) -> str:
    """What else there is to say, if it has place."""
    if reading is None:
        return ""
    parts = []
    if "total_bytes" in reading:
        parts.append(f"{bytes_text(reading['used_bytes'])} of {bytes_text(reading['total_bytes'])}")
    if "cores" in reading:
        parts.append(f"{reading['cores']:.0f} cores")
    if "load_1m" in reading:
        parts.append(f"load {reading['load_1m']:.2f}")
    labels = {"read": "rd", "written": "wr", "received": "in", "sent": "out", "loopback": "lo"}
    for name, label in labels.items():
        rate = reading.get(f"{name}_bytes_per_s")
        if rate is not None:
            parts.append(f"{label} {bytes_text(rate)}/s")
    if "this process" in reading["source"]:
        parts.append("this process")
    return ", ".join(parts)


def sparkline(values: Iterable[float], width: int, *, top: float | None = None, ascii_only: bool = False) -> str:
    """The last ``width`` values as bars, from zero to ``top`` (by default the greatest of them)."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    shown = list(values)[-width:] if width > 0 else []
    scale = top or max(shown, default=0.0) or 1.0
    steps = len(blocks) - 1
    return "".join(blocks[min(steps, max(0, round(value / scale * steps)))] for value in shown)
