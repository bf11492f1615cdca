"""What the agent and its driver say to each other."""

from __future__ import annotations

__all__ = [
    "Event",
    "Path",
    "PathRecovered",
    "PathSelected",
    "PathSuspected",
    "State",
    "StateChanged",
    "TcpConnectNeeded",
]

import enum
from typing import TYPE_CHECKING, NamedTuple

from ..records import dataclass

if TYPE_CHECKING:
    from ..types import Address


class Path(NamedTuple):
    """One way to the peer: the base a packet leaves from and the address it goes to.

    ``local`` is the address a UDP socket is bound to, the address a TURN server relays for us, or the local end of a
    TCP connection; ``protocol`` is ``"udp"`` or ``"tcp"``. Addresses are compared as text, so both sides of a
    comparison must come from ``socket`` or from ``Candidate.parse``, which writes IPv6 the same way.
    """

    local: Address
    remote: Address
    protocol: str


class State(enum.Enum):
    """The life of an agent. FAILED ends it until a restart; CLOSED ends it."""

    NEW = "new"  # the remote credentials are not known
    CHECKING = "checking"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"  # nothing was heard for a while; still trying, on every pair
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PathSelected:
    """Data goes this way from now on. Comes again whenever the choice changes, and after an ICE restart."""

    path: Path


@dataclass(frozen=True, slots=True)
class PathSuspected:
    """The selected path does not answer, and the others are being tried: the time to look for new addresses."""

    path: Path


@dataclass(frozen=True, slots=True)
class PathRecovered:
    """The selected path answered again after it was suspected of being dead: retransmit what is outstanding."""

    path: Path


@dataclass(frozen=True, slots=True)
class StateChanged:
    state: State


@dataclass(frozen=True, slots=True)
class TcpConnectNeeded:
    """Please connect to ``remote``, and report ``tcp_connected``, or ``tcp_failed``."""

    remote: Address


Event = PathSelected | PathSuspected | PathRecovered | StateChanged | TcpConnectNeeded
