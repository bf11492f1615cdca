"""Fingerprints, certificates, and signatures by them."""

from __future__ import annotations

import contextlib
import datetime

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.dtls import Fingerprint, HandshakeError
from trio_livekit._sansio.dtls import der as asn1
from trio_livekit._sansio.dtls.certificate import PeerIdentity, load_public_key
from trio_livekit._sansio.dtls.reader import Reader
from trio_livekit._sansio.dtls.signatures import SIGNATURE_SCHEMES, sign, verify
from trio_livekit.errors import DecodeError

from .helpers import CLIENT_CERTIFICATE, OTHER_CERTIFICATE

DER = CLIENT_CERTIFICATE.der
GOOD = CLIENT_CERTIFICATE.fingerprint()
BAD = OTHER_CERTIFICATE.fingerprint()

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey


def certify(key: PrivateKey, *, extra_bytes: int = 0) -> bytes:
    """A self-signed certificate for any key, grown by an extension if asked."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2021, 1, 1))
    )
    if extra_bytes:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(extra_bytes))
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


def digest(name: str) -> Fingerprint:
    algorithm = {"sha-1": hashes.SHA1(), "sha-384": hashes.SHA384(), "sha-512": hashes.SHA512(), "md5": hashes.MD5()}
    return Fingerprint(name, x509.load_der_x509_certificate(DER).fingerprint(algorithm[name]))


def test_fingerprint_text_round_trip() -> None:
    text = str(GOOD)
    assert text.startswith("sha-256 ")
    assert len(text) == len("sha-256 ") + 95
    assert text[8:] == text[8:].upper()
    assert Fingerprint.parse(text) == GOOD
    assert Fingerprint.parse(text.lower()) == GOOD
    assert Fingerprint.parse(text.upper()) == GOOD


@pytest.mark.parametrize(
    "text",
    ["", "sha-256", "sha-256 ", "sha-256 AB", "sha-256 AB:C", "sha-256 A:BC", f"sha-256{str(GOOD)[8:]}", f"{GOOD}:",
     f"{GOOD}:00", str(GOOD).replace(":", "-"), str(GOOD)[:-1] + "G", "sha-256 +1:+2"],
)  # fmt: skip
def test_malformed_fingerprints(text: str) -> None:
    with pytest.raises(DecodeError):
        Fingerprint.parse(text)


@given(st.text(max_size=60) | st.text(":0123456789abcdef- ", max_size=120))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        fingerprint = Fingerprint.parse(text)
    except DecodeError:
        return
    assert Fingerprint.parse(str(fingerprint)) == fingerprint


@pytest.mark.parametrize("name", ["sha-384", "sha-512"])
def test_longer_hashes_match(name: str) -> None:
    assert digest(name).matches(DER)
    assert not digest(name).matches(OTHER_CERTIFICATE.der)


@pytest.mark.parametrize("name", ["sha-1", "md5"])
def test_weak_hashes_match_nothing(name: str) -> None:
    assert not digest(name).matches(DER)


def test_identity_is_verified_once_both_halves_are_known() -> None:
    early, late = PeerIdentity([GOOD]), PeerIdentity([])
    assert not early.verified
    early.present(DER)
    assert early.verified
    late.present(DER)
    assert not late.verified
    late.announce([BAD, GOOD])
    assert late.verified


def test_identity_mismatch_names_the_certificate() -> None:
    identity = PeerIdentity([BAD])
    with pytest.raises(HandshakeError, match=f"fingerprint mismatch.*{GOOD}") as caught:
        identity.present(DER)
    assert caught.value.proven
    late = PeerIdentity([])
    late.present(DER)
    with pytest.raises(HandshakeError, match="only md5, sha-1, which"):
        late.announce([digest("sha-1"), digest("md5")])


KEYS: list[PrivateKey] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(),
    rsa.generate_private_key(65537, 2048),
]


@pytest.mark.parametrize("key", KEYS)
def test_accepted_keys(key: PrivateKey) -> None:
    assert load_public_key(certify(key)) == key.public_key()


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP521R1()), ec.generate_private_key(ec.SECP256K1()),
     rsa.generate_private_key(65537, 1024), dsa.generate_private_key(1024)],
)  # fmt: skip
def test_refused_keys(key: PrivateKey) -> None:
    with pytest.raises(HandshakeError, match="unsupported kind"):
        load_public_key(certify(key))


def test_refused_certificates() -> None:
    for der in (b"", b"\x30\x00", DER[:-1], DER + b"\x00", bytes(100)):
        with pytest.raises(HandshakeError, match="cannot be read"):
            load_public_key(der)
    with pytest.raises(HandshakeError, match="bytes"):
        load_public_key(certify(KEYS[0], extra_bytes=17_000))


CERTIFICATES = [certify(key) for key in KEYS]


@given(st.sampled_from(CERTIFICATES), st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=3))
def test_a_changed_certificate_is_refused_or_has_the_key_that_others_read(der: bytes, changes: list[tuple[int, int]]):
    forged = bytearray(der)
    for at, value in changes:
        forged[at % len(forged)] = value
    try:
        key = load_public_key(bytes(forged))
    except HandshakeError:
        assert changes
        return
    with contextlib.suppress(ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        assert key == x509.load_der_x509_certificate(bytes(forged)).public_key()


def test_certificates_of_version_one_are_read() -> None:
    whole = Reader(asn1.read(Reader(DER), asn1.SEQUENCE))
    signed = asn1.read(whole, asn1.SEQUENCE)
    version = asn1.element(asn1.VERSION, asn1.integer(2))
    assert signed.startswith(version)
    old = asn1.element(asn1.SEQUENCE, signed.removeprefix(version))
    certificate = asn1.element(asn1.SEQUENCE, old, whole.take(whole.remaining))
    assert load_public_key(certificate) == CLIENT_CERTIFICATE.private_key.public_key()


def signed_by(key: PrivateKey, scheme: int) -> bytes:
    data = b"what is signed"
    algorithm = hashes.SHA384() if scheme in (0x0503, 0x0501, 0x0805) else hashes.SHA256()
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(data, ec.ECDSA(algorithm))
        case ed25519.Ed25519PrivateKey():
            return key.sign(data)
        case rsa.RSAPrivateKey():
            pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
            return key.sign(data, pss if scheme >= 0x0800 else padding.PKCS1v15(), algorithm)
    raise AssertionError


FITTING = {0: (0x0403, 0x0503), 1: (0x0403, 0x0503), 2: (0x0807,), 3: (0x0804, 0x0805, 0x0401, 0x0501)}


@pytest.mark.parametrize("number", FITTING)
def test_signatures_verify_with_the_schemes_that_fit_the_key_only(number: int) -> None:
    key = KEYS[number]
    public = load_public_key(certify(key))
    for scheme in SIGNATURE_SCHEMES:
        signature = signed_by(key, scheme)
        if scheme in FITTING[number]:
            verify(public, scheme, signature, b"what is signed")
            with pytest.raises(HandshakeError):
                verify(public, scheme, signature, b"something else")
            with pytest.raises(HandshakeError):
                verify(public, scheme, b"", b"what is signed")
        else:
            with pytest.raises(HandshakeError):
                verify(public, scheme, signature, b"what is signed")


def test_sha1_is_not_a_scheme() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(HandshakeError, match="not offered"):
        verify(key.public_key(), 0x0203, key.sign(b"x", ec.ECDSA(hashes.SHA1())), b"x")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_own_signatures(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    scheme = 0x0403 if curve.key_size == 256 else 0x0503
    verify(key.public_key(), scheme, sign(key, b"data"), b"data")
