"""Keys, and what they seal, as the other SDKs make them."""

from __future__ import annotations

import copy
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sansio.tracks.vectors import VECTORS
from trio_livekit._sansio.encryption.key import SALT, Key, KeyDerivation
from trio_livekit._sansio.encryption.sealer import Sealer
from trio_livekit._sansio.tracks.packet import decode


def derived(material: bytes = b"material", method: KeyDerivation = KeyDerivation.HKDF) -> Key:
    key = Key(material, method)
    key.derive()
    return key


def sealer(seed: int = 0, index: int = 0) -> Sealer:
    return Sealer(derived(), index, random.Random(seed).randbytes)


@pytest.mark.parametrize("vector", VECTORS["e2ee"], ids=lambda vector: f"{vector['kdf']}-{vector['input_key_hex']}")
def test_vector(vector: dict) -> None:
    assert vector["salt"].encode() == SALT
    method = KeyDerivation[vector["kdf"]]
    key = derived(bytes.fromhex(vector["input_key_hex"]), method)
    first = key.ratcheted()
    assert first.material.hex() == vector["ratchet1_material_hex"]
    second = first.ratcheted()
    assert second.material.hex() == vector["ratchet2_material_hex"]
    for message in vector["messages"]:
        assert message["aad"] is None
        iv, plaintext = bytes.fromhex(message["iv"]), bytes.fromhex(message["plaintext"])
        assert key.open(bytes.fromhex(message["ciphertext_with_tag"]), iv) == plaintext
        ratcheted = bytes.fromhex(message["ratchet1_ciphertext"])
        assert first.open(ratcheted, iv) == plaintext
        assert key.open(ratcheted, iv) is None
        assert second.open(ratcheted, iv) is None


@pytest.mark.parametrize("vector", VECTORS["e2ee_packets"], ids=lambda vector: vector["name"])
def test_captured_packets_are_opened(vector: dict) -> None:
    packet = decode(bytes.fromhex(vector["hex"]))
    assert packet.encryption is not None
    key = derived(b"password", KeyDerivation.PBKDF2)
    assert vector["aes_key_hex"] == "421890b1557504a8ea1a90c253b419e4"  # which is the one for "password"
    assert key.open(packet.payload, packet.encryption.iv) == bytes.fromhex(vector["plaintext"])


@given(st.binary(max_size=100))
def test_round_trip(plaintext: bytes) -> None:
    sealed, iv = sealer().seal(plaintext)
    assert len(sealed) == len(plaintext) + 16
    assert derived().open(sealed, iv) == plaintext


@given(st.binary(max_size=50), st.binary(max_size=20))
def test_any_bytes_are_not_opened(sealed: bytes, iv: bytes) -> None:
    assert derived().open(sealed, iv) is None


def test_a_changed_bit_is_noticed() -> None:
    sealed, iv = sealer().seal(b"payload")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        assert derived().open(bytes(changed), iv) is None


def test_vectors_are_not_used_twice_and_wrap() -> None:
    ivs = [core.seal(b"")[1] for core in map(sealer, range(20)) for _ in range(50)]
    assert len(set(ivs)) == len(ivs)
    last = Sealer(derived(), 0, lambda size: b"\xff" * size)
    assert last.seal(b"")[1] == bytes(12)


def test_deriving_twice_changes_nothing() -> None:
    key = derived()
    aead = key.aead
    key.derive()
    assert key.aead is aead


def test_the_successor_that_is_there_holds() -> None:
    key = derived()
    first, second = key.ratcheted(), key.ratcheted()
    assert key.link(first) is first
    assert key.link(second) is first


def test_keys_keep_their_material_to_themselves() -> None:
    key = Key(b"the secret")
    assert repr(key) == "<Key not derived yet>"
    assert repr(sealer(index=3)) == "<Sealer of key 3>"
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be copied or pickled"):
            spread(key)
