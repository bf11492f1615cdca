"""SCTP over DTLS (RFC 9260, RFC 8261): one association as a sans-IO core.

``association`` is the front door. Behind it are ``handshake`` (with ``cookie`` and ``negotiation``), ``shutdown`` and,
once it is up, ``established`` with the sending half ``tx``, the receiving half ``rx``, ``reset``, ``heartbeat`` and
``path_mtu``. The wire: ``packet``, ``chunks``, ``parameters``, ``crc32c``.
"""

from __future__ import annotations

__all__ = [
    "Association",
    "AssociationLost",
    "AssociationRestarted",
    "AssociationUp",
    "BufferedAmountLow",
    "Config",
    "Event",
    "MessageReceived",
    "Statistics",
    "StreamsReset",
]

from .association import Association
from .config import Config
from .events import (
    AssociationLost,
    AssociationRestarted,
    AssociationUp,
    BufferedAmountLow,
    Event,
    MessageReceived,
    StreamsReset,
)
from .statistics import Statistics
