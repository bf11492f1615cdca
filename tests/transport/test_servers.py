"""URLs of STUN and TURN servers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.signal.messages import IceServer
from trio_livekit._transport.servers import ServerUrl, TurnServer, resolve, stun_servers, turn_servers
from trio_livekit.errors import DecodeError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("stun:stun.example.org", ("stun", "stun.example.org", 3478, "udp")),
        ("stun:192.0.2.1:19302", ("stun", "192.0.2.1", 19302, "udp")),
        ("turn:turn.example.org", ("turn", "turn.example.org", 3478, "udp")),
        ("turn:192.0.2.1:1000?transport=udp", ("turn", "192.0.2.1", 1000, "udp")),
        ("turn:192.0.2.1?transport=tcp", ("turn", "192.0.2.1", 3478, "tcp")),
        ("turns:turn.example.org", ("turn", "turn.example.org", 5349, "tls")),
        ("turns:turn.example.org:443?transport=tcp", ("turn", "turn.example.org", 443, "tls")),
        ("TURN:[2001:db8::1]:3479?transport=UDP", ("turn", "2001:db8::1", 3479, "udp")),
        ("turn:[2001:db8::1]", ("turn", "2001:db8::1", 3478, "udp")),
    ],
)
def test_urls(url, expected):
    assert ServerUrl.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "turn", "turn:", "http://example.org", "turn://example.org", "turn:host:0", "turn:host:65536",
        "turn:host:x", "turn:[2001:db8::1", "turn:[host]", "turn:[::1]x", "turn:user@host", "turn:ho st",
        "turn:host?transport=sctp", "turns:host?transport=udp", "stun:host?transport=tcp", "stuns:host",
        "turn:" + "a" * 64, "turn:a..b", "turn:b\u00fccher", "turn:host:\u0661",
    ],
)  # fmt: skip
def test_what_is_no_url_of_ours(url):
    with pytest.raises(DecodeError):
        ServerUrl.parse(url)


@given(st.text())
def test_any_text(text):
    for prefix in ("", "turn:", "turns:", "stun:["):
        try:
            url = ServerUrl.parse(prefix + text)
        except DecodeError:
            continue
        assert url.host
        assert 0 < url.port < 65536


def test_servers_of_a_join_response():
    servers = (
        IceServer(("turns:a:443?transport=tcp", "turn:b?transport=udp", "stun:c", "nonsense"), "user", "secret"),
        IceServer(("stun:c", "turn:b?transport=udp"), "user", "secret"),
    )
    assert [server.url.host for server in turn_servers(servers)] == ["b", "a"]  # UDP first, nothing twice
    assert [server.host for server in stun_servers(servers)] == ["c"]
    assert {server.username for server in turn_servers(servers)} == {"user"}


def test_passwords_are_not_shown():
    server = TurnServer(ServerUrl.parse("turn:host"), "user", "secret")
    assert "secret" not in repr(server) + str(server) + f"{[server]}"


async def test_resolving():
    assert await resolve("192.0.2.1", 5) == [("192.0.2.1", 5)]
    assert await resolve("2001:db8::1", 5) == [("2001:db8::1", 5)]
    assert ("127.0.0.1", 5) in await resolve("localhost", 5)
