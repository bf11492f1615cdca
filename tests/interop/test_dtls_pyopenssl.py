"""Our DTLS against ``trio.DTLSEndpoint``, which is pyOpenSSL, in both roles and on a path that loses datagrams."""

from __future__ import annotations

import math
import os

import pytest
import trio
from cryptography import x509

from trio_livekit._sansio.dtls import Config, Connection, ConnectionState, LocalCertificate, Role
from trio_livekit._transport.certificate import generate_certificate

SSL = pytest.importorskip("OpenSSL.SSL", reason="pyOpenSSL is not installed")


def openssl_context(certificate: LocalCertificate) -> SSL.Context:
    context = SSL.Context(SSL.DTLS_METHOD)
    context.use_certificate(x509.load_der_x509_certificate(certificate.der))
    context.use_privatekey(certificate.private_key)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    return context


class Driver:
    """One of our connections on a trio socket. The datagrams it sends are numbered from 1; some are ``lost``."""

    def __init__(self, connection: Connection, sock: trio.socket.SocketType, lost: tuple[int, ...]) -> None:
        self.connection = connection
        self.settled = trio.Event()
        self._send_received, self.received = trio.open_memory_channel[bytes](math.inf)
        self._sock = sock
        self._peer: object = None
        self._lost = lost
        self._sent = 0

    async def start(self, peer: object = None) -> None:
        self._peer = peer
        self.connection.start(trio.current_time())
        await self.flush()

    async def flush(self) -> None:
        for datagram in self.connection.datagrams_to_send(trio.current_time()):
            self._sent += 1
            if self._sent not in self._lost:
                await self._sock.sendto(datagram, self._peer)

    async def run(self) -> None:
        """Answer datagrams and deadlines until cancelled."""
        while True:
            deadline = self.connection.next_timeout()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                datagram, self._peer = await self._sock.recvfrom(65536)
                for data in self.connection.receive_datagram(datagram, trio.current_time()):
                    self._send_received.send_nowait(data)
            self.connection.handle_timeout(trio.current_time())
            await self.flush()
            if self.connection.state is not ConnectionState.HANDSHAKING:
                self.settled.set()

    async def send(self, data: bytes) -> None:
        await self._sock.sendto(self.connection.seal(data), self._peer)


def make(role: Role, ours: LocalCertificate, theirs: LocalCertificate, config: Config) -> Connection:
    return Connection(
        role,
        certificate=ours,
        random_bytes=os.urandom,
        remote_fingerprints=[theirs.fingerprint()],
        config=config,
    )


async def udp_socket() -> trio.socket.SocketType:
    sock = trio.socket.socket(type=trio.socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))
    return sock


@pytest.mark.parametrize("lost", [(), (1, 3, 5)], ids=["clean", "lossy"])
async def test_as_client(lost: tuple[int, ...]) -> None:
    """trio's server always demands a cookie first."""
    ours, theirs = generate_certificate(), generate_certificate()

    async def echo(channel: trio.DTLSChannel) -> None:
        with channel:
            await channel.send(b"echo: " + await channel.receive())
            await channel.receive()

    with trio.fail_after(20), await udp_socket() as server_socket, await udp_socket() as sock:
        async with trio.open_nursery() as nursery:
            with trio.DTLSEndpoint(server_socket) as endpoint:
                await nursery.start(endpoint.serve, openssl_context(theirs), echo)
                driver = Driver(make(Role.CLIENT, ours, theirs, Config()), sock, lost)
                await driver.start(server_socket.getsockname())
                nursery.start_soon(driver.run)
                await driver.settled.wait()
                await driver.send(b"hello")
                assert await driver.received.receive() == b"echo: hello"
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lost", [(), (1,)], ids=["clean", "lossy"])
@pytest.mark.parametrize("verify_hello", [False, True])
async def test_as_server(lost: tuple[int, ...], verify_hello: bool) -> None:
    """The last flight is not lost: trio repeats its Finished as the very same record, which looks like a replay."""
    ours, theirs = generate_certificate(), generate_certificate()
    with trio.fail_after(20), await udp_socket() as client_socket, await udp_socket() as sock:
        driver = Driver(make(Role.SERVER, ours, theirs, Config(verify_hello=verify_hello)), sock, lost)
        await driver.start()
        with (
            trio.DTLSEndpoint(client_socket) as endpoint,
            endpoint.connect(sock.getsockname(), openssl_context(theirs)) as channel,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.run)
                await channel.do_handshake(initial_retransmit_timeout=0.2)
                await channel.send(b"hello")
                assert await driver.received.receive() == b"hello"
                await driver.send(b"welcome")
                assert await channel.receive() == b"welcome"
                nursery.cancel_scope.cancel()
