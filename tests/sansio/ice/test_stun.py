"""The STUN codec: RFC 5769 vectors, captures, and whatever else may arrive."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.ice import stun
from trio_livekit.errors import DecodeError

# RFC 5769 sections 2.1 to 2.3 (short-term credentials, password below) and 2.4 (long-term credentials).
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
RESPONSE_V4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RESPONSE_V6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)


def test_rfc5769_request() -> None:
    message = stun.decode(REQUEST)
    assert (message.method, message.message_class) == (stun.BINDING, stun.REQUEST)
    assert message.transaction_id == bytes.fromhex("b7e7a701bc34d686fa87dfae")
    assert message.text(stun.SOFTWARE) == "STUN test client"
    assert message.text(stun.USERNAME) == "evtj:h6vY"
    assert message.number(stun.PRIORITY) == 0x6E0001FF
    assert message.number(stun.ICE_CONTROLLED) == 0x932FF9B151263B36
    assert message.unknown_required == []
    assert message.is_authentic(PASSWORD)
    assert not message.is_authentic(PASSWORD + b"x")


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (RESPONSE_V4, ("192.0.2.1", 32853)),
        (RESPONSE_V6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_rfc5769_responses(data: bytes, address: tuple[str, int]) -> None:
    message = stun.decode(data)
    assert (message.method, message.message_class) == (stun.BINDING, stun.SUCCESS)
    assert message.text(stun.SOFTWARE) == "test vector"
    assert message.address(stun.XOR_MAPPED_ADDRESS) == address
    assert message.is_authentic(PASSWORD)


def test_rfc5769_long_term() -> None:
    message = stun.decode(LONG_TERM)
    username = message.text(stun.USERNAME)
    assert username == "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
    assert message.text(stun.REALM) == "example.org"
    assert message.opaque(stun.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    assert message.is_authentic(stun.long_term_key(username, "example.org", "TheMatrIX"))


def test_a_check_as_pion_sends_it() -> None:
    """Attribute order of a captured pion Binding request."""
    data = stun.encode(
        stun.BINDING,
        stun.REQUEST,
        b"transaction!",
        [
            (stun.USERNAME, "ours:theirs"),
            (stun.ICE_CONTROLLING, 2**64 - 1),
            (stun.PRIORITY, 0x7EFFFFFF),
            (stun.USE_CANDIDATE, None),
        ],
        key=b"pwd",
    )
    message = stun.decode(data)
    assert message.number(stun.PRIORITY) == 0x7EFFFFFF
    assert message.has(stun.USE_CANDIDATE)
    assert message.is_authentic(b"pwd")
    assert data[-8:-4] == b"\x80\x28\x00\x04"
    assert len(data) == 20 + 16 + 12 + 8 + 4 + 24 + 8


def with_attributes(*raw: tuple[int, bytes], kind: int = 1) -> bytes:
    body = b"".join(struct.pack("!HH", t, len(v)) + v + bytes(-len(v) & 3) for t, v in raw)
    return struct.pack("!HHI12s", kind, len(body), stun.COOKIE, b"t" * 12) + body


def test_unknown_attributes_below_0x8000_are_reported_those_above_are_not() -> None:
    message = stun.decode(with_attributes((0x0ABC, b"x"), (0xC057, b"\0\0\x03\xe7"), (0x8ABC, b"")))
    assert message.unknown_required == [0x0ABC]
    assert message.attributes == {}


def test_of_duplicates_the_first_counts() -> None:
    message = stun.decode(with_attributes((stun.PRIORITY, b"\0\0\0\1"), (stun.PRIORITY, b"\0\0\0\2")))
    assert message.number(stun.PRIORITY) == 1


def test_what_follows_message_integrity_does_not_count() -> None:
    signed = stun.encode(stun.BINDING, stun.REQUEST, b"t" * 12, [], key=b"k", fingerprint=False)
    extra = struct.pack("!HH", stun.USE_CANDIDATE, 0) + struct.pack("!HHI", stun.PRIORITY, 4, 9)
    data = signed[:2] + struct.pack("!H", len(signed) - 20 + len(extra)) + signed[4:] + extra
    message = stun.decode(data)
    assert message.is_authentic(b"k")
    assert message.attributes == {}


def test_a_message_without_integrity_is_authentic_to_nobody() -> None:
    assert not stun.decode(with_attributes()).is_authentic(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        REQUEST[:19],
        REQUEST[:-1],
        REQUEST + b"\0\0\0\0",
        b"\x40" + REQUEST[1:],
        REQUEST[:4] + b"\0\0\0\0" + REQUEST[8:],
        REQUEST[:-1] + b"\0",  # FINGERPRINT
        with_attributes((stun.FINGERPRINT, b"\0\0\0")),
        with_attributes((stun.FINGERPRINT, b"\0\0\0\0"), (stun.PRIORITY, b"\0\0\0\1")),
        with_attributes((stun.MESSAGE_INTEGRITY, bytes(19))),
        with_attributes((stun.MESSAGE_INTEGRITY, bytes(0))),
        with_attributes((stun.XOR_MAPPED_ADDRESS, b"")),
        with_attributes((stun.XOR_MAPPED_ADDRESS, b"\0\1\0\0")),
        with_attributes((stun.XOR_MAPPED_ADDRESS, b"\0\3" + bytes(6))),
        with_attributes((stun.ERROR_CODE, b"\0\0")),
        with_attributes((stun.PRIORITY, b"\0")),
        with_attributes((stun.USERNAME, b"\xff")),
        with_attributes(*[(stun.SOFTWARE, b"")] * 129),
        struct.pack("!HHI12sHH", 1, 4, stun.COOKIE, b"t" * 12, stun.USERNAME, 4),
    ],
)
def test_what_does_not_parse(data: bytes) -> None:
    with pytest.raises(DecodeError):
        stun.decode(data)


def test_malformed_optional_attributes_are_skipped() -> None:
    message = stun.decode(with_attributes((stun.SOFTWARE, b"\xff\xfe"), (stun.ALTERNATE_SERVER, b"\1")))
    assert message.attributes == {}


def test_is_stun() -> None:
    assert stun.is_stun(REQUEST)
    assert not stun.is_stun(REQUEST[:19])
    assert not stun.is_stun(b"\x16" + REQUEST[1:])
    assert not stun.is_stun(REQUEST[:4] + b"\0\0\0\0" + REQUEST[8:])


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        stun.decode(data)
    except DecodeError:
        pass


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=8), st.integers(0, 0x3FFF))
def test_any_attributes(raw: list[tuple[int, bytes]], kind: int) -> None:
    try:
        message = stun.decode(with_attributes(*raw, kind=kind))
    except DecodeError:
        return
    message.is_authentic(b"key")
    message.error()


ADDRESSES = st.tuples(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(0, 0xFFFF))
VALUES: dict[int, st.SearchStrategy[object]] = {
    stun.USERNAME: st.text(max_size=60),
    stun.PRIORITY: st.integers(0, 2**32 - 1),
    stun.ICE_CONTROLLING: st.integers(0, 2**64 - 1),
    stun.XOR_MAPPED_ADDRESS: ADDRESSES,
    stun.XOR_PEER_ADDRESS: ADDRESSES,
    stun.XOR_RELAYED_ADDRESS: ADDRESSES,
    stun.ALTERNATE_SERVER: ADDRESSES,
    stun.DATA: st.binary(max_size=60),
    stun.NONCE: st.binary(max_size=60),
    stun.REALM: st.text(max_size=30),
    stun.LIFETIME: st.integers(0, 2**32 - 1),
    stun.CHANNEL_NUMBER: st.integers(0, 0xFFFF),
    stun.NOMINATION: st.integers(0, 2**32 - 1),
    stun.ERROR_CODE: st.tuples(st.integers(300, 699), st.text(max_size=20)),
    stun.USE_CANDIDATE: st.none(),
}


@given(st.fixed_dictionaries({}, optional=VALUES), st.binary(min_size=12, max_size=12), st.booleans())
def test_round_trip(attributes: dict[int, object], transaction_id: bytes, signed: bool) -> None:
    key = b"key" if signed else None
    data = stun.encode(stun.ALLOCATE, stun.ERROR, transaction_id, list(attributes.items()), key=key)
    message = stun.decode(data)
    assert (message.method, message.message_class) == (stun.ALLOCATE, stun.ERROR)
    assert message.transaction_id == transaction_id
    assert message.attributes == attributes
    assert message.is_authentic(b"key") is signed
