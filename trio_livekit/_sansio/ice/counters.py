"""What an agent did and why it ignored things, for people to look at."""

from __future__ import annotations

__all__ = ["Counters", "Statistics"]

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Path, State


@dataclass(slots=True)
class Counters:
    requests_answered: int = 0
    answers_received: int = 0
    malformed: int = 0  # not STUN, or a false fingerprint
    unauthentic: int = 0  # requests for nobody here, or with the wrong integrity
    unmatched: int = 0  # answers to nothing we asked, from elsewhere, or with the wrong integrity


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot. Times are seconds."""

    state: State
    controlling: bool
    selected_path: Path | None
    rtt_s: float | None
    pairs: int
    remote_candidates: int
    peer_reflexive: int
    checks_sent: int
    requests_answered: int
    answers_received: int
    malformed: int
    unauthentic: int
    unmatched: int
    local_kind: str = ""  # of the selected path's ends, as in candidates: host, srflx, prflx, relay
    remote_kind: str = ""
