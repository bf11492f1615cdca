"""DER as far as certificates need it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.dtls import der
from trio_livekit._sansio.dtls.reader import Reader
from trio_livekit.errors import DecodeError


@given(st.binary(max_size=600), st.integers(0, 2**64))
def test_round_trip(content: bytes, value: int) -> None:
    reader = Reader(der.element(der.SEQUENCE, content) + der.integer(value + 1))
    assert reader.peek() == der.SEQUENCE
    assert der.read(reader, der.SEQUENCE) == content
    assert der.read_integer(reader) == value + 1
    reader.finish()


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "020100"), (1, "020101"), (127, "02017f"), (128, "02020080"), (256, "02020100"), (65537, "0203010001")],
)
def test_integers_are_those_of_x690(value: int, encoded: str) -> None:
    assert der.integer(value).hex() == encoded


@pytest.mark.parametrize(
    ("encoded", "why"),
    [("", "0 left"), ("31", "tag 49"), ("30", "0 left"), ("3080", "0 bytes"), ("3083010000", "3 bytes"),
     ("30817f", "shortest"), ("308200ff", "shortest"), ("3002", "2 bytes wanted"), ("30820100", "256 bytes wanted")],
)  # fmt: skip
def test_what_is_no_element_is_refused(encoded: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        der.read(Reader(bytes.fromhex(encoded)), der.SEQUENCE)


@pytest.mark.parametrize("encoded", ["0200", "020100", "0201ff", "02020001", "0202ff80"])
def test_integers_are_positive_and_short(encoded: str) -> None:
    with pytest.raises(DecodeError, match="integer"):
        der.read_integer(Reader(bytes.fromhex(encoded)))


def test_nothing_can_be_peeked_at_the_end() -> None:
    with pytest.raises(DecodeError, match="0 left"):
        Reader(b"").peek()
