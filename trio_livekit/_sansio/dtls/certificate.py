"""Certificates and the fingerprints that stand for them in SDP (RFC 8122, RFC 8827 section 6.5).

WebRTC certificates are self-signed and anonymous: names, dates and chains mean nothing. What identifies the peer is
that the digest of its leaf certificate was announced over signalling, and that it proved to own the certificate's key.
"""

from __future__ import annotations

__all__ = ["Fingerprint", "LocalCertificate", "PeerIdentity", "load_public_key"]

import hashlib
import hmac
from dataclasses import field
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ...errors import DecodeError
from ..records import dataclass
from . import der as asn1
from .alerts import Alert, HandshakeError
from .reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CERTIFICATE_BYTES = 16 * 1024  # DER of one certificate; real ones have 300 to 2000 bytes
RSA_BITS = range(2048, 8192 + 1)

DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""Digests we trust. RFC 8122 lists md5, md2 and sha-1 as well, and forbids using them."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of a certificate, as the SDP attribute ``a=fingerprint`` carries it.

    Attributes:
        algorithm: hash name in lower case, such as ``sha-256``. It may be one we do not trust: then it matches nothing.
        digest: the raw digest.
    """

    algorithm: str
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read ``sha-256 AB:CD:...`` in either case. Raises ``DecodeError``."""
        algorithm, _, colons = text.strip().partition(" ")
        pairs = colons.strip().split(":")
        if not algorithm or any(len(pair) != 2 for pair in pairs):
            raise DecodeError("a fingerprint is a hash name, a space and colon-separated bytes")
        try:
            digest = bytes.fromhex("".join(pairs))
        except ValueError as error:
            raise DecodeError("a fingerprint has digits that are not hexadecimal") from error
        expected = DIGEST_BYTES.get(algorithm.lower())
        if len(digest) != len(pairs) or (expected is not None and len(digest) != expected):
            raise DecodeError(f"a {algorithm} fingerprint of {len(digest)} bytes")
        return cls(algorithm.lower(), digest)

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digest.hex(':').upper()}"

    @property
    def usable(self) -> bool:
        """Whether the hash is one we trust."""
        return self.algorithm in DIGEST_BYTES

    def matches(self, der: bytes) -> bool:
        """Whether this is the digest of the certificate ``der``."""
        if not self.usable:
            return False
        digest = hashlib.new(self.algorithm.replace("-", ""), der).digest()
        return hmac.compare_digest(digest, self.digest)


@dataclass(frozen=True, slots=True)
class LocalCertificate:
    """Our certificate with its key.

    Attributes:
        der: the certificate.
        private_key: an ECDSA key on P-256 or P-384.
    """

    der: bytes
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)

    def fingerprint(self) -> Fingerprint:
        """The SHA-256 fingerprint to announce in SDP."""
        return Fingerprint("sha-256", hashlib.sha256(self.der).digest())


class PeerIdentity:
    """Who the peer must be, and who it turned out to be; either may become known first."""

    __slots__ = ("_fingerprints", "certificate")

    def __init__(self, fingerprints: Iterable[Fingerprint]) -> None:
        self._fingerprints = tuple(fingerprints)
        self.certificate: bytes | None = None

    @property
    def verified(self) -> bool:
        """Whether the certificate was presented, and is one that signalling announced."""
        return self.certificate is not None and bool(self._fingerprints)

    def present(self, der: bytes) -> None:
        """The peer has shown, and proved to own, this certificate. Raises ``HandshakeError`` on a mismatch."""
        self.certificate = der
        self._check()

    def announce(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Signalling says what the peer's certificate must be. Raises ``HandshakeError`` on a mismatch."""
        self._fingerprints = tuple(fingerprints)
        self._check()

    def _check(self) -> None:
        if self.certificate is None or not self._fingerprints:
            return
        # RFC 8122 section 5 allows several lines, for several certificates or several hashes: one match is enough.
        if any(fingerprint.matches(self.certificate) for fingerprint in self._fingerprints):
            return
        raise HandshakeError(Alert.BAD_CERTIFICATE, self._mismatch(self.certificate), proven=True)

    def _mismatch(self, der: bytes) -> str:
        if not any(fingerprint.usable for fingerprint in self._fingerprints):
            names = ", ".join(sorted({fingerprint.algorithm for fingerprint in self._fingerprints}))
            return f"fingerprint mismatch: signalling announced only {names}, which is not trusted"
        seen = Fingerprint("sha-256", hashlib.sha256(der).digest())
        return f"fingerprint mismatch: the peer's certificate is {seen}, which signalling did not announce"


def load_public_key(der: bytes) -> PublicKey:
    """The key of a peer's certificate. Raises ``HandshakeError`` unless it is one whose signatures we accept."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise HandshakeError(Alert.BAD_CERTIFICATE, f"a certificate of {len(der)} bytes")
    try:
        key = _decode_key(*asn1.read_public_key(der))
    except (DecodeError, ValueError, UnsupportedAlgorithm) as error:
        raise HandshakeError(Alert.BAD_CERTIFICATE, "the peer's certificate cannot be read") from error
    if key is None:
        raise HandshakeError(Alert.UNSUPPORTED_CERTIFICATE, "the peer's certificate has a key of an unsupported kind")
    return key


_CURVES: dict[bytes, ec.EllipticCurve] = {
    asn1.element(asn1.OBJECT, asn1.P256): ec.SECP256R1(),
    asn1.element(asn1.OBJECT, asn1.P384): ec.SECP384R1(),
}


def _decode_key(kind: bytes, parameters: bytes, bits: bytes) -> PublicKey | None:
    """``None`` for a kind that is not supported. Raises ``DecodeError`` or ``ValueError`` for what is no such key."""
    if kind == asn1.EC_KEY and parameters in _CURVES:  # RFC 5480 section 2
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[parameters], bits)
    if kind == asn1.ED25519_KEY and not parameters:  # RFC 8410 section 4
        return ed25519.Ed25519PublicKey.from_public_bytes(bits)
    if kind == asn1.RSA_KEY and parameters == asn1.element(asn1.NULL):  # RFC 3279 section 2.3.1
        outer = Reader(bits)
        pair = Reader(asn1.read(outer, asn1.SEQUENCE))
        outer.finish()
        modulus, exponent = asn1.read_integer(pair), asn1.read_integer(pair)
        pair.finish()
        return rsa.RSAPublicNumbers(exponent, modulus).public_key() if modulus.bit_length() in RSA_BITS else None
    return None
