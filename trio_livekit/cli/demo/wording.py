"""Readings as short texts."""

from __future__ import annotations

__all__ = ["details_text", "value_text"]

from typing import Any

from ..wording import bytes_text


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
