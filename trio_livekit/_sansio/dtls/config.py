"""What a DTLS connection can be told, with the reasons for the defaults."""

from __future__ import annotations

__all__ = ["Config"]

from ..records import dataclass
from .suites import GROUPS, SRTP_AEAD_AES_128_GCM, SRTP_AEAD_AES_256_GCM, SRTP_AES128_CM_SHA1_80, SUITES

MIN_MTU = 200  # a Finished would fit into less, but a certificate would take dozens of datagrams


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one connection; every duration in seconds.

    Attributes:
        mtu: largest datagram a handshake flight may use, in bytes of UDP payload.
        initial_timeout_s: first retransmission after this long, doubling up to ``max_timeout_s``. RFC 6347 suggests one
            second, which would be the whole connect time of a call; twice the ICE round trip is a good value.
        handshake_timeout_s: the handshake as a whole fails after this long.
        fingerprint_timeout_s: how long a finished handshake waits for the peer's fingerprints (its SDP may be late).
        suspicion_s: how long an error that a third party could have forged waits for the genuine handshake to prove it
            wrong, before it is believed; longer if three retransmissions take longer.
        cipher_suites: in order of preference.
        groups: key agreement groups in order of preference.
        srtp_profiles: offered and accepted in this order; empty leaves the extension out.
        verify_hello: as a server, answer the first ClientHello with a HelloVerifyRequest. ICE has already shown that
            the peer receives at its address, and the exchange costs a round trip, so it is off.
        require_extended_master_secret: refuse peers without RFC 7627.
        replay_window: how many records behind the newest one may still arrive. Wider than the customary 64, because
            bursts of that size leave a sender at once and paths reorder.
    """

    mtu: int = 1200
    initial_timeout_s: float = 0.1
    max_timeout_s: float = 3.2
    handshake_timeout_s: float = 30.0
    fingerprint_timeout_s: float = 10.0
    suspicion_s: float = 2.0
    cipher_suites: tuple[int, ...] = tuple(SUITES)
    groups: tuple[int, ...] = GROUPS
    srtp_profiles: tuple[int, ...] = (SRTP_AEAD_AES_128_GCM, SRTP_AEAD_AES_256_GCM, SRTP_AES128_CM_SHA1_80)
    verify_hello: bool = False
    require_extended_master_secret: bool = True
    replay_window: int = 1024

    def __post_init__(self) -> None:
        if self.mtu < MIN_MTU:
            raise ValueError(f"mtu is {self.mtu}, needs at least {MIN_MTU}")
        if not self.cipher_suites or not SUITES.keys() >= set(self.cipher_suites):
            raise ValueError("cipher_suites must name suites of this implementation, at least one")
        if not self.groups or not set(GROUPS) >= set(self.groups):
            raise ValueError("groups must name groups of this implementation, at least one")
        if self.replay_window < 1:
            raise ValueError("replay_window must be positive")
