"""HEARTBEAT on an idle association (RFC 9260 section 8.3): a round trip sample, and a sign of life.

Off by default: in WebRTC, ICE consent checks already watch the path.
"""

from __future__ import annotations

__all__ = ["Heartbeat"]

import struct

from .chunks import HEARTBEAT, encode_chunk
from .parameters import HEARTBEAT_INFO, encode_parameter, split_parameters

_INFO = struct.Struct(">Qd")


class Heartbeat:
    """When to send the next one, and what an answer is worth."""

    __slots__ = ("_interval_s", "_nonce", "at")

    def __init__(self, interval_s: float | None, nonce: int, now: float) -> None:
        self._interval_s = interval_s
        self._nonce = nonce
        self.at = None if interval_s is None else now + interval_s

    def chunk(self, now: float, *, idle: bool) -> bytes | None:
        """The HEARTBEAT to send now, if one is due; data under way makes it needless."""
        if self.at is None or self._interval_s is None or now < self.at:
            return None
        self.at = now + self._interval_s
        if not idle:
            return None
        return encode_chunk(HEARTBEAT, 0, encode_parameter(HEARTBEAT_INFO, _INFO.pack(self._nonce, now)))

    def round_trip(self, body: bytes, now: float) -> float | None:
        """The round trip time an answer shows; None when it does not answer a HEARTBEAT of ours."""
        for kind, value in split_parameters(body):
            if kind == HEARTBEAT_INFO and len(value) == _INFO.size:
                nonce, sent_at = _INFO.unpack(value)
                if nonce == self._nonce and 0 <= now - sent_at < 60:
                    return float(now - sent_at)
        return None
