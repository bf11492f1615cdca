"""Cutting content: nothing lost, nothing too large, no character in two pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.streams.chunking import CHUNK_BYTES, split_bytes, split_text


@given(st.text(), st.integers(4, 40))
def test_text_is_cut_between_characters(text: str, limit: int) -> None:
    pieces = list(split_text(text.encode(), limit))
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join(piece.decode() for piece in pieces) == text


@given(st.binary(), st.integers(1, 40))
def test_bytes_are_cut_anywhere(data: bytes, limit: int) -> None:
    pieces = list(split_bytes(data, limit))
    assert all(len(piece) == limit for piece in pieces[:-1])
    assert b"".join(pieces) == data


@pytest.mark.parametrize("character", ["a", "é", "€", "🦀"])
def test_pieces_are_as_large_as_characters_let_them(character: str) -> None:
    width = len(character.encode())
    text = "x" + character * CHUNK_BYTES
    sizes = [len(piece) for piece in split_text(text.encode())]
    assert all(CHUNK_BYTES - size < width for size in sizes[:-1])
    assert sum(sizes) == len(text.encode())
