"""Addresses as everyone writes them, and as the socket module wants them. They differ for IPv6 with a scope."""

from __future__ import annotations

__all__ = ["SocketAddress", "plain_address", "socket_address"]

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._sansio.types import Address

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def socket_address(address: Address) -> SocketAddress:
    """The form ``sendto`` takes. For IPv6 the scope becomes a number: as text it would be ignored."""
    host, port = address
    plain, _, scope = host.partition("%")
    if ":" not in plain:
        return address
    if not scope:
        return (plain, port, 0, 0)
    return (plain, port, 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope))


def plain_address(source: SocketAddress) -> Address:
    """The form everyone else uses: text and port, with a scope as ``%number`` where there is one."""
    if len(source) == 2:
        return source
    host, port, _, scope = source
    return (f"{host.partition('%')[0]}%{scope}" if scope else host, port)
