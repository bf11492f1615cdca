"""Deadlines: instants on the caller's clock, or ``None`` where nothing is due."""

from __future__ import annotations

__all__ = ["earliest"]


def earliest(*deadlines: float | None) -> float | None:
    """The first of several deadlines. Asked after every datagram, so it takes no generator."""
    first = None
    for deadline in deadlines:
        if deadline is not None and (first is None or deadline < first):
            first = deadline
    return first
