"""TURN client (RFC 8656): an address on a server that receives for us, and sends from there.

The same class speaks over UDP and over a stream (TCP or TLS); the driver owns the socket. Data goes as ChannelData
once a peer has had a few datagrams, before that in Send indications.
"""

from __future__ import annotations

__all__ = ["TurnClient"]

import enum
from struct import Struct
from typing import TYPE_CHECKING

from ...errors import DecodeError
from . import stun
from .turn_events import TurnAllocated, TurnEvent, TurnFailed, TurnRedirected
from .turn_peers import (
    CHANNEL_REFRESH_S,
    MAX_HELD,
    PERMISSION_REFRESH_S,
    RETRY_DENIED_S,
    Grant,
    Peer,
    Peers,
    Permission,
)
from .turn_requests import Request, Requests
from .turn_stream import TurnStream

if TYPE_CHECKING:
    from ..types import Address, RandomBytes

SENDS_BEFORE_CHANNEL = 3
REFRESH_BEFORE_END_S = 60.0
_UDP_TRANSPORT = 17 << 24  # REQUESTED-TRANSPORT: protocol number, three reserved bytes
_CHANNEL_HEADER = Struct("!HH")

_TRY_ALTERNATE = 300
_ALLOCATION_MISMATCH = 437


class _State(enum.Enum):
    NEW = "new"
    ALLOCATING = "allocating"
    ALLOCATED = "allocated"
    ENDED = "ended"


class TurnClient:
    """One allocation. Feed ``receive`` only what came from the server.

    Attributes:
        relayed_address: the local address of paths over this relay, once allocated.
        mapped_address: our own address as the server sees it: a server-reflexive candidate for free.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        random_bytes: RandomBytes,
        is_stream: bool = False,
        may_redirect: bool = True,
    ) -> None:
        self.relayed_address: Address | None = None
        self.mapped_address: Address | None = None
        self._random_bytes = random_bytes
        self._stream = TurnStream() if is_stream else None
        self._may_redirect = may_redirect
        self._state = _State.NEW
        self._requests = Requests(username, password, random_bytes, is_stream=is_stream)
        self._peers = Peers()
        self._refresh_at = float("inf")
        self._outbox: list[bytes] = []
        self._events: list[TurnEvent] = []

    # What the driver asks for

    def start(self, now: float) -> None:
        """Ask for an allocation."""
        self._state = _State.ALLOCATING
        self._ask(Request(stun.ALLOCATE, [(stun.REQUESTED_TRANSPORT, _UDP_TRANSPORT)]), now)

    def wrap(self, peer_address: Address, data: bytes, now: float) -> bytes:
        """The bytes that make the server send ``data`` to a peer; empty if that must wait for a permission.

        What waits leaves by ``datagrams_to_send`` once the server agrees; of many, the last few.
        """
        peer = self._peers.get(peer_address)
        if peer is None or self._state is not _State.ALLOCATED:
            return b""
        permission = peer.permission
        permission.was_used = True
        if permission.grant is Grant.GRANTED:
            if peer.grant is Grant.GRANTED:
                return self._channel_data(peer.channel, data)
            return self._send(peer, data, now)
        if permission.grant is not Grant.DENIED:
            peer.held = [*peer.held[1 - MAX_HELD :], data]
        if permission.grant is Grant.ABSENT:
            self._ask_permission(permission, now)
        return b""

    def close(self, now: float) -> None:
        """Give the allocation back: one Refresh with lifetime 0, and no waiting for its answer."""
        if self._state is _State.ALLOCATED:
            self._ask(Request(stun.REFRESH, [(stun.LIFETIME, 0)]), now)
        self._end()

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Drain what is to go to the server; over a stream, to be written as it is."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def poll_events(self) -> list[TurnEvent]:
        events, self._events = self._events, []
        return events

    # From the server

    def receive(self, data: bytes, now: float) -> list[tuple[Address, bytes]]:
        """Take a datagram, or a piece of the stream; returns what peers sent, each with its address."""
        if self._stream is None:
            messages = [data]
        else:
            try:
                messages = self._stream.receive(data)
            except DecodeError as exc:
                self._fail(str(exc))
                return []
        received: list[tuple[Address, bytes]] = []
        for message in messages:
            item = self._on_channel_data(message) if message[:1] >= b"\x40" else self._on_stun(message, now)
            if item is not None:
                received.append(item)
        return received

    def _on_channel_data(self, data: bytes) -> tuple[Address, bytes] | None:
        if len(data) < 4:
            return None
        number, length = _CHANNEL_HEADER.unpack_from(data)
        peer = self._peers.on_channel(number)
        if peer is None or length > len(data) - 4 or self._state is not _State.ALLOCATED:
            return None
        peer.permission.was_used = True
        return peer.address, data[4 : 4 + length]

    def _on_stun(self, data: bytes, now: float) -> tuple[Address, bytes] | None:
        try:
            message = stun.decode(data)
        except DecodeError:
            return None
        if message.message_class == stun.INDICATION:
            return self._on_data_indication(message)
        request = self._requests.match(message)
        if request is None:
            return None
        if message.message_class == stun.SUCCESS:
            self._on_success(request, message, now)
        else:
            self._on_error(request, message, now)
        return None

    def _on_data_indication(self, message: stun.StunMessage) -> tuple[Address, bytes] | None:
        peer_address, data = message.address(stun.XOR_PEER_ADDRESS), message.opaque(stun.DATA)
        if message.method != stun.DATA_INDICATION or peer_address is None or data is None:
            return None
        permission = self._peers.granted(peer_address[0])
        if permission is None or self._state is not _State.ALLOCATED:
            return None
        permission.was_used = True
        return peer_address, data

    def _on_success(self, request: Request, message: stun.StunMessage, now: float) -> None:
        subject = request.subject
        if isinstance(subject, Permission):
            self._on_permitted(subject, now)
        elif isinstance(subject, Peer):
            subject.grant = Grant.GRANTED
            subject.renew_at = now + CHANNEL_REFRESH_S
        elif request.method == stun.ALLOCATE:
            self._on_allocated(message, now)
        else:
            self._schedule_refresh(message, now)

    def _on_allocated(self, message: stun.StunMessage, now: float) -> None:
        relayed = message.address(stun.XOR_RELAYED_ADDRESS)
        mapped = message.address(stun.XOR_MAPPED_ADDRESS)
        if relayed is None or mapped is None:
            self._fail("the answer to Allocate lacks an address")
            return
        self._state = _State.ALLOCATED
        self.relayed_address, self.mapped_address = relayed, mapped
        self._events.append(TurnAllocated(relayed, mapped))
        self._schedule_refresh(message, now)

    def _schedule_refresh(self, message: stun.StunMessage, now: float) -> None:
        lifetime_s = float(message.number(stun.LIFETIME) or 0)
        if lifetime_s <= 0:
            self._fail("the allocation has no lifetime left")
            return
        self._refresh_at = now + max(lifetime_s - REFRESH_BEFORE_END_S, lifetime_s / 2)

    def _on_permitted(self, permission: Permission, now: float) -> None:
        permission.grant = Grant.GRANTED
        permission.renew_at = now + PERMISSION_REFRESH_S
        permission.was_used = False
        for peer in self._peers.at_ip(permission.ip):
            held, peer.held = peer.held, []
            self._outbox += [self._send_indication(peer.address, data) for data in held]

    def _on_error(self, request: Request, message: stun.StunMessage, now: float) -> None:
        code, reason = message.error()
        if self._requests.take_challenge(request, message):
            self._ask(request, now)
        elif request.method == stun.ALLOCATE and code == _TRY_ALTERNATE:
            self._on_redirected(message.address(stun.ALTERNATE_SERVER))
        elif request.subject is None or code == _ALLOCATION_MISMATCH:
            self._fail(reason or "the TURN server refused", code)
        else:
            self._on_refused(request.subject, now)

    def _on_redirected(self, server: Address | None) -> None:
        if server is None or not self._may_redirect:
            self._fail("redirected too often" if server else "redirected to nowhere", _TRY_ALTERNATE)
            return
        self._end()
        self._events.append(TurnRedirected(server))

    def _on_refused(self, subject: Permission | Peer, now: float) -> None:
        """Leave the peer alone for a while; a channel that is refused leaves Send indications to work with."""
        subject.grant = Grant.DENIED
        subject.renew_at = now + RETRY_DENIED_S
        if isinstance(subject, Permission):
            for peer in self._peers.at_ip(subject.ip):
                peer.held.clear()

    # Requests

    def _ask_permission(self, permission: Permission, now: float) -> None:
        if permission.grant is Grant.ABSENT:
            permission.grant = Grant.ASKED
        permission.renew_at = float("inf")
        attributes: list[tuple[int, object]] = [(stun.XOR_PEER_ADDRESS, (permission.ip, 0))]
        self._ask(Request(stun.CREATE_PERMISSION, attributes, permission), now)

    def _ask_channel(self, peer: Peer, now: float) -> None:
        if peer.grant is Grant.ABSENT:
            peer.grant = Grant.ASKED
        peer.renew_at = float("inf")
        attributes: list[tuple[int, object]] = [
            (stun.CHANNEL_NUMBER, peer.channel),
            (stun.XOR_PEER_ADDRESS, peer.address),
        ]
        self._ask(Request(stun.CHANNEL_BIND, attributes, peer), now)

    def _ask(self, request: Request, now: float) -> None:
        self._outbox.append(self._requests.begin(request, now))

    def _send(self, peer: Peer, data: bytes, now: float) -> bytes:
        """Without a channel; a peer that is sent to more often gets one."""
        peer.sent += 1
        if peer.sent >= SENDS_BEFORE_CHANNEL and peer.grant is Grant.ABSENT:
            self._ask_channel(peer, now)
        return self._send_indication(peer.address, data)

    def _send_indication(self, peer_address: Address, data: bytes) -> bytes:
        attributes = ((stun.XOR_PEER_ADDRESS, peer_address), (stun.DATA, data))
        return stun.encode(stun.SEND, stun.INDICATION, self._random_bytes(12), attributes, fingerprint=False)

    def _channel_data(self, number: int, data: bytes) -> bytes:
        length = len(data)
        padding = bytes(-length & 3) if self._stream is not None else b""
        return _CHANNEL_HEADER.pack(number, length) + data + padding

    # Time

    def next_timeout(self) -> float | None:
        if self._state is _State.ENDED:
            return None
        soonest = min(self._requests.next_due(), self._refresh_at, self._peers.next_renewal())
        return None if soonest == float("inf") else soonest

    def handle_timeout(self, now: float) -> None:
        if self._state is _State.ENDED:
            return
        for request in self._requests.due(now):
            self._on_unanswered(request, now)
        if self._refresh_at <= now:
            self._refresh_at = float("inf")
            self._ask(Request(stun.REFRESH, []), now)
        for permission in self._peers.due_permissions(now):
            self._renew_permission(permission, now)
        for peer in self._peers.due_channels(now):
            self._renew_channel(peer, now)

    def _on_unanswered(self, request: Request, now: float) -> None:
        data = request.exchange.repeat(now)
        if data is not None:
            self._outbox.append(data)
            return
        self._requests.drop(request)
        if request.subject is None:
            self._fail("the TURN server does not answer")
        else:  # not a refusal: ask again when somebody needs it
            request.subject.grant = Grant.ABSENT

    def _renew_permission(self, permission: Permission, now: float) -> None:
        if permission.grant is Grant.GRANTED and permission.was_used:
            self._ask_permission(permission, now)
        else:  # nobody uses it, or it was denied a while ago: ask anew when somebody does
            permission.grant = Grant.ABSENT
            permission.renew_at = float("inf")

    def _renew_channel(self, peer: Peer, now: float) -> None:
        if peer.grant is Grant.GRANTED and peer.permission.grant is Grant.GRANTED:
            self._ask_channel(peer, now)
        else:
            peer.grant = Grant.ABSENT
            peer.renew_at = float("inf")

    def _fail(self, reason: str, code: int = 0) -> None:
        if self._state is not _State.ENDED:
            self._end()
            self._events.append(TurnFailed(reason, code))

    def _end(self) -> None:
        self._state = _State.ENDED
        self._requests.clear()
        self._refresh_at = float("inf")
