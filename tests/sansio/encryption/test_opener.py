"""Opening what a sender sealed, also when it has ratcheted its key without a word."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from trio_livekit._sansio.encryption.key import Key, KeyDerivation
from trio_livekit._sansio.encryption.keys import Keys
from trio_livekit._sansio.encryption.opener import Failure, Opener
from trio_livekit._sansio.encryption.sealer import Sealer

_random = itertools.count(1)


def key(material: bytes = b"the key") -> Key:
    made = Key(material, KeyDerivation.HKDF)
    made.derive()
    return made


def sealed(key: Key, plaintext: bytes = b"plaintext", index: int = 0) -> tuple[bytes, int, bytes]:
    """Arguments for ``Opener.open``."""
    sealer = Sealer(key, index, lambda size: next(_random).to_bytes(2, "big") * (size // 2))
    data, iv = sealer.seal(plaintext)
    return data, index, iv


def chain(key: Key, length: int) -> list[Key]:
    """A sender's own keys, after so many ratchets."""
    keys = [key]
    for _ in range(length):
        keys.append(keys[-1].ratcheted())
    return keys


@dataclass
class Bench:
    keys: Keys
    opener: Opener

    def search(self) -> int:
        """Derive what is wanted, as far as the window goes; returns how much that was."""
        count = 0
        while (last := self.opener.frontier(0)) is not None:
            last.link(last.ratcheted())
            count += 1
        return count


def bench(window: int = 4, tolerance: int | None = None) -> Bench:
    keys = Keys()
    keys.set(None, key(), 0, send=True)
    return Bench(keys, Opener(keys, "bob", ratchet_window=window, failure_tolerance=tolerance))


def test_open() -> None:
    b = bench()
    assert b.opener.open(*sealed(key())) == b"plaintext"
    assert b.opener.open(*sealed(key(), b"")) == b""


@pytest.mark.parametrize("index", [1, 15, 16, 255, 2**32 - 1])
def test_a_missing_key(index: int) -> None:
    data, _, iv = sealed(key())
    b = bench()
    assert b.opener.open(data, index, iv) is Failure.MISSING_KEY
    assert b.opener.frontier(index) is None


@pytest.mark.parametrize("iv", [b"", bytes(7), bytes(11), bytes(13), bytes(1000)])
def test_vectors_of_another_length_are_no_reason_to_search(iv: bytes) -> None:
    assert bench().opener.open(bytes(100), 0, iv) is Failure.UNDECRYPTABLE


@pytest.mark.parametrize("length", [0, 1, 15])
def test_what_is_too_short_for_a_tag_is_no_reason_to_search(length: int) -> None:
    assert bench().opener.open(bytes(length), 0, bytes(12)) is Failure.UNDECRYPTABLE


def test_a_wrong_key_costs_one_search_and_then_nothing() -> None:
    b = bench()
    wrong = sealed(key(b"another"))
    assert b.opener.open(*wrong) is Failure.SEARCHING
    assert b.search() == 4
    for _ in range(100):
        assert b.opener.open(*wrong) is Failure.UNDECRYPTABLE
    assert b.search() == 0
    assert b.opener.open(*sealed(key())) == b"plaintext"
    other = Opener(b.keys, "carol", ratchet_window=4)  # nor does somebody else's garbage under the same key
    assert other.open(*wrong) is Failure.UNDECRYPTABLE


def test_a_sender_that_ratchets_is_followed() -> None:
    b = bench(window=3)
    theirs = chain(key(), 7)
    for step in (0, 1, 2, 2, 3, 6, 7):
        message = sealed(theirs[step])
        if b.opener.open(*message) is Failure.SEARCHING:
            b.search()
        assert b.opener.open(*message) == b"plaintext"


def test_what_was_under_way_when_a_sender_ratcheted_is_opened_too() -> None:
    b = bench()
    theirs = chain(key(), 2)
    b.search()
    assert b.opener.open(*sealed(theirs[1])) == b"plaintext"
    assert b.opener.open(*sealed(theirs[0])) == b"plaintext"
    assert b.opener.open(*sealed(theirs[2])) == b"plaintext"
    assert b.opener.open(*sealed(theirs[0])) is Failure.SEARCHING  # two ratchets ago is gone for good
    b.search()
    assert b.opener.open(*sealed(theirs[0])) is Failure.UNDECRYPTABLE


def test_beyond_the_window_nothing_is_opened() -> None:
    b = bench(window=3)
    b.search()
    assert b.opener.open(*sealed(chain(key(), 4)[4])) is Failure.UNDECRYPTABLE
    assert b.opener.open(*sealed(chain(key(), 3)[3])) == b"plaintext"


def test_without_a_window_nothing_is_searched() -> None:
    b = bench(window=0)
    assert b.opener.open(*sealed(chain(key(), 1)[1])) is Failure.UNDECRYPTABLE


def test_ratcheting_oneself_moves_everybody_and_keeps_the_key_before() -> None:
    b = bench()
    theirs = chain(key(), 2)
    assert b.opener.open(*sealed(theirs[0])) == b"plaintext"
    ours = b.keys.get(None, None)
    b.keys.ratchet(None, None, ours, ours.link(ours.ratcheted()))
    assert b.opener.open(*sealed(theirs[0])) == b"plaintext"
    assert b.opener.open(*sealed(theirs[1])) == b"plaintext"
    b.search()
    assert b.opener.open(*sealed(theirs[2])) == b"plaintext"


def test_a_key_that_is_set_anew_replaces_all_that_came_of_the_old_one() -> None:
    b = bench()
    theirs = chain(key(), 1)
    b.search()
    assert b.opener.open(*sealed(theirs[1])) == b"plaintext"
    b.keys.set(None, key(b"another"), 0, send=True)
    assert b.opener.open(*sealed(key(b"another"))) == b"plaintext"
    b.search()
    for old in theirs:
        assert b.opener.open(*sealed(old)) is Failure.UNDECRYPTABLE


def test_a_change_elsewhere_keeps_how_far_a_sender_has_ratcheted() -> None:
    b = bench(window=1)
    theirs = chain(key(), 2)
    b.search()
    assert b.opener.open(*sealed(theirs[1])) == b"plaintext"
    b.keys.set("somebody else", key(), 0, send=True)
    b.search()
    assert b.opener.open(*sealed(theirs[2])) == b"plaintext"


def test_a_sender_that_comes_back_with_the_first_key() -> None:
    b = bench(window=3)
    theirs = chain(key(), 3)
    b.search()
    assert b.opener.open(*sealed(theirs[3])) == b"plaintext"
    b.opener.reset()
    assert b.opener.open(*sealed(theirs[0])) == b"plaintext"


def test_failures_are_borne_up_to_the_tolerance_and_a_new_key_is_a_new_start() -> None:
    b = bench(window=0, tolerance=2)
    wrong, right = sealed(key(b"another")), sealed(key())
    for _ in range(2):
        assert b.opener.open(*wrong) is Failure.UNDECRYPTABLE
    assert b.opener.open(*right) == b"plaintext"  # which begins the count anew
    for _ in range(4):
        assert b.opener.open(*wrong) is Failure.UNDECRYPTABLE
    assert b.opener.open(*right) is Failure.UNDECRYPTABLE
    b.keys.set(None, key(), 0, send=True)
    assert b.opener.open(*right) == b"plaintext"


def test_garbage_does_not_cost_a_window_of_decryptions_each(monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(window=4)
    b.search()
    wrong = sealed(key(b"another"))
    tried = []
    genuine = Key.open
    monkeypatch.setattr(Key, "open", lambda self, *message: (tried.append(self), genuine(self, *message))[1])
    for _ in range(320):
        b.opener.open(*wrong)
    assert len(tried) == 4 * (16 + 19)  # the first 16, and then every 16th
    ratcheted = sealed(chain(key(), 1)[1])
    assert b"plaintext" in [b.opener.open(*ratcheted) for _ in range(17)]
