"""How large a packet the path carries (RFC 8899, with HEARTBEATs as probes as in its section 6.2).

TSNs are given to fragments for good, so a fragment that turns out to be too large for the path is stuck until the path
is a wider one. Therefore packets are small until a padded HEARTBEAT of full size was answered, which takes one round
trip. When a large chunk is lost later on, the size is validated again, and without an answer packets are small anew.
"""

from __future__ import annotations

__all__ = ["PathMtu"]

import struct

from .chunks import HEARTBEAT, encode_chunk
from .packet import CHUNK_HEADER_SIZE, HEADER_SIZE
from .parameters import HEARTBEAT_INFO, encode_parameter, split_parameters

_NONCE = struct.Struct(">Q4s")
_MARK = b"PMTU"
_PARAMETER_HEADER_SIZE = 4

UNANSWERED = 5
"""Probes in a row, one per RTO, without an answer that disprove a proven size. RFC 8899 section 5.1.2 says three, which
a path that loses half of everything would often fail."""

MAX_INTERVAL_S = 10.0
"""Between probes of a path that never carried full packets: it may become wider."""

MAX_INTERVAL_STUCK_S = 1.0
"""Between probes of one that did: what was sent then waits for it."""

VALID_S = 1.0
"""An answered probe is proof for this long, whatever is lost: losses are mostly not about size."""


class PathMtu:
    """The size in use, and the probes for the full size. ``size`` is that of a whole SCTP packet."""

    __slots__ = ("_full", "_nonce", "_proven_at", "_sent", "_small", "at", "narrow_since", "size")

    def __init__(self, small: int, full: int, nonce: int, now: float) -> None:
        self._full = full & ~3
        self._small = min(small, full)
        self._nonce = nonce
        self._sent = 0
        self._proven_at = now
        self.size = self._small
        self.narrow_since: float | None = None
        """Since when a path that carried full packets does not."""
        self.at: float | None = now if self._small < full else None

    def on_path_changed(self, now: float) -> None:
        """Another path, or one of which nothing was heard for long: nothing is known about it."""
        if self._small < self._full:
            self._sent, self.at = 0, now
        if self.narrow_since is not None:
            self.narrow_since = now

    def on_large_loss(self, now: float) -> None:
        """A chunk that needs more than the small size was lost: was it the size?"""
        if self.at is None and now - self._proven_at > VALID_S and self._small < self._full:
            self._sent, self.at = 0, now

    def probe(self, now: float, rto_s: float) -> bytes | None:
        """The HEARTBEAT to send now, if one is due: it fills a packet of full size."""
        if self.at is None or now < self.at:
            return None
        if self._sent == UNANSWERED and self.size > self._small:
            self.size, self.narrow_since = self._small, now
        if self.size > self._small:
            self.at = now + rto_s
        else:
            limit = MAX_INTERVAL_S if self.narrow_since is None else MAX_INTERVAL_STUCK_S
            self.at = now + min(rto_s * 2 ** min(self._sent, 8), limit)
        self._sent += 1
        filler = self._full - HEADER_SIZE - CHUNK_HEADER_SIZE - _PARAMETER_HEADER_SIZE - _NONCE.size
        value = _NONCE.pack(self._nonce, _MARK) + bytes(filler)
        return encode_chunk(HEARTBEAT, 0, encode_parameter(HEARTBEAT_INFO, value))

    def on_heartbeat_ack(self, body: bytes, now: float) -> bool:
        """An answer to a HEARTBEAT; True when it proves the full size."""
        if self.at is None:
            return False
        for kind, value in split_parameters(body):
            if kind == HEARTBEAT_INFO and value[: _NONCE.size] == _NONCE.pack(self._nonce, _MARK):
                self.size, self.at, self.narrow_since, self._proven_at = self._full, None, None, now
                return True
        return False
