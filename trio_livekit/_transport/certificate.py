"""Making a certificate to introduce ourselves with (RFC 8827 section 6.5)."""

from __future__ import annotations

__all__ = ["generate_certificate"]

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from .._sansio.dtls import LocalCertificate

CLOCK_SKEW = datetime.timedelta(days=1)  # some peers do look at the dates, and their clock may be behind ours
LIFETIME = datetime.timedelta(days=30)  # what browsers use; nobody keeps a connection that long


def generate_certificate() -> LocalCertificate:
    """A fresh self-signed ECDSA P-256 certificate, about 100 microseconds of work.

    Name and serial number are random: one certificate per peer connection makes two rooms unlinkable by it.
    """
    private_key = ec.generate_private_key(ec.SECP256R1())
    serial_number = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{serial_number % 2**64:016x}")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(serial_number)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .sign(private_key, hashes.SHA256())
    )
    return LocalCertificate(certificate.public_bytes(Encoding.DER), private_key)
