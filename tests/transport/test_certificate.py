"""The certificate we introduce ourselves with."""

from __future__ import annotations

import datetime
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from trio_livekit._transport.certificate import generate_certificate


def test_it_is_a_valid_self_signed_p256_certificate() -> None:
    ours = generate_certificate()
    certificate = x509.load_der_x509_certificate(ours.der)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == ours.private_key.public_key()
    assert isinstance(ours.private_key.curve, ec.SECP256R1)
    now = datetime.datetime.now(datetime.UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc
    assert ours.fingerprint().digest == certificate.fingerprint(hashes.SHA256())


def test_no_two_have_anything_in_common() -> None:
    one, other = (x509.load_der_x509_certificate(generate_certificate().der) for _ in range(2))
    assert one.serial_number != other.serial_number
    assert one.subject != other.subject
    assert one.public_key() != other.public_key()


def test_the_key_does_not_show() -> None:
    assert "private_key" not in repr(generate_certificate())


def test_dates_from_2050_on_have_four_digits_for_the_year(monkeypatch) -> None:
    monkeypatch.setattr(time, "time", lambda: datetime.datetime(2049, 12, 15, tzinfo=datetime.UTC).timestamp())
    certificate = x509.load_der_x509_certificate(generate_certificate().der)
    assert (certificate.not_valid_before_utc.year, certificate.not_valid_after_utc.year) == (2049, 2050)
