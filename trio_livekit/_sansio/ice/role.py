"""Who controls: the role, its tie-breaker, and what to do when both claim the same (RFC 8445 section 7.3.1.1)."""

from __future__ import annotations

__all__ = ["Role", "Verdict"]

import enum
from typing import TYPE_CHECKING

from . import stun

if TYPE_CHECKING:
    from ..types import RandomBytes


class Verdict(enum.Enum):
    AGREED = "agreed"
    SWITCH = "switch"  # we give in
    REFUSE = "refuse"  # the peer must: answer 487


class Role:
    __slots__ = ("_random_bytes", "_tie_breaker", "controlling")

    def __init__(self, random_bytes: RandomBytes, *, controlling: bool) -> None:
        self._random_bytes = random_bytes
        self.controlling = controlling
        self._tie_breaker = self._draw()

    def _draw(self) -> int:
        return int.from_bytes(self._random_bytes(8), "big")

    def attribute(self) -> tuple[int, int]:
        return (stun.ICE_CONTROLLING if self.controlling else stun.ICE_CONTROLLED, self._tie_breaker)

    def judge(self, request: stun.StunMessage) -> Verdict:
        """Compare a request's claim with ours; one that claims nothing is accepted."""
        theirs = request.number(stun.ICE_CONTROLLING if self.controlling else stun.ICE_CONTROLLED)
        if theirs is None:
            return Verdict.AGREED
        we_control = self._tie_breaker >= theirs
        return Verdict.REFUSE if we_control == self.controlling else Verdict.SWITCH

    def switch(self) -> None:
        self.controlling = not self.controlling

    def yield_to_peer(self) -> None:
        """The peer answered 487. A new tie-breaker ends the tie in which both sides drew the same number."""
        self.switch()
        self._tie_breaker = self._draw()
