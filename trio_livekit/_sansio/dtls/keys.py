"""The key schedule of TLS 1.2 (RFC 5246 sections 5, 6.3 and 8.1, RFC 7627, RFC 5705).

Orders that are easy to get wrong: the key block is seeded server random first, the master secret and the exporter
client random first; the extended master secret hashes the transcript through ClientKeyExchange, no further.
"""

from __future__ import annotations

__all__ = ["Agreement", "MasterSecret", "TrafficKeys", "prf"]

import hashlib
import hmac
from dataclasses import field
from typing import TYPE_CHECKING

from ..records import dataclass

if TYPE_CHECKING:
    from .suites import CipherSuite

MASTER_SECRET_BYTES = 48
VERIFY_DATA_BYTES = 12


def prf(hash_name: str, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """The pseudorandom function, P_hash of RFC 5246 section 5."""
    seed = label + seed
    block, output = seed, b""
    while len(output) < length:
        block = hmac.digest(secret, block, hash_name)
        output += hmac.digest(secret, block + seed, hash_name)
    return output[:length]


@dataclass(frozen=True, slots=True)
class TrafficKeys:
    """Keys and IVs of both directions."""

    suite: CipherSuite
    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    client_iv: bytes = field(repr=False)
    server_iv: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MasterSecret:
    """The master secret, and all that is derived from it."""

    suite: CipherSuite
    client_random: bytes
    server_random: bytes
    secret: bytes = field(repr=False)

    def traffic_keys(self) -> TrafficKeys:
        suite = self.suite
        seed = self.server_random + self.client_random
        block = prf(suite.hash_name, self.secret, b"key expansion", seed, 2 * (suite.key_bytes + suite.iv_bytes))
        ivs = block[2 * suite.key_bytes :]
        return TrafficKeys(
            suite,
            client_key=block[: suite.key_bytes],
            server_key=block[suite.key_bytes : 2 * suite.key_bytes],
            client_iv=ivs[: suite.iv_bytes],
            server_iv=ivs[suite.iv_bytes :],
        )

    def client_verify_data(self, transcript: bytes) -> bytes:
        return self._verify_data(b"client finished", transcript)

    def server_verify_data(self, transcript: bytes) -> bytes:
        return self._verify_data(b"server finished", transcript)

    def _verify_data(self, label: bytes, transcript: bytes) -> bytes:
        digest = hashlib.new(self.suite.hash_name, transcript).digest()
        return prf(self.suite.hash_name, self.secret, label, digest, VERIFY_DATA_BYTES)

    def export(self, label: bytes, length: int) -> bytes:
        """Keying material for another protocol, without a context value (RFC 5705 section 4)."""
        return prf(self.suite.hash_name, self.secret, label, self.client_random + self.server_random, length)

    def key_log_line(self) -> str:
        """The line Wireshark wants (NSS key log format). It gives the session away: never log it elsewhere."""
        return f"CLIENT_RANDOM {self.client_random.hex()} {self.secret.hex()}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the hellos settled about the master secret, before there is one."""

    suite: CipherSuite
    client_random: bytes
    server_random: bytes
    extended: bool  # RFC 7627; without it only where the configuration allows

    def master_secret(self, premaster: bytes, transcript: bytes) -> MasterSecret:
        """Derive it; ``transcript`` ends with ClientKeyExchange."""
        hash_name = self.suite.hash_name
        if self.extended:
            label, seed = b"extended master secret", hashlib.new(hash_name, transcript).digest()
        else:
            label, seed = b"master secret", self.client_random + self.server_random
        secret = prf(hash_name, premaster, label, seed, MASTER_SECRET_BYTES)
        return MasterSecret(self.suite, self.client_random, self.server_random, secret)
