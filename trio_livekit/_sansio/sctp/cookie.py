"""State cookies (RFC 9260 section 5.1.3): nothing is kept for a received INIT, all of it comes back in the cookie."""

from __future__ import annotations

__all__ = ["CookieJar"]

import hmac
import struct

from .negotiation import PeerInfo


class CookieJar:
    """Makes state cookies and recognises its own: HMAC-SHA-256 over what they carry (RFC 9260 section 5.1.3)."""

    __slots__ = ("_key", "_lifetime_s")

    _BODY = struct.Struct(">dLLLLLB")
    _MAC_SIZE = 32

    def __init__(self, key: bytes, lifetime_s: float) -> None:
        self._key = key
        self._lifetime_s = lifetime_s

    def bake(self, local_tag: int, local_tsn: int, peer: PeerInfo, now: float) -> bytes:
        """A cookie that brings back both tags, both TSNs and the peer's abilities."""
        abilities = peer.forward_tsn | peer.reconfig << 1 | peer.zero_checksum << 2
        body = self._BODY.pack(
            now, local_tag, local_tsn, peer.tag, peer.initial_tsn, peer.receive_window, abilities
        )  # fmt: skip
        return body + self._mac(body)

    def open(self, cookie: bytes, now: float) -> tuple[int, int, PeerInfo] | None:
        """``(local tag, local TSN, peer)``, or None for a cookie that is not ours or too old."""
        body, mac = cookie[: -self._MAC_SIZE], cookie[-self._MAC_SIZE :]
        if len(body) != self._BODY.size or not hmac.compare_digest(mac, self._mac(body)):
            return None
        baked_at, local_tag, local_tsn, tag, tsn, window, abilities = self._BODY.unpack(body)
        if now - baked_at > self._lifetime_s:
            return None
        peer = PeerInfo(tag, tsn, window, bool(abilities & 1), bool(abilities & 2), bool(abilities & 4))
        return local_tag, local_tsn, peer

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")
