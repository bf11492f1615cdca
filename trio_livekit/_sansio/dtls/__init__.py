"""DTLS 1.2, client and server, as a sans-IO core (RFC 6347).

``Connection`` is the whole of it. The rooms behind it: ``roles`` (what both sides share), ``client`` and ``server``
(the handshake), ``handshake`` and ``hello`` (messages), ``reassembly`` and ``flight`` (messages over datagrams),
``record`` and ``replay`` (protection), ``keys``, ``key_exchange``, ``signatures`` and ``certificate`` (cryptography).
"""

from __future__ import annotations

__all__ = [
    "Config",
    "Connection",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionState",
    "Event",
    "Fingerprint",
    "HandshakeCompleted",
    "HandshakeError",
    "LocalCertificate",
    "Role",
    "Statistics",
]

from .alerts import HandshakeError
from .certificate import Fingerprint, LocalCertificate
from .config import Config
from .connection import Connection
from .events import ConnectionClosed, ConnectionFailed, ConnectionState, Event, HandshakeCompleted, Statistics
from .roles import Role
