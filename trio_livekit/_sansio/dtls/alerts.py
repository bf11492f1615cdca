"""Alerts (RFC 5246 section 7.2) and the one exception that ends, or may end, a handshake."""

from __future__ import annotations

__all__ = ["FATAL", "WARNING", "Alert", "HandshakeError", "alert_name", "encode_alert"]

import enum

from ...errors import ProtocolError

WARNING = 1
FATAL = 2


class Alert(enum.IntEnum):
    """The descriptions we send or act upon."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    ILLEGAL_PARAMETER = 47
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    UNSUPPORTED_EXTENSION = 110


class HandshakeError(ProtocolError):
    """The peer's part of the handshake cannot be accepted.

    Attributes:
        alert: what to tell the peer, an ``Alert``.
        proven: whether only somebody who sees our messages could have caused this. Until the keys are agreed, anybody
            who guesses the addresses can forge a handshake message; such an error is only a suspicion, and the
            handshake goes on waiting for the genuine message for a while (see ``Config.suspicion_s``).
    """

    def __init__(self, alert: Alert, reason: str, *, proven: bool = False) -> None:
        super().__init__(reason)
        self.alert = alert
        self.proven = proven


def alert_name(description: int) -> str:
    """The RFC's name of an alert, or its number."""
    try:
        return Alert(description).name.lower()
    except ValueError:
        return f"alert {description}"


def encode_alert(level: int, description: int) -> bytes:
    return bytes((level, description))
