"""Address translation as home routers do it (RFC 4787): no clock, no I/O."""

from __future__ import annotations

__all__ = ["FIRST_PORT", "Nat"]

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .._sansio.types import Address

T = TypeVar("T")

FIRST_PORT = 49152
"""Where ports that nobody asked for by number begin (RFC 6335 section 6)."""


class Nat(Generic[T]):
    """A router with one public address: it maps what goes out, and lets in what fits a mapping.

    Not ``symmetric``: one public port per private address ("endpoint-independent mapping"). ``symmetric``: one for
    each remote address too, so that a port learnt from one server is useless with another. ``filtering`` lets in only
    remote addresses that were sent to; without it, anyone who knows the port gets in.
    """

    def __init__(self, host: str, *, symmetric: bool = False, filtering: bool = True) -> None:
        self.host = host
        self.symmetric = symmetric
        self.filtering = filtering
        self.inside: dict[Address, T] = {}
        self._ports: dict[tuple[Address, Address | None], int] = {}
        self._private: dict[int, Address] = {}
        self._allowed: set[tuple[int, Address]] = set()
        self._next_port = FIRST_PORT

    def rebind(self) -> None:
        """Forget every mapping, as a router that restarts: what goes out next comes from a new port."""
        self._ports.clear()
        self._private.clear()
        self._allowed.clear()

    def outgoing(self, private: Address, remote: Address) -> Address:
        """The public address that ``private`` has towards ``remote``; a new one if there was no mapping."""
        key = (private, remote if self.symmetric else None)
        port = self._ports.get(key)
        if port is None:
            port = self._ports[key] = self._next_port
            self._next_port += 1
            self._private[port] = private
        self._allowed.add((port, remote))
        return (self.host, port)

    def incoming(self, remote: Address, port: int) -> T | None:
        """Who gets a datagram that ``remote`` sent to a public port; None if it does not get in."""
        private = self._private.get(port)
        if private is None or (self.filtering and (port, remote) not in self._allowed):
            return None
        return self.inside.get(private)
