"""Which ways to the server a client lets itself be reached by."""

from __future__ import annotations

__all__ = ["Paths"]

import enum


class Paths(enum.Enum):
    """Which ways to the server may be used."""

    ANY = "any"
    """UDP where it works, else TCP or a TURN server."""

    TCP = "tcp"
    """No UDP of our own: TCP, or a TURN server."""

    RELAY = "relay"
    """TURN servers only, so that nobody learns our address."""
