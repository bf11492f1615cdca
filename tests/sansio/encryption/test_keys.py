"""Which key a participant has under which index."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.encryption.key import Key, KeyDerivation
from trio_livekit._sansio.encryption.keys import RING_SIZE, Keys
from trio_livekit.errors import MissingKey


def key(material: str = "material") -> Key:
    made = Key(material.encode(), KeyDerivation.HKDF)
    made.derive()
    return made


def test_a_key_of_ones_own_goes_before_the_shared_one_place_by_place() -> None:
    keys, shared, other, own = Keys(), key(), key(), key()
    assert keys.find("alice", 0) is None
    assert keys.sending("alice") is None
    keys.set(None, shared, 0, send=True)
    keys.set(None, other, 1, send=False)
    keys.set("alice", own, 0, send=True)
    assert keys.find("alice", 0).key is own
    assert keys.find("alice", 1).key is other
    assert keys.find("bob", 0).key is shared
    assert keys.sending("alice")[1].key is own
    assert keys.sending("bob")[1].key is shared


def test_the_key_to_send_with() -> None:
    keys = Keys()
    keys.set(None, key(), 3, send=False)  # the first of all is it in any case
    assert keys.sending("me")[0] == 3
    keys.set(None, key(), 4, send=False)
    assert keys.sending("me")[0] == 3
    keys.select(None, 4)
    assert keys.sending("me")[0] == 4
    keys.set(None, key(), 5, send=True)
    assert keys.sending("me")[0] == 5


def test_there_are_16_places() -> None:
    keys = Keys()
    for index in range(RING_SIZE):
        keys.set(None, key(), index, send=True)
    for index in (-1, RING_SIZE):
        with pytest.raises(ValueError, match="0 to 15"):
            keys.set(None, key(), index, send=True)
        with pytest.raises(ValueError, match="0 to 15"):
            keys.select(None, index)
    assert keys.find("alice", RING_SIZE) is None
    assert keys.find("alice", 2**32 - 1) is None


def test_ratcheting_keeps_the_key_before() -> None:
    keys, first = Keys(), key()
    keys.set(None, first, 2, send=True)
    keys.ratchet(None, None, first, first.link(first.ratcheted()))
    slot = keys.find("bob", 2)
    assert slot.previous is first
    assert slot.key is first.successor


def test_a_key_that_was_replaced_meanwhile_is_not_ratcheted() -> None:
    keys, first, second = Keys(), key(), key()
    keys.set(None, first, 0, send=True)
    successor = first.ratcheted()
    keys.set(None, second, 0, send=True)
    keys.ratchet(None, 0, first, successor)
    assert keys.find("bob", 0).key is second


@pytest.mark.parametrize("identity", [None, "bob"])
def test_what_is_not_there(identity: str | None) -> None:
    keys = Keys()
    keys.set("alice", key(), 1, send=True)
    for look in (lambda: keys.get(identity, None), lambda: keys.get(identity, 0), lambda: keys.select(identity, 1)):
        with pytest.raises(MissingKey):
            look()


def test_forgetting_a_participant() -> None:
    keys = Keys()
    keys.set("alice", key(), 1, send=True)
    version = keys.version
    keys.remove("alice")
    assert keys.find("alice", 1) is None
    assert keys.version != version
    keys.remove("alice")


def test_what_has_yet_to_be_derived() -> None:
    keys, waiting = Keys(), Key(b"waiting", KeyDerivation.HKDF)
    keys.set(None, waiting, 0, send=True)
    keys.set("alice", key(), 0, send=True)
    assert list(keys.not_derived()) == [waiting]
    waiting.derive()
    assert list(keys.not_derived()) == []


def test_no_repr_tells_a_key() -> None:
    keys = Keys()
    keys.set("alice", key("the secret"), 1, send=True)
    assert "secret" not in repr((keys, keys.find("alice", 1)))
