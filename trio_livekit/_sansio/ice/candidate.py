"""Candidates: an address somebody may be reached at, and its line in SDP (RFC 8445 section 5, RFC 8839 section 5.1).

candidate:<foundation> <component> <protocol> <priority> <address> <port> typ <type>
    [raddr <address> rport <port>] [tcptype <type>] [generation n] [ufrag x] [network-cost n] ...
"""

from __future__ import annotations

__all__ = ["Candidate", "is_usable_remote", "local_preferences"]

import ipaddress
from typing import TYPE_CHECKING

from ...errors import DecodeError
from ..records import dataclass
from . import stun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..types import Address

MAX_LINE_CHARACTERS = 1024
MAX_LOCAL_PREFERENCE = 65535
TYPES = frozenset(("host", "srflx", "prflx", "relay"))
_PROTOCOLS = frozenset(("udp", "tcp"))
_ICE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_HOST_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:%-_")

_TCP_PENALTY = 27 << 24
"""Taken off the priority of TCP candidates, so that UDP of any directness wins (as pion does; RFC 6544 section 4.2
asks only that UDP be preferred)."""

_TCP_ACTIVE_PREFERENCE = (6 << 13) + 8191  # direction preference and the rest (RFC 6544 section 4.2)
_DISCARD_PORT = 9  # an active candidate has no port of its own yet (RFC 6544 section 4.5)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate, ours or the peer's.

    ``host`` is an IP address, or, from a peer, a name that we do not resolve. ``related`` of a server-reflexive one
    of ours is its base, the socket that packets really leave from.
    """

    foundation: str
    component: int
    protocol: str
    priority: int
    host: str
    port: int
    type: str
    related: Address | None = None
    tcptype: str | None = None
    ufrag: str | None = None

    @property
    def address(self) -> Address:
        return (self.host, self.port)

    @classmethod
    def local_host(cls, address: Address, *, local_preference: int = MAX_LOCAL_PREFERENCE) -> Candidate:
        """A UDP socket of ours."""
        return cls._local("host", address, address[0], local_preference)

    @classmethod
    def server_reflexive(
        cls, address: Address, base: Address, server: Address, *, local_preference: int = MAX_LOCAL_PREFERENCE
    ) -> Candidate:
        """What ``server`` sees when the socket at ``base`` talks to it."""
        return cls._local("srflx", address, base[0], local_preference, server=server[0], related=base)

    @classmethod
    def relayed(
        cls, address: Address, mapped: Address, server: Address, *, local_preference: int = MAX_LOCAL_PREFERENCE
    ) -> Candidate:
        """An address that a TURN server receives on for us; ``mapped`` is what the server saw of us."""
        return cls._local("relay", address, address[0], local_preference, server=server[0], related=mapped)

    @classmethod
    def tcp_active(cls, ip: str) -> Candidate:
        """The promise that we can open TCP connections from ``ip`` (RFC 6544 section 4.5)."""
        priority = stun.candidate_priority("host", _TCP_ACTIVE_PREFERENCE) - _TCP_PENALTY
        foundation = stun.candidate_foundation("host", "tcp", ip)
        return cls(foundation, 1, "tcp", priority, ip, _DISCARD_PORT, "host", tcptype="active")

    @classmethod
    def peer_reflexive(cls, address: Address, protocol: str, priority: int) -> Candidate:
        """An address that nobody told us about, and that a check came from."""
        foundation = stun.candidate_foundation("prflx", protocol, f"{address[0]}|{address[1]}")
        return cls(foundation, 1, protocol, priority, address[0], address[1], "prflx")

    @classmethod
    def _local(
        cls,
        kind: str,
        address: Address,
        base_ip: str,
        local_preference: int,
        *,
        server: str = "",
        related: Address | None = None,
    ) -> Candidate:
        foundation = stun.candidate_foundation(kind, "udp", base_ip, server)
        priority = stun.candidate_priority(kind, local_preference)
        return cls(foundation, 1, "udp", priority, address[0], address[1], kind, related=related)

    def reflexive_priority(self) -> int:
        """What a peer should think of the address our check comes from (the PRIORITY attribute, RFC 8445 7.1.1)."""
        priority = stun.candidate_priority("prflx", (self.priority >> 8) & 0xFFFF, self.component)
        return priority - _TCP_PENALTY if self.protocol == "tcp" else priority

    @classmethod
    def parse(cls, line: str) -> Candidate:
        """Read a candidate line, with or without ``a=``; unknown extensions are skipped.

        Raises:
            DecodeError: the line is not a candidate.
        """
        if len(line) > MAX_LINE_CHARACTERS:
            raise DecodeError("candidate line too long")
        words = line.strip().removeprefix("a=").removeprefix("candidate:").split()
        if len(words) < 8 or words[6] != "typ":
            raise DecodeError("candidate line is incomplete")
        foundation, component, protocol, priority, host, port, _, kind = words[:8]
        if not 0 < len(foundation) <= 32 or not _ICE_CHARACTERS.issuperset(foundation):
            raise DecodeError("candidate foundation is malformed")
        if protocol.lower() not in _PROTOCOLS or kind not in TYPES:
            raise DecodeError("candidate has an unknown protocol or type")
        extensions = dict(zip(words[8::2], words[9::2], strict=False))
        return cls(
            foundation,
            _number(component, 256),
            protocol.lower(),
            _number(priority, 2**32 - 1),
            _host(host),
            _number(port, 65535),
            kind,
            related=_related(extensions),
            tcptype=extensions.get("tcptype"),
            ufrag=extensions.get("ufrag"),
        )

    def to_sdp(self) -> str:
        """The line without ``a=``, as trickle messages carry it."""
        parts = [
            f"candidate:{self.foundation} {self.component} {self.protocol} {self.priority}",
            f"{self.host.partition('%')[0]} {self.port} typ {self.type}",
        ]
        if self.related is not None:
            parts.append(f"raddr {self.related[0].partition('%')[0]} rport {self.related[1]}")
        if self.tcptype is not None:
            parts.append(f"tcptype {self.tcptype}")
        if self.ufrag is not None:
            parts.append(f"ufrag {self.ufrag}")
        return " ".join(parts)


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or int(text) > most:
        raise DecodeError("candidate has a number out of range")
    return int(text)


def _host(text: str) -> str:
    """An IP address in the one spelling that sockets use, or a host name as it is."""
    if len(text) > 255 or not _HOST_CHARACTERS.issuperset(text):
        raise DecodeError("candidate address is malformed")
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        if ":" in text or "%" in text:
            raise DecodeError("candidate address is malformed") from None
        return text
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def _related(extensions: dict[str, str]) -> Address | None:
    host, port = extensions.get("raddr"), extensions.get("rport")
    return None if host is None or port is None else (_host(host), _number(port, 65535))


def is_usable_remote(candidate: Candidate) -> bool:
    """Whether checks may be sent to a candidate a peer named.

    Names are not resolved: a look-up would let a peer make us talk to a name server of its choice, and mDNS names
    (``….local``) come up as peer-reflexive candidates anyway. Of TCP, only passive candidates can be connected to.
    """
    if candidate.component != 1 or candidate.port == 0:
        return False
    if candidate.protocol == "tcp" and candidate.tcptype != "passive":
        return False
    try:
        ip = ipaddress.ip_address(candidate.host)
    except ValueError:
        return False
    return not (ip.is_multicast or ip.is_unspecified or candidate.host == "255.255.255.255")


def is_pairable(local: Candidate, remote: Candidate) -> bool:
    """Same protocol and family; link-local IPv6 only with its like (RFC 8445 section 6.1.2.2)."""
    if local.protocol != remote.protocol:
        return False
    a, b = ipaddress.ip_address(local.host), ipaddress.ip_address(remote.host)
    if isinstance(a, ipaddress.IPv4Address) or isinstance(b, ipaddress.IPv4Address):
        return a.version == b.version
    return a.is_link_local == b.is_link_local


def local_preferences(ips: Sequence[str]) -> dict[str, int]:
    """Spread preferences over our addresses, best first, one family after the other (RFC 8421 section 4).

    IPv6 goes first where it is globally reachable; otherwise IPv4 does.
    """
    parsed = [(ip, ipaddress.ip_address(ip)) for ip in dict.fromkeys(ips)]
    v6 = [ip for ip, value in parsed if value.version == 6 and value.is_global]
    v6 += [ip for ip, value in parsed if value.version == 6 and not value.is_global]
    v4 = [ip for ip, value in parsed if value.version == 4]
    first, second = (v6, v4) if v6 and ipaddress.ip_address(v6[0]).is_global else (v4, v6)
    ordered = [ip for pair in zip(first, second, strict=False) for ip in pair]
    ordered += [*first[len(second) :], *second[len(first) :]]
    return {ip: MAX_LOCAL_PREFERENCE - 256 * index for index, ip in enumerate(ordered[:250])}
