"""Requests to a TURN server: signed, repeated, matched to their answers (RFC 8489 sections 6.2.1 and 9.2).

The first request goes unsigned, to learn the realm. An answer that grants something must be signed. An error may not
be, for servers in use leave the signature out, and all it can do to us is what dropping packets could.
"""

from __future__ import annotations

__all__ = ["Request", "Requests"]

from typing import TYPE_CHECKING

from . import stun
from .exchange import Exchange

if TYPE_CHECKING:
    from ..types import RandomBytes
    from .turn_peers import Peer, Permission

UNAUTHORIZED = 401
STALE_NONCE = 438


class Request:
    """One request under way and whom it is about: a permission, a channel's peer, or the allocation itself."""

    __slots__ = ("attributes", "exchange", "is_second_try", "is_signed", "method", "subject")

    def __init__(
        self, method: int, attributes: list[tuple[int, object]], subject: Permission | Peer | None = None
    ) -> None:
        self.method = method
        self.attributes = attributes
        self.subject = subject
        self.is_signed = False
        self.is_second_try = False  # with a fresh nonce; there is no third
        self.exchange: Exchange


class Requests:
    __slots__ = ("_is_stream", "_key", "_nonce", "_open", "_password", "_random_bytes", "_realm", "_username")

    def __init__(self, username: str, password: str, random_bytes: RandomBytes, *, is_stream: bool) -> None:
        self._username = username
        self._password = password
        self._random_bytes = random_bytes
        self._is_stream = is_stream
        self._realm: str | None = None
        self._nonce = b""
        self._key: bytes | None = None
        self._open: dict[bytes, Request] = {}

    def begin(self, request: Request, now: float) -> bytes:
        """The bytes of ``request``, signed if we know how; it is open from now on."""
        transaction_id = self._random_bytes(12)
        attributes = list(request.attributes)
        request.is_signed = self._key is not None
        if request.is_signed:
            attributes += [(stun.USERNAME, self._username), (stun.REALM, self._realm), (stun.NONCE, self._nonce)]
        data = stun.encode(request.method, stun.REQUEST, transaction_id, attributes, key=self._key, fingerprint=False)
        request.exchange = Exchange(transaction_id, data, now, is_stream=self._is_stream)
        self._open[transaction_id] = request
        return data

    def match(self, message: stun.StunMessage) -> Request | None:
        """The request that ``message`` answers, which is closed thereby."""
        request = self._open.get(message.transaction_id)
        if request is None or message.method != request.method:
            return None
        if message.message_class == stun.SUCCESS:
            if self._key is None or not request.is_signed or not message.is_authentic(self._key):
                return None
        elif message.message_class != stun.ERROR:
            return None
        del self._open[message.transaction_id]
        return request

    def take_challenge(self, request: Request, message: stun.StunMessage) -> bool:
        """After 401 or 438: learn realm and nonce. False if asking again would be of no use."""
        code, _ = message.error()
        nonce, realm = message.opaque(stun.NONCE), message.text(stun.REALM) or self._realm
        if code not in (UNAUTHORIZED, STALE_NONCE) or nonce is None or realm is None or request.is_second_try:
            return False
        if code == UNAUTHORIZED and request.is_signed:
            return False  # the server knows the request, and does not like the credentials
        request.is_second_try = request.is_signed
        self._realm, self._nonce = realm, nonce
        self._key = stun.long_term_key(self._username, realm, self._password)
        return True

    def due(self, now: float) -> list[Request]:
        return [request for request in self._open.values() if request.exchange.due_at <= now]

    def next_due(self) -> float:
        return min((request.exchange.due_at for request in self._open.values()), default=float("inf"))

    def drop(self, request: Request) -> None:
        self._open.pop(request.exchange.transaction_id, None)

    def clear(self) -> None:
        self._open.clear()
