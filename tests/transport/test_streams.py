"""Why there is no TCP connection, or no TLS on it: to whichever server, the error says it in words."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.tls import make_certificate
from trio_livekit._transport.carriers import open_carrier
from trio_livekit._transport.config import PeerConfig
from trio_livekit._transport.http import http_get
from trio_livekit._transport.servers import ServerUrl
from trio_livekit._transport.streams import NoTls, OnlyTls

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_leaks")

HANGS_UP = "the TLS handshake was broken off: the server hung up"
NO_TLS = "the server does not speak TLS"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NO_TLS),
        (b"SSH-2.0-OpenSSH_9.6\r\n", NO_TLS),
        (b"220 mail.example ESMTP\r\n", NO_TLS),
        (bytes(30), NO_TLS),
        (b"", HANGS_UP),
        (b"\x15\x03\x01\x00\x02\x02\x28", r"the TLS handshake failed: .*alert handshake failure"),
    ],
)
async def test_a_relay_that_speaks_no_tls(nursery: trio.Nursery, answer: bytes, why: str) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if answer:
            await stream.send_all(answer)

    (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    with pytest.raises(OSError, match=why) as failed:
        await open_carrier(ServerUrl("turn", "127.0.0.1", port, "tls"), PeerConfig(controlling=True))
    assert isinstance(failed.value, NoTls) is (why == NO_TLS)
    nursery.cancel_scope.cancel()


async def test_a_relay_whose_certificate_nobody_vouches_for(nursery: trio.Nursery, tmp_path: Path) -> None:
    certificate, key, trusted = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def handle(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some()
        except trio.BrokenResourceError:
            pass

    (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1"))
    url = ServerUrl("turn", "127.0.0.1", listener.transport_listener.socket.getsockname()[1], "tls")
    with pytest.raises(OSError, match=r"certificate is not accepted: self.signed certificate"):
        await open_carrier(url, PeerConfig(controlling=True))
    await (await open_carrier(url, PeerConfig(controlling=True, ssl_context=trusted))).aclose()
    nursery.cancel_scope.cancel()


async def test_a_relay_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError, match="Connection refused"):
            await open_carrier(
                ServerUrl("turn", "127.0.0.1", taken.getsockname()[1], "tcp"), PeerConfig(controlling=True)
            )


async def test_http_to_a_server_that_wants_tls(nursery: trio.Nursery) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x46")

    (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    with pytest.raises(OnlyTls, match="the server speaks TLS"):
        await http_get(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/", headers={})
    nursery.cancel_scope.cancel()
