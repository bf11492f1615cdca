"""Keys and frames as the other SDKs make them, and frames that were tampered with."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.tracks.vectors import VECTORS
from trio_livekit._sansio.tracks.encryption import SALT, FrameCipher, KeyDerivation, derive_key, ratchet
from trio_livekit._sansio.tracks.packet import decode
from trio_livekit.errors import DecodeError


def cipher(key: bytes, index: int = 0, seed: int = 0) -> FrameCipher:
    return FrameCipher(key, index, random.Random(seed).randbytes)


@pytest.mark.parametrize("vector", VECTORS["e2ee"], ids=lambda vector: f"{vector['kdf']}-{vector['input_key_hex']}")
def test_vector(vector: dict) -> None:
    assert vector["salt"].encode() == SALT
    method = KeyDerivation[vector["kdf"]]
    material = bytes.fromhex(vector["input_key_hex"])
    key = derive_key(material, method)
    assert key.hex() == vector["aes_key_hex"]
    first = ratchet(material, method)
    assert first.hex() == vector["ratchet1_material_hex"]
    ratcheted_key = derive_key(first, method)
    assert ratcheted_key.hex() == vector["ratchet1_aes_key_hex"]
    second = ratchet(first, method)
    assert second.hex() == vector["ratchet2_material_hex"]
    assert derive_key(second, method).hex() == vector["ratchet2_aes_key_hex"]
    for message in vector["messages"]:
        assert message["aad"] is None
        iv, plaintext = bytes.fromhex(message["iv"]), bytes.fromhex(message["plaintext"])
        assert cipher(key).decrypt(bytes.fromhex(message["ciphertext_with_tag"]), iv) == plaintext
        ratcheted = bytes.fromhex(message["ratchet1_ciphertext"])
        assert cipher(ratcheted_key).decrypt(ratcheted, iv) == plaintext
        with pytest.raises(DecodeError):
            cipher(key).decrypt(ratcheted, iv)


@pytest.mark.parametrize("vector", VECTORS["e2ee_packets"], ids=lambda vector: vector["name"])
def test_captured_packets_decrypt(vector: dict) -> None:
    packet = decode(bytes.fromhex(vector["hex"]))
    assert packet.encryption is not None
    core = cipher(bytes.fromhex(vector["aes_key_hex"]))
    assert core.decrypt(packet.payload, packet.encryption.iv) == bytes.fromhex(vector["plaintext"])


@given(st.binary(max_size=100), st.integers(0, 255))
def test_round_trip(payload: bytes, index: int) -> None:
    sealed, info = cipher(bytes(16), index).encrypt(payload)
    assert info.key_index == index
    assert len(sealed) == len(payload) + 16
    assert cipher(bytes(16)).decrypt(sealed, info.iv) == payload


@given(st.binary(max_size=50), st.binary(max_size=20))
def test_any_bytes_decrypt_to_a_decode_error(payload: bytes, iv: bytes) -> None:
    with pytest.raises(DecodeError):
        cipher(bytes(16)).decrypt(payload, iv)


def test_a_changed_bit_is_noticed() -> None:
    sealed, info = cipher(bytes(16)).encrypt(b"payload")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(DecodeError):
            cipher(bytes(16)).decrypt(bytes(changed), info.iv)


def test_vectors_are_never_used_twice() -> None:
    ivs = [core.encrypt(b"")[1].iv for core in (cipher(bytes(16), seed=seed) for seed in range(20)) for _ in range(50)]
    assert len(set(ivs)) == len(ivs)
    last = FrameCipher(bytes(16), 0, lambda size: b"\xff" * size)
    assert last.encrypt(b"")[1].iv == bytes(12)


def test_the_key_is_not_in_the_repr() -> None:
    assert repr(cipher(b"0123456789abcdef", 3)) == "<FrameCipher of key 3>"
