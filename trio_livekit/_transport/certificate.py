"""Making a certificate to introduce ourselves with (RFC 8827 section 6.5).

It is put together by hand: it is small, and ``cryptography.x509``, which would do it, takes 2 MiB of memory.
"""

from __future__ import annotations

__all__ = ["generate_certificate"]

import secrets
import time

from cryptography.hazmat.primitives.asymmetric import ec

from .._sansio.dtls import LocalCertificate
from .._sansio.dtls import der as asn1
from .._sansio.dtls.key_exchange import encode_point
from .._sansio.dtls.signatures import sign

_DAY_S = 24 * 3600
CLOCK_SKEW_S = 1 * _DAY_S  # some peers do look at the dates, and their clock may be behind ours
LIFETIME_S = 30 * _DAY_S  # what browsers use; nobody keeps a connection that long

_SERIAL_BITS = 159  # 20 bytes, and above zero: RFC 5280 section 4.1.2.2
_V3 = 2


def generate_certificate() -> LocalCertificate:
    """A fresh self-signed ECDSA P-256 certificate, about 100 microseconds of work.

    Name and serial number are random: one certificate per peer connection makes two rooms unlinkable by it.
    """
    private_key = ec.generate_private_key(ec.SECP256R1())
    now = time.time()
    name = _sequence(asn1.element(asn1.SET, _sequence(_object(asn1.COMMON_NAME), _text(secrets.token_hex(8)))))
    algorithm = _sequence(_object(asn1.ECDSA_WITH_SHA256))
    signed = _sequence(
        asn1.element(asn1.VERSION, asn1.integer(_V3)),
        asn1.integer(secrets.randbits(_SERIAL_BITS) | 1),
        algorithm,
        name,
        _sequence(_time(now - CLOCK_SKEW_S), _time(now + LIFETIME_S)),
        name,
        _public_key(private_key.public_key()),
    )
    return LocalCertificate(_sequence(signed, algorithm, _bits(sign(private_key, signed))), private_key)


def _public_key(key: ec.EllipticCurvePublicKey) -> bytes:
    return _sequence(_sequence(_object(asn1.EC_KEY), _object(asn1.P256)), _bits(encode_point(key)))


def _time(seconds: float) -> bytes:
    """An instant of Unix time. Which of two types it has to be depends on the year (RFC 5280 section 4.1.2.5)."""
    instant = time.gmtime(seconds)
    tag, years = (asn1.UTC_TIME, "%y") if instant.tm_year < 2050 else (asn1.GENERALIZED_TIME, "%Y")
    return asn1.element(tag, time.strftime(f"{years}%m%d%H%M%SZ", instant).encode())


def _sequence(*elements: bytes) -> bytes:
    return asn1.element(asn1.SEQUENCE, *elements)


def _object(identifier: bytes) -> bytes:
    return asn1.element(asn1.OBJECT, identifier)


def _text(text: str) -> bytes:
    return asn1.element(asn1.UTF8_STRING, text.encode())


def _bits(data: bytes) -> bytes:
    return asn1.element(asn1.BIT_STRING, b"\x00", data)
