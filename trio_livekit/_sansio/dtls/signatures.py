"""Signing and verifying ServerKeyExchange and CertificateVerify (RFC 5246 section 4.7, RFC 8422 section 5.4)."""

from __future__ import annotations

__all__ = ["SIGNATURE_SCHEMES", "sign", "signature_scheme", "verify"]

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from .alerts import Alert, HandshakeError

if TYPE_CHECKING:
    from .certificate import PublicKey

ECDSA_SHA256 = 0x0403
ECDSA_SHA384 = 0x0503
RSA_PSS_SHA256 = 0x0804
RSA_PSS_SHA384 = 0x0805
RSA_PKCS1_SHA256 = 0x0401
RSA_PKCS1_SHA384 = 0x0501
ED25519 = 0x0807

_ECDSA: dict[int, hashes.HashAlgorithm] = {ECDSA_SHA256: hashes.SHA256(), ECDSA_SHA384: hashes.SHA384()}
_RSA_PKCS1: dict[int, hashes.HashAlgorithm] = {RSA_PKCS1_SHA256: hashes.SHA256(), RSA_PKCS1_SHA384: hashes.SHA384()}
_RSA_PSS: dict[int, hashes.HashAlgorithm] = {RSA_PSS_SHA256: hashes.SHA256(), RSA_PSS_SHA384: hashes.SHA384()}

SIGNATURE_SCHEMES = (
    ECDSA_SHA256,
    RSA_PSS_SHA256,
    RSA_PKCS1_SHA256,
    ECDSA_SHA384,
    RSA_PSS_SHA384,
    RSA_PKCS1_SHA384,
    ED25519,
)
"""Offered in this order, and exactly what ``verify`` accepts: nothing with SHA-1."""


def signature_scheme(private_key: ec.EllipticCurvePrivateKey) -> int:
    """The scheme our own key signs with: the hash that goes with its curve."""
    return ECDSA_SHA384 if isinstance(private_key.curve, ec.SECP384R1) else ECDSA_SHA256


def sign(private_key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return private_key.sign(data, ec.ECDSA(_ECDSA[signature_scheme(private_key)]))


def verify(key: PublicKey, scheme: int, signature: bytes, data: bytes) -> None:
    """Raise ``HandshakeError`` unless ``signature`` over ``data`` was made with the private half of ``key``."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and scheme in _ECDSA:
            # TLS 1.2 does not bind the hash to the curve: sha384 with P-256 is allowed.
            key.verify(signature, data, ec.ECDSA(_ECDSA[scheme]))
        elif isinstance(key, rsa.RSAPublicKey) and scheme in _RSA_PKCS1:
            key.verify(signature, data, padding.PKCS1v15(), _RSA_PKCS1[scheme])
        elif isinstance(key, rsa.RSAPublicKey) and scheme in _RSA_PSS:
            algorithm = _RSA_PSS[scheme]
            key.verify(signature, data, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
        elif isinstance(key, ed25519.Ed25519PublicKey) and scheme == ED25519:
            key.verify(signature, data)
        else:
            raise HandshakeError(
                Alert.ILLEGAL_PARAMETER, f"signature scheme {scheme:#06x} was not offered, or not for such a key"
            )
    except InvalidSignature as error:
        raise HandshakeError(Alert.DECRYPT_ERROR, "a handshake signature is wrong") from error
