"""Ephemeral Diffie-Hellman on X25519, P-256 and P-384 (RFC 8422 section 5)."""

from __future__ import annotations

__all__ = ["KeyShare", "encode_point"]

from dataclasses import field
from typing import TYPE_CHECKING, assert_never

from cryptography.hazmat.primitives.asymmetric import ec, x25519

from ..records import dataclass
from .alerts import Alert, HandshakeError
from .suites import SECP256R1, SECP384R1, X25519

if TYPE_CHECKING:
    from ..types import RandomBytes

# Group orders, to derive a private scalar from injected randomness: SEC 2 (version 2) sections 2.4.2 and 2.5.1.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973

_CURVES: dict[int, tuple[ec.EllipticCurve, int]] = {
    SECP256R1: (ec.SECP256R1(), _P256_ORDER),
    SECP384R1: (ec.SECP384R1(), _P384_ORDER),
}
_UNCOMPRESSED = 4  # the only point format RFC 8422 section 5.1.2 leaves


@dataclass(frozen=True, slots=True)
class KeyShare:
    """Our half of one key agreement; never used twice.

    Attributes:
        group: the named group.
        public: what goes on the wire: 32 raw bytes (X25519) or an uncompressed point.
    """

    group: int
    public: bytes
    _private: x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls, group: int, random_bytes: RandomBytes) -> KeyShare:
        if group == X25519:
            private = x25519.X25519PrivateKey.from_private_bytes(random_bytes(32))
            return cls(group, private.public_key().public_bytes_raw(), private)
        curve, order = _CURVES[group]
        # 64 bits more than the order has, so that the remainder is not biased (FIPS 186-5 appendix A.4.1).
        scalar = int.from_bytes(random_bytes(curve.key_size // 8 + 8), "big") % (order - 1) + 1
        key = ec.derive_private_key(scalar, curve)
        return cls(group, encode_point(key.public_key()), key)

    def agree(self, peer_public: bytes) -> bytes:
        """The premaster secret.

        Raises:
            HandshakeError: the peer's value is no point of the group, or gives an all-zero secret (RFC 7748 section 6).
        """
        try:
            match self._private:
                case x25519.X25519PrivateKey() as private:
                    return private.exchange(x25519.X25519PublicKey.from_public_bytes(peer_public))
                case ec.EllipticCurvePrivateKey() as private:
                    if peer_public[:1] != bytes((_UNCOMPRESSED,)):
                        raise ValueError("not an uncompressed point")
                    point = ec.EllipticCurvePublicKey.from_encoded_point(private.curve, peer_public)
                    return private.exchange(ec.ECDH(), point)
                case unexpected:
                    assert_never(unexpected)
        except ValueError as error:
            raise HandshakeError(Alert.ILLEGAL_PARAMETER, "the peer's key share is not valid for its group") from error


def encode_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """The uncompressed point (SEC 1 section 2.3.3), without importing all that cryptography knows of key formats."""
    numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
    return bytes((_UNCOMPRESSED,)) + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
