"""Whom a TURN allocation may talk to: permissions by address, and channels (RFC 8656 sections 9 and 12)."""

from __future__ import annotations

__all__ = ["Peer", "Peers", "Permission"]

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..types import Address

MAX_PEERS = 64
MAX_HELD = 2  # datagrams per peer that wait for the permission: checks, which are repeated anyway
FIRST_CHANNEL = 0x4000

PERMISSION_REFRESH_S = 240.0  # of 300
CHANNEL_REFRESH_S = 540.0  # of 600
RETRY_DENIED_S = 60.0


class Grant(enum.Enum):
    """What the server said about a permission or a channel."""

    ABSENT = "absent"
    ASKED = "asked"
    GRANTED = "granted"
    DENIED = "denied"


class Permission:
    """For one IP address, whatever the port."""

    __slots__ = ("grant", "ip", "renew_at", "was_used")

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.grant = Grant.ABSENT
        self.renew_at = float("inf")
        self.was_used = True  # since it was last granted: one that is not is left to lapse


class Peer:
    """One address and port, and the channel that spares 32 bytes per datagram on the way to it."""

    __slots__ = ("address", "channel", "grant", "held", "permission", "renew_at", "sent")

    def __init__(self, address: Address, permission: Permission, channel: int) -> None:
        self.address = address
        self.permission = permission
        self.channel = channel
        self.grant = Grant.ABSENT
        self.renew_at = float("inf")
        self.sent = 0
        self.held: list[bytes] = []


class Peers:
    __slots__ = ("_by_address", "_by_channel", "_permissions")

    def __init__(self) -> None:
        self._by_address: dict[Address, Peer] = {}
        self._by_channel: dict[int, Peer] = {}
        self._permissions: dict[str, Permission] = {}

    def get(self, address: Address) -> Peer | None:
        """The peer at ``address``, made if there is room."""
        peer = self._by_address.get(address)
        if peer is None:
            permission = self.permission(address[0])
            if permission is None or len(self._by_address) >= MAX_PEERS:
                return None
            peer = Peer(address, permission, FIRST_CHANNEL + len(self._by_address))
            self._by_address[address] = peer
            self._by_channel[peer.channel] = peer
        return peer

    def permission(self, ip: str) -> Permission | None:
        """The permission for ``ip``, made if there is room."""
        permission = self._permissions.get(ip)
        if permission is None and len(self._permissions) < MAX_PEERS:
            permission = self._permissions[ip] = Permission(ip)
        return permission

    def granted(self, ip: str) -> Permission | None:
        """The permission for ``ip`` if the server gave one."""
        permission = self._permissions.get(ip)
        return permission if permission is not None and permission.grant is Grant.GRANTED else None

    def on_channel(self, number: int) -> Peer | None:
        peer = self._by_channel.get(number)
        return peer if peer is not None and peer.grant is Grant.GRANTED else None

    def at_ip(self, ip: str) -> Iterator[Peer]:
        return (peer for peer in self._by_address.values() if peer.address[0] == ip)

    def due_permissions(self, now: float) -> list[Permission]:
        return [permission for permission in self._permissions.values() if permission.renew_at <= now]

    def due_channels(self, now: float) -> list[Peer]:
        return [peer for peer in self._by_address.values() if peer.renew_at <= now]

    def next_renewal(self) -> float:
        times = [permission.renew_at for permission in self._permissions.values()]
        times += [peer.renew_at for peer in self._by_address.values()]
        return min(times, default=float("inf"))
