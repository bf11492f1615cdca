"""Running ``openssl s_server`` and ``s_client`` against one of our DTLS connections, on loopback."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trio_livekit._sansio.dtls import Connection, LocalCertificate

OPENSSL = shutil.which("openssl")
PATIENCE_S = 15.0

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="the openssl command is not installed")


def write_certificate(certificate: LocalCertificate, directory: Path) -> list[str]:
    """The ``-cert``/``-key`` options for a certificate of ours."""
    cert_file, key_file = directory / "peer.der", directory / "peer.pem"
    cert_file.write_bytes(certificate.der)
    key_file.write_bytes(
        certificate.private_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    return ["-cert", str(cert_file), "-certform", "DER", "-key", str(key_file)]


class OpenSsl:
    """An openssl process; its output is collected, its input is ours to write."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.output = b""

    def fileno(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read_available(self) -> bool:
        """Take what it printed; false once it has exited."""
        chunk = os.read(self.fileno(), 65536)
        self.output += chunk
        return bool(chunk)

    def write_line(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def wait_for(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.output:
            ready, _, _ = select.select([self], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"openssl did not print {text!r}: {self.output!r}"
            assert self.read_available(), f"openssl ended early: {self.output!r}"


@contextlib.contextmanager
def run_openssl(*arguments: str) -> Iterator[OpenSsl]:
    assert OPENSSL is not None
    process = subprocess.Popen(
        [OPENSSL, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield OpenSsl(process)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


class Endpoint:
    """One of our connections on a UDP socket, driven until a condition holds."""

    def __init__(self, connection: Connection, sock: socket.socket, peer: tuple[str, int] | None) -> None:
        self.connection = connection
        self.received: list[bytes] = []
        self.events: list[object] = []
        self._sock = sock
        self._peer = peer

    def send(self, plaintext: bytes) -> None:
        assert self._peer is not None
        self._sock.sendto(self.connection.seal(plaintext), self._peer)

    def run_until(self, condition: Callable[[], bool], process: OpenSsl) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while True:
            self._flush()
            if condition():
                return
            timeout = self.connection.next_timeout()
            wait_until = give_up if timeout is None else min(timeout, give_up)
            ready, _, _ = select.select([self._sock, process], [], [], max(0.0, wait_until - time.monotonic()))
            if process in ready:
                process.read_available()
            if self._sock in ready:
                datagram, self._peer = self._sock.recvfrom(65536)
                self.received += self.connection.receive_datagram(datagram, time.monotonic())
            self.connection.handle_timeout(time.monotonic())
            assert time.monotonic() < give_up, f"state {self.connection.state}, openssl said {process.output!r}"

    def _flush(self) -> None:
        for datagram in self.connection.datagrams_to_send(time.monotonic()):
            if self._peer is not None:
                self._sock.sendto(datagram, self._peer)
        self.events += self.connection.poll_events()
