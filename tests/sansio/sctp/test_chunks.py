from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.sctp import chunks as c
from trio_livekit._sansio.sctp.cookie import CookieJar
from trio_livekit._sansio.sctp.negotiation import PeerInfo, make_init, peer_info, unrecognized
from trio_livekit._sansio.sctp.parameters import MAX_PARAMETERS, encode_parameter, split_parameters
from trio_livekit.errors import DecodeError

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)


@given(u32, u32, st.lists(st.tuples(u16, u16), max_size=20), st.lists(u32, max_size=20))
def test_sack_round_trip(cumulative: int, window: int, gaps: list[tuple[int, int]], duplicates: list[int]):
    encoded = c.encode_sack(cumulative, window, gaps, duplicates)
    assert len(encoded) == int.from_bytes(encoded[2:4], "big")
    assert c.decode_sack(encoded[4:]) == (cumulative, window, gaps, duplicates)


@given(u32, st.lists(st.tuples(u16, u16), max_size=20))
def test_forward_tsn_round_trip(cumulative: int, streams: list[tuple[int, int]]):
    encoded = c.encode_forward_tsn(c.ForwardTsn(cumulative, streams))
    assert c.decode_forward_tsn(encoded[4:]) == (cumulative, streams)


@given(u32, u32, u16, u16, u32, st.lists(st.tuples(u16, st.binary(max_size=20)), max_size=5))
def test_init_round_trip(tag, window, out, in_, tsn, parameters):
    init = c.Init(tag, window, out, in_, tsn, tuple(parameters))
    assert c.decode_init(c.encode_init(c.INIT, init)[4:]) == init


@pytest.mark.parametrize("decode", [c.decode_sack, c.decode_init, c.decode_forward_tsn, split_parameters])
@given(data=st.binary(max_size=200))
def test_any_bytes_decode_or_raise_decode_error(decode, data: bytes):
    try:
        decode(data)
    except DecodeError:
        pass


def test_sack_counts_beyond_its_length():
    body = c.encode_sack(1, 2, [(2, 3)], [9])[4:]
    with pytest.raises(DecodeError):
        c.decode_sack(body[:-4])


def test_too_many_parameters():
    with pytest.raises(DecodeError):
        split_parameters(encode_parameter(0x8000, b"") * (MAX_PARAMETERS + 1))


def test_init_of_livekit_server():
    """Captured: RE-CONFIG, FORWARD-TSN and both I-DATA chunks announced, then zero checksum; no 0xC000."""
    init = c.Init(
        1, 1 << 20, 65535, 65535, 5, ((0x8008, bytes.fromhex("82c040c2")), (0x8001, bytes.fromhex("00000001")))
    )
    assert peer_info(init) == PeerInfo(1, 5, 1 << 20, forward_tsn=True, reconfig=True, zero_checksum=True)


def test_init_of_chromium():
    init = c.Init(1, 5 << 20, 65535, 65535, 5, ((0xC000, b""), (0x8008, bytes.fromhex("82c0"))))
    assert peer_info(init) == PeerInfo(1, 5, 5 << 20, forward_tsn=True, reconfig=True, zero_checksum=False)


def test_our_init_announces_both_ways_and_no_interleaving():
    init = make_init(1, 2, 3, zero_checksum=True)
    assert dict(init.parameters) == {0xC000: b"", 0x8008: bytes((130, 192)), 0x8001: bytes((0, 0, 0, 1))}
    assert 0x8001 not in dict(make_init(1, 2, 3, zero_checksum=False).parameters)


def test_zero_checksum_with_another_method_is_not_ours():
    init = c.Init(1, 2, 3, 4, 5, ((0x8001, bytes((0, 0, 0, 2))),))
    assert not peer_info(init).zero_checksum


@pytest.mark.parametrize("init", [c.Init(0, 1, 1, 1, 1), c.Init(1, 1, 0, 1, 1), c.Init(1, 1, 1, 0, 1)])
def test_init_with_zero_tag_or_streams(init: c.Init):
    with pytest.raises(DecodeError):
        peer_info(init)


def test_unknown_parameters_are_reported_as_their_high_bits_ask():
    def reported(*kinds: int) -> list[int]:
        init = c.Init(1, 1, 1, 1, 1, tuple((kind, b"v") for kind in kinds))
        return [int.from_bytes(value[:2], "big") for _, value in unrecognized(init)]

    assert reported(0x8123, 0xC123, 0xC124) == [0xC123, 0xC124]
    assert reported(0x0123, 0xC123) == []  # 00: stop
    assert reported(0x4123, 0xC123) == [0x4123]  # 01: stop and report
    assert len(reported(*range(0xC100, 0xC130))) == 4


def test_cookie_returns_what_was_baked_in_until_it_is_stale():
    jar = CookieJar(b"k" * 32, 60.0)
    peer = PeerInfo(1, 2, 3, forward_tsn=True, reconfig=False, zero_checksum=True)
    cookie = jar.bake(10, 20, peer, 1000.0)
    assert jar.open(cookie, 1060.0) == (10, 20, peer)
    assert jar.open(cookie, 1060.1) is None
    assert CookieJar(b"j" * 32, 60.0).open(cookie, 1000.0) is None
    for at in range(len(cookie)):
        broken = bytearray(cookie)
        broken[at] ^= 1
        assert jar.open(bytes(broken), 1000.0) is None
    assert jar.open(b"", 1000.0) is None
