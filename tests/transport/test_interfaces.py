"""Which of a host's addresses are worth a socket."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from trio_livekit._transport.interfaces import host_addresses, usable_addresses


@dataclass
class Ip:
    ip: str | tuple[str, int, int]


@dataclass
class Adapter:
    ips: list[Ip] = field(default_factory=list)


def adapters(*groups: tuple[str | tuple[str, int, int], ...]) -> list[Adapter]:
    return [Adapter([Ip(ip) for ip in group]) for group in groups]


LAPTOP = adapters(
    ("127.0.0.1", ("::1", 0, 0)),
    ("192.168.1.20", ("fe80::1", 0, 2), ("fd00::20", 0, 0), ("2a02:8109::20", 0, 0)),
    ("10.8.0.3", "169.254.7.7"),
    (),
)


def test_global_ipv6_comes_first_then_ipv4_then_private_ipv6() -> None:
    assert usable_addresses(LAPTOP) == ["2a02:8109::20", "192.168.1.20", "10.8.0.3", "fd00::20"]


def test_loopback_is_last_and_only_on_request() -> None:
    assert usable_addresses(LAPTOP, include_loopback=True)[-2:] == ["127.0.0.1", "::1"]


def test_an_address_on_two_interfaces_counts_once() -> None:
    assert usable_addresses(adapters(("10.0.0.1",), ("10.0.0.1", "10.0.0.2"))) == ["10.0.0.1", "10.0.0.2"]


def test_what_is_of_no_use_is_left_out() -> None:
    odd = adapters(
        ("0.0.0.0", "224.0.0.1", "not an address", ("fec0::1", 0, 0), ("::ffff:1.2.3.4", 0, 0), ("::", 0, 0))
    )
    assert usable_addresses(odd) == []


def test_this_host_has_a_loopback_address() -> None:
    found = host_addresses(include_loopback=True)
    assert any(ipaddress.ip_address(ip).is_loopback for ip in found)
    assert not any(ipaddress.ip_address(ip).is_link_local for ip in found)
