"""Candidate lines, priorities, what may be paired with what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.ice.candidate import Candidate, is_pairable, is_usable_remote, local_preferences
from trio_livekit._sansio.ice.checklist import pair_priority
from trio_livekit.errors import DecodeError

# As sent by livekit-server 1.13.5 and Chromium 156.
SERVER_UDP = "candidate:2878742611 1 udp 2130706431 127.0.0.1 7882 typ host ufrag X"
SERVER_TCP = "candidate:375738803 1 tcp 1671430143 127.0.0.1 7881 typ host tcptype passive ufrag X"
CHROMIUM = "candidate:999622076 1 udp 2113937151 192.0.2.2 47389 typ host generation 0 network-cost 999"


def test_lines_of_a_server() -> None:
    udp = Candidate.parse(SERVER_UDP)
    assert udp == Candidate("2878742611", 1, "udp", 2130706431, "127.0.0.1", 7882, "host", ufrag="X")
    assert udp.to_sdp() == SERVER_UDP
    tcp = Candidate.parse("a=" + SERVER_TCP)
    assert (tcp.protocol, tcp.tcptype) == ("tcp", "passive")
    assert tcp.to_sdp() == SERVER_TCP


def test_unknown_extensions_are_skipped() -> None:
    assert Candidate.parse(CHROMIUM).to_sdp() == CHROMIUM.partition(" generation")[0]


def test_related_address() -> None:
    line = "candidate:1 1 udp 1694498815 198.51.100.1 50000 typ srflx raddr 10.0.0.1 rport 5000"
    candidate = Candidate.parse(line)
    assert candidate.related == ("10.0.0.1", 5000)
    assert candidate.to_sdp() == line


def test_addresses_are_spelled_one_way() -> None:
    assert Candidate.parse("candidate:1 1 UDP 1 2001:DB8:0::1 1 typ host").host == "2001:db8::1"
    assert Candidate.parse("candidate:1 1 udp 1 ::ffff:192.0.2.1 1 typ host").host == "192.0.2.1"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "candidate:",
        "candidate:1 1 udp 1 192.0.2.1 1 typ",
        "candidate:1 1 udp 1 192.0.2.1 1 kind host",
        "candidate:1 1 udp 1 192.0.2.1 1 typ alien",
        "candidate:1 1 sctp 1 192.0.2.1 1 typ host",
        "candidate:1 -1 udp 1 192.0.2.1 1 typ host",
        "candidate:1 257 udp 1 192.0.2.1 1 typ host",
        "candidate:1 1 udp 4294967296 192.0.2.1 1 typ host",
        "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
        "candidate:1 1 udp 1 192.0.2.1 1_0 typ host",
        "candidate:1 1 udp 1 192.0.2.1 \u0661 typ host",
        "candidate:1 1 udp 1 fe80::1::2 1 typ host",
        "candidate:1 1 udp 1 a$b 1 typ host",
        "candidate:" + "1" * 33 + " 1 udp 1 192.0.2.1 1 typ host",
        "candidate:\u00e9 1 udp 1 192.0.2.1 1 typ host",
        "candidate:1 1 udp 1 192.0.2.1 1 typ host" + " x y" * 400,
        "candidate:1 1 udp 1 192.0.2.1 1 typ srflx raddr 1.2.3.4 rport x",
    ],
)
def test_lines_that_are_none(line: str) -> None:
    with pytest.raises(DecodeError):
        Candidate.parse(line)


@given(st.text(max_size=200))
def test_any_text(line: str) -> None:
    try:
        Candidate.parse(line)
    except DecodeError:
        pass


@given(
    st.integers(1, 256),
    st.sampled_from(["udp", "tcp"]),
    st.integers(0, 2**32 - 1),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str),
    st.integers(0, 65535),
    st.sampled_from(["host", "srflx", "prflx", "relay"]),
)
def test_round_trip(component: int, protocol: str, priority: int, host: str, port: int, kind: str) -> None:
    line = f"candidate:abc 1 {protocol} {priority} {host} {port} typ {kind}"
    candidate = Candidate.parse(line)
    assert Candidate.parse(candidate.to_sdp()) == candidate


def test_priorities() -> None:
    address, other = ("192.0.2.1", 1), ("192.0.2.2", 2)
    host = Candidate.local_host(address)
    assert host.priority == 2130706431
    assert host.reflexive_priority() == 1862270975
    assert Candidate.server_reflexive(other, address, other).priority == (100 << 24) | (65535 << 8) | 255
    assert Candidate.relayed(other, other, other).priority == (65535 << 8) | 255
    tcp = Candidate.tcp_active("192.0.2.1")
    assert tcp.priority >> 24 == 126 - 27
    assert tcp.to_sdp().endswith("192.0.2.1 9 typ host tcptype active")
    assert tcp.reflexive_priority() >> 24 == 110 - 27


def test_foundations_are_shared_by_what_is_alike() -> None:
    a, b = Candidate.local_host(("192.0.2.1", 1)), Candidate.local_host(("192.0.2.1", 2))
    c, d = Candidate.local_host(("192.0.2.2", 1)), Candidate.tcp_active("192.0.2.1")
    assert a.foundation == b.foundation
    assert len({a.foundation, c.foundation, d.foundation}) == 3
    one = Candidate.server_reflexive(("198.51.100.1", 1), ("192.0.2.1", 1), ("192.0.2.8", 1))
    two = Candidate.server_reflexive(("198.51.100.1", 1), ("192.0.2.1", 1), ("192.0.2.9", 1))
    assert one.foundation != two.foundation


def test_pair_priority_formula() -> None:
    assert pair_priority(5, 3) == (3 << 32) + 11
    assert pair_priority(3, 5) == (3 << 32) + 10
    assert pair_priority(4, 4) == (4 << 32) + 8


@pytest.mark.parametrize(
    ("line", "usable"),
    [
        (SERVER_UDP, True),
        (SERVER_TCP, True),
        ("candidate:1 2 udp 1 192.0.2.1 1 typ host", False),  # RTCP: a bare pion lists it
        ("candidate:1 1 udp 1 192.0.2.1 0 typ host", False),
        ("candidate:1 1 udp 1 0b3c-11.local 1 typ host", False),
        ("candidate:1 1 udp 1 example.org 1 typ host", False),
        ("candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active", False),
        ("candidate:1 1 tcp 1 192.0.2.1 9 typ host", False),
        ("candidate:1 1 udp 1 224.0.0.251 5353 typ host", False),
        ("candidate:1 1 udp 1 ff02::fb 5353 typ host", False),
        ("candidate:1 1 udp 1 0.0.0.0 1 typ host", False),
        ("candidate:1 1 udp 1 :: 1 typ host", False),
        ("candidate:1 1 udp 1 255.255.255.255 1 typ host", False),
    ],
)
def test_usable_remote(line: str, usable: bool) -> None:
    assert is_usable_remote(Candidate.parse(line)) is usable


@pytest.mark.parametrize(
    ("local", "remote", "pairable"),
    [
        ("192.0.2.1", "192.0.2.2", True),
        ("192.0.2.1", "2001:db8::1", False),
        ("2001:db8::2", "192.0.2.2", False),
        ("2001:db8::2", "2001:db8::1", True),
        ("fe80::1%2", "fe80::2", True),
        ("2001:db8::2", "fe80::2", False),
        ("fe80::1%2", "2001:db8::1", False),
    ],
)
def test_pairable(local: str, remote: str, pairable: bool) -> None:
    a, b = Candidate.local_host((local, 1)), Candidate.local_host((remote, 2))
    assert is_pairable(a, b) is pairable
    assert not is_pairable(Candidate.tcp_active(local), b)


def test_local_preferences_alternate_families_and_put_global_ipv6_first() -> None:
    ranked = local_preferences(["10.0.0.1", "10.0.0.2", "10.0.0.3", "2a00::1", "fd00::1"])
    order = sorted(ranked, key=ranked.__getitem__, reverse=True)
    assert order == ["2a00::1", "10.0.0.1", "fd00::1", "10.0.0.2", "10.0.0.3"]
    assert len(set(ranked.values())) == 5
    ranked = local_preferences(["fd00::1", "10.0.0.1"])
    assert ranked["10.0.0.1"] > ranked["fd00::1"]
    assert local_preferences([]) == {}
