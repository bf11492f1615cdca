"""The cipher suites, groups and SRTP profiles of this implementation: one table each, nothing computed.

Only AEAD suites with ephemeral key agreement exist here. What is not in a table cannot be negotiated, so there is no
switch by which a peer could talk us down to CBC, RSA key transport, NULL or compression.
"""

from __future__ import annotations

__all__ = [
    "ECDHE_ECDSA_AES_128_GCM",
    "ECDHE_ECDSA_AES_256_GCM",
    "ECDHE_ECDSA_CHACHA20",
    "ECDHE_RSA_AES_128_GCM",
    "ECDHE_RSA_AES_256_GCM",
    "ECDHE_RSA_CHACHA20",
    "GROUPS",
    "SECP256R1",
    "SECP384R1",
    "SRTP_AEAD_AES_128_GCM",
    "SRTP_AEAD_AES_256_GCM",
    "SRTP_AES128_CM_SHA1_80",
    "SUITES",
    "X25519",
    "Aead",
    "Authentication",
    "CipherSuite",
]

import enum

from ..records import dataclass


class Aead(enum.Enum):
    AES_GCM = "aes-gcm"  # RFC 5288: 4 bytes of IV from the key block, 8 explicit in every record
    CHACHA20_POLY1305 = "chacha20-poly1305"  # RFC 7905: 12 bytes of IV, nothing explicit


class Authentication(enum.Enum):
    """What kind of key the server's certificate has (RFC 8422 section 2)."""

    ECDSA = "ecdsa"
    RSA = "rsa"


@dataclass(frozen=True, slots=True)
class CipherSuite:
    code: int
    name: str
    authentication: Authentication
    aead: Aead
    key_bytes: int
    iv_bytes: int
    hash_name: str  # of the PRF and of the transcript


ECDHE_ECDSA_AES_128_GCM = 0xC02B
ECDHE_ECDSA_AES_256_GCM = 0xC02C
ECDHE_RSA_AES_128_GCM = 0xC02F
ECDHE_RSA_AES_256_GCM = 0xC030
ECDHE_RSA_CHACHA20 = 0xCCA8
ECDHE_ECDSA_CHACHA20 = 0xCCA9

_EC, _RSA, _GCM, _CHACHA = Authentication.ECDSA, Authentication.RSA, Aead.AES_GCM, Aead.CHACHA20_POLY1305

SUITES = {
    suite.code: suite
    for suite in (
        CipherSuite(ECDHE_ECDSA_AES_128_GCM, "ECDHE-ECDSA-AES128-GCM-SHA256", _EC, _GCM, 16, 4, "sha256"),
        CipherSuite(ECDHE_RSA_AES_128_GCM, "ECDHE-RSA-AES128-GCM-SHA256", _RSA, _GCM, 16, 4, "sha256"),
        CipherSuite(ECDHE_ECDSA_CHACHA20, "ECDHE-ECDSA-CHACHA20-POLY1305", _EC, _CHACHA, 32, 12, "sha256"),
        CipherSuite(ECDHE_RSA_CHACHA20, "ECDHE-RSA-CHACHA20-POLY1305", _RSA, _CHACHA, 32, 12, "sha256"),
        CipherSuite(ECDHE_ECDSA_AES_256_GCM, "ECDHE-ECDSA-AES256-GCM-SHA384", _EC, _GCM, 32, 4, "sha384"),
        CipherSuite(ECDHE_RSA_AES_256_GCM, "ECDHE-RSA-AES256-GCM-SHA384", _RSA, _GCM, 32, 4, "sha384"),
    )
}
"""In order of preference: AES-128 first, being fastest where the CPU has AES; pion as server follows our order."""

X25519 = 0x001D
SECP256R1 = 0x0017
SECP384R1 = 0x0018

GROUPS = (X25519, SECP256R1, SECP384R1)
"""secp256r1 is never left out: OpenSSL refuses a client that does not list the curve of the server's certificate."""

SRTP_AES128_CM_SHA1_80 = 0x0001  # RFC 5764 section 4.1.2
SRTP_AEAD_AES_128_GCM = 0x0007  # RFC 7714 section 14.2
SRTP_AEAD_AES_256_GCM = 0x0008
