"""A scripted TURN server: the honest parts of RFC 8656, and whatever error a test puts in its way."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

from trio_livekit._sansio.ice import stun

if TYPE_CHECKING:
    from trio_livekit._sansio.types import Address

REALM = "livekit"
RELAYED: Address = ("203.0.113.7", 50000)
MAPPED: Address = ("198.51.100.4", 4321)


class TurnServer:
    """``receive`` returns what goes back to the client; ``relayed`` is what went out to peers."""

    def __init__(self, *, username: str = "user", password: str = "secret", lifetime_s: int = 600) -> None:
        self.key = stun.long_term_key(username, REALM, password)
        self.nonce = b"nonce-1"
        self.lifetime_s = lifetime_s
        self.errors: list[tuple[int, int]] = []  # (method, code): spent one by one on signed requests
        self.alternate: Address = ("192.0.2.55", 3478)
        self.permissions: set[str] = set()
        self.channels: dict[int, Address] = {}
        self.relayed: list[tuple[Address, bytes]] = []
        self.methods: list[int] = []
        self.lifetimes_asked: list[int | None] = []
        self.is_allocated = False

    def receive(self, data: bytes) -> list[bytes]:
        if data[0] >> 6 == 1:
            number, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
            self.relayed.append((self.channels[number], data[4 : 4 + length]))
            return []
        message = stun.decode(data)
        if message.message_class == stun.INDICATION:
            peer = message.address(stun.XOR_PEER_ADDRESS)
            if peer[0] in self.permissions:
                self.relayed.append((peer, message.opaque(stun.DATA)))
            return []
        self.methods.append(message.method)
        return [self._answer(message)]

    def _answer(self, request: stun.StunMessage) -> bytes:
        if not request.is_authentic(self.key):
            return self._error(request, 401)
        if request.opaque(stun.NONCE) != self.nonce:
            return self._error(request, 438)
        for index, (method, code) in enumerate(self.errors):
            if method == request.method:
                del self.errors[index]
                return self._error(request, code)
        attributes: list[tuple[int, object]] = []
        if request.method == stun.ALLOCATE:
            self.is_allocated = True
            attributes = [
                (stun.XOR_RELAYED_ADDRESS, RELAYED),
                (stun.XOR_MAPPED_ADDRESS, MAPPED),
                (stun.LIFETIME, self.lifetime_s),
            ]
        elif request.method == stun.REFRESH:
            asked = request.number(stun.LIFETIME)
            self.lifetimes_asked.append(asked)
            self.is_allocated = asked != 0
            attributes = [(stun.LIFETIME, self.lifetime_s if asked is None else asked)]
        elif request.method == stun.CREATE_PERMISSION:
            self.permissions.add(request.address(stun.XOR_PEER_ADDRESS)[0])
        elif request.method == stun.CHANNEL_BIND:
            self.channels[request.number(stun.CHANNEL_NUMBER)] = request.address(stun.XOR_PEER_ADDRESS)
        return stun.encode(request.method, stun.SUCCESS, request.transaction_id, attributes, key=self.key)

    def _error(self, request: stun.StunMessage, code: int) -> bytes:
        attributes: list[tuple[int, object]] = [(stun.ERROR_CODE, (code, "no"))]
        if code in (401, 438):
            attributes += [(stun.REALM, REALM), (stun.NONCE, self.nonce)]
        if code == 300:
            attributes.append((stun.ALTERNATE_SERVER, self.alternate))
        return stun.encode(request.method, stun.ERROR, request.transaction_id, attributes)

    def data_indication(self, peer: Address, data: bytes) -> bytes:
        attributes = [(stun.XOR_PEER_ADDRESS, peer), (stun.DATA, data)]
        return stun.encode(stun.DATA_INDICATION, stun.INDICATION, bytes(12), attributes)

    def channel_data(self, peer: Address, data: bytes, *, padded: bool = False) -> bytes:
        number = next(n for n, address in self.channels.items() if address == peer)
        return pack("!HH", number, len(data)) + data + (bytes(-len(data) & 3) if padded else b"")
