"""What becomes of an allocation."""

from __future__ import annotations

__all__ = ["TurnAllocated", "TurnEvent", "TurnFailed", "TurnRedirected"]

from typing import TYPE_CHECKING

from ..records import dataclass

if TYPE_CHECKING:
    from ..types import Address


@dataclass(frozen=True, slots=True)
class TurnAllocated:
    """``relayed`` receives for us; ``mapped`` is what the server sees of us."""

    relayed: Address
    mapped: Address


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """There is no allocation, or no more. ``code`` is the server's error number, 0 if it did not say."""

    reason: str
    code: int = 0


@dataclass(frozen=True, slots=True)
class TurnRedirected:
    """The server wants another one used: make a new client for it, with ``may_redirect=False``."""

    server: Address


TurnEvent = TurnAllocated | TurnFailed | TurnRedirected
