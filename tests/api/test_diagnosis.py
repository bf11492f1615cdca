"""What is found out about the way to a server, where all is well, and where something is not."""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.support.leaks import nothing_left_behind
from tests.support.livekit import free_port
from tests.support.servers import RealServer
from tests.support.tls import make_certificate
from trio_livekit.tokens import access_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.livekit import LiveKitServer
    from tests.support.servers import EmbeddedServer, ServerUnderTest

WELL = {
    "url": "ok",
    "dns": "skipped",
    "tcp": "ok",
    "tls": "skipped",
    "token": "ok",
    "signalling": "ok",
    "udp": "ok",
    "data channel": "ok",
}


async def examine(server: ServerUnderTest, room_name: str, **options: float) -> dict[str, lk.Check]:
    """The checks by name, for two participants."""
    alice, bob = (server.token(identity, room_name) for identity in ("alice", "bob"))
    async with nothing_left_behind():
        diagnosis = await lk.diagnose(server.url, alice, second_token=bob, **options)  # type: ignore[arg-type]
    assert diagnosis.works
    return {check.name: check for check in diagnosis.checks}


def verdicts(checks: dict[str, lk.Check]) -> dict[str, str]:
    return {name: check.verdict.value for name, check in checks.items()}


async def test_a_livekit_server_that_is_well(real_server: RealServer, room_name: str) -> None:
    checks = await examine(real_server, room_name)
    assert verdicts(checks) == {**WELL, "end to end": "ok", "tcp fallback": "ok", "turn": "skipped"}
    assert "1.13" in checks["signalling"].detail
    assert not any(check.advice for check in checks.values())
    await real_server.wait_gone(room_name, "alice")


async def test_a_server_without_a_tcp_fallback(embedded_server: EmbeddedServer, room_name: str) -> None:
    checks = await examine(embedded_server, room_name, timeout_s=0.7)
    assert verdicts(checks) == {**WELL, "end to end": "ok", "tcp fallback": "warning", "turn": "skipped"}
    assert "tcp_port" in checks["tcp fallback"].advice


async def test_where_udp_is_blocked(
    start_livekit_server: Callable[[dict[str, object]], LiveKitServer], room_name: str
) -> None:
    checks = await examine(RealServer(start_livekit_server({"rtc": {"force_tcp": True}})), room_name)
    assert verdicts(checks) == {
        **WELL, "udp": "warning", "end to end": "ok", "tcp fallback": "ok", "turn": "skipped"
    }  # fmt: skip
    assert "over TCP" in checks["udp"].detail
    assert "firewall" in checks["udp"].advice


async def test_through_a_turn_server(
    start_livekit_server: Callable[[dict[str, object]], LiveKitServer], room_name: str
) -> None:
    config = {"rtc": {"interfaces": {"includes": ["lo"]}}, "turn": {"allow_restricted_peer_cidrs": ["127.0.0.0/8"]}}
    server = RealServer(start_livekit_server(config))
    checks = await examine(server, room_name)
    assert verdicts(checks) == {**WELL, "end to end": "ok", "tcp fallback": "ok", "turn": "ok"}
    async with lk.connect(server.url, server.token("alice", room_name), paths=lk.Paths.RELAY) as room:
        assert room.stats().transports[0].local_kind == "relay"
    async with lk.connect(server.url, server.token("alice", room_name), paths=lk.Paths.TCP) as room:
        assert room.stats().transports[0].protocol == "tcp"


async def failing(url: str, token: str = "token") -> lk.Check:
    """The check that fails, which is the last."""
    async with nothing_left_behind():
        diagnosis = await lk.diagnose(url, token, timeout_s=5)
    assert not diagnosis.works
    *before, failed = diagnosis.checks
    assert failed.verdict is lk.Verdict.FAILED
    assert failed.advice
    assert lk.Verdict.FAILED not in [check.verdict for check in before]
    return failed


async def test_what_is_no_url() -> None:
    assert (await failing("localhost")).name == "url"


async def test_a_name_that_nobody_has() -> None:
    assert (await failing("ws://no-such-host.invalid")).name == "dns"


async def test_a_port_where_nobody_listens() -> None:
    failed = await failing(f"ws://127.0.0.1:{free_port()}")
    assert failed.name == "tcp"
    assert "is the server running" in failed.advice


async def test_tls_to_a_server_that_has_none(server: ServerUnderTest) -> None:
    failed = await failing(server.url.replace("ws:", "wss:"))
    assert failed.name == "tls"
    assert "ws://" in failed.advice


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    certificate, key, trusted = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
            await stream.receive_some()
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        failed = await failing(f"wss://127.0.0.1:{port}")
        assert failed.name == "tls"
        assert "certificate" in failed.detail
        diagnosis = await lk.diagnose(f"wss://127.0.0.1:{port}", "token", timeout_s=5, ssl_context=trusted)
        assert [check.verdict.value for check in diagnosis.checks[3:]] == ["ok", "failed"]  # TLS, and nothing behind it
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("what", ["expired", "secret"])
async def test_a_bad_token(server: ServerUnderTest, room_name: str, what: str) -> None:
    secret = server.api_secret if what == "expired" else "x" * 40
    past = time.time() - 10_000 if what == "expired" else time.time()
    token = access_token(server.api_key, secret, identity="alice", room=room_name, now=past, ttl_s=100)
    failed = await failing(server.url, token)
    assert failed.name == "token"
    assert what in failed.detail
    assert token.split(".")[2] not in repr(failed)


@pytest.mark.parametrize("token", ["two\nlines", "t\u00f6ken"])
async def test_what_is_no_token(embedded_server: EmbeddedServer, token: str) -> None:
    failed = await failing(embedded_server.url, token)
    assert failed.name == "token"
    assert "not a JWT" in failed.detail


async def test_with_one_token(real_server: RealServer, room_name: str) -> None:
    """There is nobody to send anything to; and somebody who may not send is no failure of the way."""
    for grants in ({}, {"can_publish_data": False, "can_publish": False}):
        token = real_server.token("alice", room_name, **grants)
        diagnosis = await lk.diagnose(real_server.url, token)
        names = [check.name for check in diagnosis.checks]
        assert diagnosis.works
        assert "end to end" not in names


async def test_checks_are_told_as_they_end(real_server: RealServer, room_name: str) -> None:
    send, receive = trio.open_memory_channel[lk.Check](0)
    told: list[lk.Check] = []

    async def listen() -> None:
        told.extend([check async for check in receive])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        with send:
            diagnosis = await lk.diagnose(real_server.url, real_server.token("alice", room_name), progress=send)
    assert tuple(told) == diagnosis.checks
