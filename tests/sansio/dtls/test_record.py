"""Records: layout, protection, and what is dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.dtls.record import (
    ALERT,
    APPLICATION_DATA,
    HEADER,
    ChaChaOpener,
    ChaChaSealer,
    GcmOpener,
    GcmSealer,
    PlainSealer,
    split_records,
)
from trio_livekit._sansio.dtls.replay import ReplayWindow
from trio_livekit.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

KEY, GCM_IV, CHACHA_IV = bytes(range(16)), b"salt", bytes(range(100, 112))
CHACHA_KEY = bytes(range(32))
EPOCH_1 = 1 << 48

Sealer = GcmSealer | ChaChaSealer
Opener = GcmOpener | ChaChaOpener


def gcm() -> tuple[Sealer, Opener]:
    return GcmSealer(KEY, GCM_IV), GcmOpener(KEY, GCM_IV, ReplayWindow(64))


def chacha() -> tuple[Sealer, Opener]:
    return ChaChaSealer(CHACHA_KEY, CHACHA_IV), ChaChaOpener(CHACHA_KEY, CHACHA_IV, ReplayWindow(64))


both = pytest.mark.parametrize("make", [gcm, chacha])


def open_record(opener: Opener, data: bytes) -> bytes | None:
    (record,) = split_records(data)
    return opener.open(record.kind, record.number, record.data)


def test_gcm_record_is_laid_out_as_rfc_5288_says() -> None:
    sealer, _ = gcm()
    sealer.seal(b"first")
    number = EPOCH_1 + 1
    additional = number.to_bytes(8, "big") + bytes.fromhex("17fefd0006")
    ciphertext = AESGCM(KEY).encrypt(GCM_IV + number.to_bytes(8, "big"), b"second", additional)
    expected = bytes.fromhex("17fefd 0001 000000000001 001e 0001000000000001") + ciphertext
    assert sealer.seal(b"second") == expected


def test_chacha_record_is_laid_out_as_rfc_7905_says() -> None:
    sealer, _ = chacha()
    sealer.seal(b"first")
    number = EPOCH_1 + 1
    nonce = bytes(a ^ b for a, b in zip(CHACHA_IV, bytes(4) + number.to_bytes(8, "big"), strict=True))
    additional = number.to_bytes(8, "big") + bytes.fromhex("17fefd0006")
    ciphertext = ChaCha20Poly1305(CHACHA_KEY).encrypt(nonce, b"second", additional)
    assert sealer.seal(b"second") == bytes.fromhex("17fefd 0001 000000000001 0016") + ciphertext


@both
def test_what_is_sealed_opens(make: Callable[[], tuple[Sealer, Opener]]) -> None:
    sealer, opener = make()
    for size in (0, 1, 1200, 2**14):
        assert open_record(opener, sealer.seal(bytes(size))) == bytes(size)
    assert open_record(opener, sealer.seal(b"\x01\x00", ALERT)) == b"\x01\x00"


@both
def test_a_burst_is_the_same_as_one_by_one(make: Callable[[], tuple[Sealer, Opener]]) -> None:
    (one, _), (many, _) = make(), make()
    plaintexts = [bytes([i]) * i for i in range(20)]
    assert many.seal_many(plaintexts) == [one.seal(plaintext) for plaintext in plaintexts]
    assert many.seal(b"next") == one.seal(b"next")
    assert many.seal_many([]) == []


@both
def test_every_changed_bit_is_noticed(make: Callable[[], tuple[Sealer, Opener]]) -> None:
    sealer, opener = make()
    data = sealer.seal(b"precious")
    for bit in range(len(data) * 8):
        forged = bytearray(data)
        forged[bit // 8] ^= 1 << bit % 8
        kind, _, number, _ = HEADER.unpack_from(forged)
        if 8 <= bit < 24 or 88 <= bit < 104:
            continue  # version and length are judged before a record gets here
        assert opener.open(kind, number, bytes(forged)) is None
    assert open_record(opener, data) == b"precious"


@both
def test_a_replayed_record_opens_once(make: Callable[[], tuple[Sealer, Opener]]) -> None:
    sealer, opener = make()
    first, second = sealer.seal(b"1"), sealer.seal(b"2")
    assert open_record(opener, second) == b"2"
    assert open_record(opener, second) is None
    assert open_record(opener, first) == b"1"
    assert open_record(opener, first) is None


@both
def test_a_forged_number_does_not_move_the_window(make: Callable[[], tuple[Sealer, Opener]]) -> None:
    sealer, opener = make()
    data = sealer.seal(b"genuine")
    assert opener.open(APPLICATION_DATA, (2 << 48) - 1, data) is None
    assert open_record(opener, data) == b"genuine"


@both
def test_a_record_too_short_to_be_one_is_dropped(make: Callable[[], tuple[Sealer, Opener]]) -> None:
    _, opener = make()
    for length in range(24):
        data = HEADER.pack(APPLICATION_DATA, 0xFEFD, EPOCH_1, length) + bytes(length)
        assert opener.open(APPLICATION_DATA, EPOCH_1, data) is None


@pytest.mark.parametrize(
    "sealer",
    [
        GcmSealer(KEY, GCM_IV, first_sequence=2**48 - 3),
        ChaChaSealer(CHACHA_KEY, CHACHA_IV, first_sequence=2**48 - 3),
    ],
)
def test_numbers_run_out_rather_than_over(sealer: Sealer) -> None:
    with pytest.raises(TransportError):
        sealer.seal_many([b"", b"", b""])
    sealer.seal_many([b""])
    sealer.seal(b"")
    with pytest.raises(TransportError):
        sealer.seal(b"")


def test_plain_records_are_numbered() -> None:
    sealer = PlainSealer()
    assert sealer.seal(b"a", ALERT) == bytes.fromhex("15fefd 0000 000000000000 0001") + b"a"
    assert sealer.seal(b"b", ALERT) == bytes.fromhex("15fefd 0000 000000000001 0001") + b"b"


def test_several_records_in_a_datagram() -> None:
    sealer = PlainSealer()
    records = [sealer.seal(bytes(size), ALERT) for size in (3, 0, 7)]
    split = list(split_records(b"".join(records)))
    assert [record.data for record in split] == records
    assert [record.number for record in split] == [0, 1, 2]


def test_a_malformed_record_ends_the_datagram() -> None:
    good = PlainSealer().seal(b"good", ALERT)
    too_long = HEADER.pack(ALERT, 0xFEFD, 1, 2**14 + 257) + bytes(2**14 + 257)
    assert len(list(split_records(good + good[:-1]))) == 1
    assert len(list(split_records(good + too_long + good))) == 1


@given(st.binary(max_size=200))
def test_any_bytes_split_into_pieces_of_themselves(data: bytes) -> None:
    assert data.startswith(b"".join([record.data for record in split_records(data)]))
