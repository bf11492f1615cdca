"""First byte to protocol."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.demux import DTLS, OTHER, PROTOCOLS, RTP, STUN, TURN_CHANNEL, is_rtcp, protocol_of


@pytest.mark.parametrize(
    ("first", "last", "protocol"),
    [
        (0, 3, STUN),
        (4, 19, OTHER),
        (20, 63, DTLS),
        (64, 79, TURN_CHANNEL),
        (80, 127, OTHER),
        (128, 191, RTP),
        (192, 255, OTHER),
    ],
)
def test_ranges(first: int, last: int, protocol: int) -> None:
    for value in range(first, last + 1):
        assert protocol_of(bytes([value, 0])) == protocol
        assert PROTOCOLS[value] == protocol


def test_every_byte_has_a_protocol() -> None:
    assert len(PROTOCOLS) == 256


def test_an_empty_datagram_is_nothing() -> None:
    assert protocol_of(b"") == OTHER


@pytest.mark.parametrize(
    ("datagram", "expected"), [(b"\x80\xc8", True), (b"\x80\xdf", True), (b"\x80\x60", False), (b"\x80", False)]
)
def test_rtcp(datagram: bytes, expected: bool) -> None:
    assert is_rtcp(datagram) is expected
