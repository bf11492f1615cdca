"""The addresses of this host that a peer could be reached at (RFC 8445 section 5.1.1.1), found by ``ifaddr``."""

from __future__ import annotations

__all__ = ["host_addresses", "usable_addresses"]

import ipaddress
from typing import TYPE_CHECKING, Protocol

import ifaddr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class InterfaceAddress(Protocol):
    """One address as ifaddr gives it: text for IPv4; text, flow info and scope for IPv6."""

    @property
    def ip(self) -> str | tuple[str, int, int]: ...


class Interface(Protocol):
    @property
    def ips(self) -> Sequence[InterfaceAddress]: ...


def host_addresses(*, include_loopback: bool = False) -> list[str]:
    """Ask the system for this host's addresses, best first; see ``usable_addresses``."""
    return usable_addresses(ifaddr.get_adapters(), include_loopback=include_loopback)


def usable_addresses(interfaces: Iterable[Interface], *, include_loopback: bool = False) -> list[str]:
    """Global IPv6 first, then IPv4, then other IPv6, then loopback if asked for; each address once.

    Link-local addresses of either family are left out: they only reach neighbours on one link, where a peer's other
    addresses work as well. So is what RFC 8445 calls deprecated: site-local and IPv4-mapped IPv6.
    """
    ranked: dict[str, int] = {}
    for interface in interfaces:
        for address in interface.ips:
            text = address.ip if isinstance(address.ip, str) else address.ip[0]
            rank = _rank(text, include_loopback=include_loopback)
            if rank is not None:
                ranked.setdefault(text, rank)
    return sorted(ranked, key=ranked.__getitem__)  # stable: the system's order within a rank


def _rank(text: str, *, include_loopback: bool) -> int | None:
    """Smaller is better; None is of no use."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if ip.is_loopback:
        return 3 if include_loopback else None
    if ip.is_link_local or ip.is_unspecified or ip.is_multicast:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return 1
    if ip.is_site_local or ip.ipv4_mapped is not None:
        return None
    return 0 if ip.is_global else 2
