"""The key schedule, against published values where there are any (OpenSSL checks the rest: see tests/interop)."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.dtls.alerts import HandshakeError
from trio_livekit._sansio.dtls.key_exchange import KeyShare
from trio_livekit._sansio.dtls.keys import Agreement, MasterSecret, prf
from trio_livekit._sansio.dtls.suites import GROUPS, SECP256R1, SECP384R1, SUITES, X25519, CipherSuite
from trio_livekit.testing.pair import seeded_random_bytes

# Posted to the IETF TLS working group for TLS 1.2 implementers: mailarchive.ietf.org, "Test vectors for TLS 1.2 PRF".
PRF_SECRET = bytes.fromhex("9bbe436ba940f017b17652849a71db35")
PRF_SEED = bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c")
PRF_OUTPUT = bytes.fromhex(
    "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17"
    "abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"
)


def test_prf_sha256() -> None:
    assert prf("sha256", PRF_SECRET, b"test label", PRF_SEED, 100) == PRF_OUTPUT


def test_prf_is_a_stream() -> None:
    assert prf("sha384", b"s", b"l", b"seed", 10) == prf("sha384", b"s", b"l", b"seed", 100)[:10]
    assert prf("sha384", b"s", b"l", b"seed", 0) == b""


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_key_block_is_cut_in_order(suite: CipherSuite) -> None:
    master = MasterSecret(suite, b"c" * 32, b"s" * 32, b"m" * 48)
    keys = master.traffic_keys()
    length = 2 * (suite.key_bytes + suite.iv_bytes)
    block = prf(suite.hash_name, b"m" * 48, b"key expansion", b"s" * 32 + b"c" * 32, length)
    assert keys.client_key + keys.server_key + keys.client_iv + keys.server_iv == block
    assert (len(keys.client_key), len(keys.server_iv)) == (suite.key_bytes, suite.iv_bytes)


def test_extended_and_legacy_master_secrets_differ_in_what_they_bind() -> None:
    suite = SUITES[0xC02B]
    extended, legacy = (Agreement(suite, b"c" * 32, b"s" * 32, flag) for flag in (True, False))
    assert extended.master_secret(b"pms", b"one").secret != extended.master_secret(b"pms", b"two").secret
    assert legacy.master_secret(b"pms", b"one").secret == legacy.master_secret(b"pms", b"two").secret
    assert len(extended.master_secret(b"pms", b"one").secret) == 48


def test_secrets_stay_out_of_repr() -> None:
    master = MasterSecret(SUITES[0xC02B], b"c" * 32, b"s" * 32, b"hidden" * 8)
    text = repr(master) + repr(master.traffic_keys()) + repr(KeyShare.generate(X25519, seeded_random_bytes(1)))
    assert "hidden" not in text
    assert repr(master.traffic_keys().client_key) not in text


def test_key_log_line() -> None:
    master = MasterSecret(SUITES[0xC02B], b"\x01" * 32, b"s" * 32, b"\x02" * 48)
    assert master.key_log_line() == "CLIENT_RANDOM " + "01" * 32 + " " + "02" * 48


@pytest.mark.parametrize("group", GROUPS)
def test_both_ends_agree(group: int) -> None:
    one, other = (KeyShare.generate(group, seeded_random_bytes(seed)) for seed in (1, 2))
    assert one.agree(other.public) == other.agree(one.public)
    assert one.public != other.public


def test_x25519_vector_of_rfc_7748() -> None:
    # Section 6.1: Alice's private key, Bob's public key, and their shared secret.
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    share = KeyShare.generate(X25519, lambda n: private[:n])
    assert share.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    bob = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert share.agree(bob).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


@pytest.mark.parametrize(
    ("group", "public"),
    [
        (X25519, bytes(32)),  # the all-zero result
        (X25519, b"\x01" + bytes(31)),  # another point of small order
        (X25519, bytes(31)),
        (X25519, bytes(33)),
        (X25519, b""),
        (SECP256R1, b""),
        (SECP256R1, b"\x00"),  # the point at infinity
        (SECP256R1, b"\x04" + bytes(64)),  # not on the curve
        (SECP256R1, b"\x04" + b"\xff" * 64),
        (SECP256R1, b"\x04" + bytes(10)),
        (SECP256R1, b"\x02" + KeyShare.generate(SECP256R1, seeded_random_bytes(3)).public[1:33]),  # compressed
        (SECP256R1, KeyShare.generate(SECP384R1, seeded_random_bytes(3)).public),
        (SECP384R1, KeyShare.generate(SECP256R1, seeded_random_bytes(3)).public),
    ],
)
def test_invalid_shares_are_refused(group: int, public: bytes) -> None:
    share = KeyShare.generate(group, seeded_random_bytes(4))
    with pytest.raises(HandshakeError):
        share.agree(public)
