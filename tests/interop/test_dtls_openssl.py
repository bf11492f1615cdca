"""Our DTLS against OpenSSL's, in both roles."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trio_livekit._sansio.dtls import (
    Config,
    Connection,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionState,
    Fingerprint,
    HandshakeCompleted,
    LocalCertificate,
    Role,
)
from trio_livekit._transport.certificate import generate_certificate

from ..support.livekit import free_port
from .openssl import Endpoint, OpenSsl, needs_openssl, run_openssl, udp_socket, write_certificate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_openssl

EXPORT_LABEL = "EXTRACTOR-dtls_srtp"
EXPORT_BYTES = 56
COMMON = ["-dtls1_2", "-keymatexport", EXPORT_LABEL, "-keymatexportlen", str(EXPORT_BYTES)]
SRTP = ["-use_srtp", "SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80"]

ECDSA_SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
}
RSA_SUITES = {
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
    "ECDHE-RSA-CHACHA20-POLY1305": 0xCCA8,
}
GROUPS = {"X25519": 0x1D, "P-256": 0x17, "P-384": 0x18}


@pytest.fixture
def ours() -> LocalCertificate:
    return generate_certificate()


@pytest.fixture
def theirs() -> LocalCertificate:
    return generate_certificate()


def connection(role: Role, ours: LocalCertificate, peer: Fingerprint, config: Config | None = None) -> Connection:
    return Connection(role, certificate=ours, random_bytes=os.urandom, remote_fingerprints=[peer], config=config)


def exported(process: OpenSsl) -> bytes:
    match = re.search(rb"Keying material: ([0-9A-F]+)", process.output)
    assert match, process.output
    return bytes.fromhex(match[1].decode())


def check_session(endpoint: Endpoint, process: OpenSsl) -> None:
    """Connected, data both ways, equal exported keys, and a goodbye the peer understands."""
    connection = endpoint.connection
    endpoint.run_until(lambda: bool(endpoint.events), process)
    assert isinstance(endpoint.events[0], HandshakeCompleted), endpoint.events
    endpoint.send(b"from us\n")
    endpoint.run_until(lambda: b"from us\n" in process.output and b"Keying material: " in process.output, process)
    process.write_line(b"from them")
    endpoint.run_until(lambda: endpoint.received == [b"from them\n"], process)
    assert connection.export_keying_material(EXPORT_LABEL.encode(), EXPORT_BYTES) == exported(process)


def run_as_client(config: Config, ours: LocalCertificate, peer: Fingerprint, options: list[str]) -> Endpoint:
    port = free_port("udp")
    with run_openssl("s_server", "-accept", f"127.0.0.1:{port}", *COMMON, *options) as process, udp_socket() as sock:
        process.wait_for(b"ACCEPT")
        endpoint = Endpoint(connection(Role.CLIENT, ours, peer, config), sock, ("127.0.0.1", port))
        endpoint.connection.start(time.monotonic())
        check_session(endpoint, process)
        endpoint.connection.close(time.monotonic())
        endpoint.run_until(lambda: b"\nDONE\n" in process.output, process)
        return endpoint


def run_as_server(config: Config, ours: LocalCertificate, peer: Fingerprint, options: list[str]) -> Endpoint:
    with udp_socket() as sock:
        address = "{}:{}".format(*sock.getsockname())
        with run_openssl("s_client", "-connect", address, *COMMON, *options) as process:
            endpoint = Endpoint(connection(Role.SERVER, ours, peer, config), sock, None)
            endpoint.connection.start(time.monotonic())
            check_session(endpoint, process)
            process.write_line(b"Q")  # s_client's own command: close
            endpoint.run_until(lambda: ConnectionClosed() in endpoint.events, process)
            assert endpoint.connection.state is ConnectionState.CLOSED
            return endpoint


@pytest.mark.parametrize("suite", ECDSA_SUITES)
def test_client_with_each_ecdsa_suite(
    suite: str, ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path
) -> None:
    options = [*write_certificate(theirs, tmp_path), "-Verify", "1", "-cipher", suite]
    endpoint = run_as_client(Config(), ours, theirs.fingerprint(), options)
    assert endpoint.connection.peer_certificate == theirs.der


@pytest.mark.parametrize("suite", ECDSA_SUITES)
def test_server_with_each_ecdsa_suite(
    suite: str, ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path
) -> None:
    options = [*write_certificate(theirs, tmp_path), "-cipher", suite]
    endpoint = run_as_server(Config(), ours, theirs.fingerprint(), options)
    assert endpoint.connection.peer_certificate == theirs.der


@pytest.mark.parametrize("group", GROUPS)
def test_client_with_each_group(group: str, ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    # P-256 has to be there: OpenSSL takes the groups to limit the curves of certificates as well.
    config = Config(groups=tuple(dict.fromkeys((GROUPS[group], GROUPS["P-256"]))))
    options = [*write_certificate(theirs, tmp_path), "-Verify", "1"]
    run_as_client(config, ours, theirs.fingerprint(), options)


@pytest.mark.parametrize("group", GROUPS)
def test_server_with_each_group(group: str, ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    config = Config(groups=(GROUPS[group],))
    run_as_server(config, ours, theirs.fingerprint(), write_certificate(theirs, tmp_path))


@pytest.mark.parametrize("suite", RSA_SUITES)
def test_client_accepts_an_rsa_certificate(suite: str, ours: LocalCertificate, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem, template = tmp_path / "rsa.pem", x509.load_der_x509_certificate(ours.der)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    pem.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    peer = Fingerprint("sha-256", certificate.fingerprint(hashes.SHA256()))
    run_as_client(Config(), ours, peer, ["-cert", str(pem), "-key", str(pem), "-Verify", "1", "-cipher", suite])


def test_client_without_a_certificate_request(ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    run_as_client(Config(), ours, theirs.fingerprint(), write_certificate(theirs, tmp_path))


def test_client_answers_hello_verify_request(ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    options = [*write_certificate(theirs, tmp_path), "-Verify", "1", "-listen"]
    run_as_client(Config(), ours, theirs.fingerprint(), options)


def test_server_sends_hello_verify_request(ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    options = write_certificate(theirs, tmp_path)
    run_as_server(Config(verify_hello=True), ours, theirs.fingerprint(), options)


def test_client_negotiates_srtp(ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    options = [*write_certificate(theirs, tmp_path), "-Verify", "1", *SRTP]
    endpoint = run_as_client(Config(), ours, theirs.fingerprint(), options)
    assert endpoint.events[0] == HandshakeCompleted(srtp_profile=0x0008)  # s_server takes the first of its own list


def test_server_negotiates_srtp(ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    endpoint = run_as_server(Config(), ours, theirs.fingerprint(), [*write_certificate(theirs, tmp_path), *SRTP])
    assert endpoint.events[0] == HandshakeCompleted(srtp_profile=0x0007)


def test_small_datagrams(ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path) -> None:
    options = [*write_certificate(theirs, tmp_path), "-mtu", "300"]
    run_as_server(Config(mtu=256), ours, theirs.fingerprint(), options)
    run_as_client(Config(mtu=256), ours, theirs.fingerprint(), [*options, "-Verify", "1"])


def test_wrong_server_certificate_ends_the_handshake(
    ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path
) -> None:
    port, options = free_port("udp"), write_certificate(theirs, tmp_path)
    with (
        run_openssl("s_server", "-accept", f"127.0.0.1:{port}", *COMMON, *options) as process,
        udp_socket() as sock,
    ):
        process.wait_for(b"ACCEPT")
        endpoint = Endpoint(connection(Role.CLIENT, ours, ours.fingerprint()), sock, ("127.0.0.1", port))
        endpoint.connection.start(time.monotonic())
        endpoint.run_until(lambda: b"alert bad certificate" in process.output, process)
    (failure,) = endpoint.events
    assert isinstance(failure, ConnectionFailed)
    assert "fingerprint mismatch" in failure.reason


def test_client_without_certificate_is_refused(
    ours: LocalCertificate, theirs: LocalCertificate, tmp_path: Path
) -> None:
    with udp_socket() as sock:
        address = "{}:{}".format(*sock.getsockname())
        with run_openssl("s_client", "-connect", address, *COMMON) as process:
            config = Config(suspicion_s=0.3)
            endpoint = Endpoint(connection(Role.SERVER, ours, theirs.fingerprint(), config), sock, None)
            endpoint.connection.start(time.monotonic())
            endpoint.run_until(lambda: bool(endpoint.events), process)
    (failure,) = endpoint.events
    assert isinstance(failure, ConnectionFailed)
    assert failure.reason == "the client sent no certificate"
