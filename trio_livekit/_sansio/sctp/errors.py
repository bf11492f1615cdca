"""What ends an association from inside: the peer broke a rule that RFC 9260 answers with ABORT."""

from __future__ import annotations

__all__ = [
    "INVALID_STREAM",
    "NO_USER_DATA",
    "OUT_OF_RESOURCE",
    "PROTOCOL_VIOLATION",
    "UNRECOGNIZED_CHUNK",
    "USER_INITIATED",
    "Violation",
]

# Error causes, RFC 9260 section 3.3.10.
INVALID_STREAM = 1
OUT_OF_RESOURCE = 4
UNRECOGNIZED_CHUNK = 6
NO_USER_DATA = 9
USER_INITIATED = 12
PROTOCOL_VIOLATION = 13


class Violation(Exception):
    """Carries the error cause of the ABORT to send; never leaves the association."""

    def __init__(self, cause: int, text: str) -> None:
        super().__init__(text)
        self.cause = cause
