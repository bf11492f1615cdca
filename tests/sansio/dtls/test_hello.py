"""Hellos: round trips, values seen from real peers, and any bytes at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.dtls import Config
from trio_livekit._sansio.dtls import handshake as messages
from trio_livekit._sansio.dtls.hello import (
    EXTENDED_MASTER_SECRET,
    ClientHello,
    ServerHello,
    client_extensions,
    decode_hello_verify,
    encode_hello_verify,
    server_extensions,
)
from trio_livekit.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

# Captured from Chromium 156 and livekit-server 1.13.5 (pion dtls 3.1.5): extension numbers and values.
CHROMIUM = {
    43: "04fefcfefd",
    10: "000811ec001d00170018",
    14: "000600010008000700",
    45: "0101",
    51: "04e6" + "00" * 1256,
    13: "0012040308040401050308050501080606010201",
    11: "0100",
    65281: "00",
    23: "",
}
PION = {
    13: "0014040305030603080708040805080604010501" + "0601",
    65281: "00",
    10: "0006001d00180017",
    11: "0100",
    14: "000600080007000100",
    23: "",
}
CHROMIUM_SUITES = [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xCCA9, 0xCCA8, 0xC009, 0xC013, 0xC00A, 0xC014, 0x9C, 0x2F]


def hello_with(extensions: dict[int, str]) -> ClientHello:
    values = {code: bytes.fromhex(value) for code, value in extensions.items()}
    return ClientHello(0xFEFD, bytes(range(32)), b"", b"", CHROMIUM_SUITES, b"\x00", values)


def test_our_client_hello_is_what_peers_were_seen_to_accept() -> None:
    values = {code: value.hex() for code, value in client_extensions(Config()).items()}
    assert values == {
        23: "",
        65281: "00",
        10: "0006001d00170018",
        11: "0100",
        13: "000e" + "0403" + "0804" + "0401" + "0503" + "0805" + "0501" + "0807",
        14: "000600070008000100",
    }


def test_no_srtp_no_extension() -> None:
    assert 14 not in client_extensions(Config(srtp_profiles=()))


@pytest.mark.parametrize(
    ("extensions", "groups", "first_scheme", "profiles"),
    [(CHROMIUM, [0x11EC, 0x1D, 0x17, 0x18], 0x0403, [1, 8, 7]), (PION, [0x1D, 0x18, 0x17], 0x0403, [8, 7, 1])],
    ids=["chromium", "pion"],
)
def test_client_hellos_of_real_peers(
    extensions: dict[int, str], groups: list[int], first_scheme: int, profiles: list[int]
) -> None:
    hello = ClientHello.decode(hello_with(extensions).encode())
    assert hello == hello_with(extensions)
    assert hello.groups == groups
    assert hello.signature_schemes[0] == first_scheme
    assert hello.srtp_profiles == profiles
    answer = server_extensions(hello, 7)
    assert {code: value.hex() for code, value in answer.items()} == {23: "", 65281: "00", 11: "0100", 14: "0002000700"}


def test_a_server_answers_only_what_was_offered() -> None:
    assert server_extensions(hello_with({}), None) == {}
    scsv = ClientHello(0xFEFD, bytes(32), b"", b"", [0xC02B, 0x00FF], b"\x00", {})
    assert server_extensions(scsv, None) == {65281: b"\x00"}
    assert server_extensions(hello_with({23: ""}), None) == {EXTENDED_MASTER_SECRET: b""}


def test_a_hello_without_extensions_says_nothing() -> None:
    body = hello_with({}).encode()
    hello = ClientHello.decode(body[:-2])  # not even an empty list of them
    assert (hello.extensions, hello.groups, hello.signature_schemes, hello.srtp_profiles) == ({}, None, [], [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(33),
        hello_with(PION).encode()[:-1],
        hello_with(PION).encode() + b"\x00",
        hello_with({}).encode()[:-2] + bytes.fromhex("000a 0017 0000 0017 0000 0000"),  # a list longer than its items
        hello_with({}).encode()[:-2] + bytes.fromhex("0008 0017 0000 0017 0000"),  # the same extension twice
    ],
)
def test_malformed_client_hellos(body: bytes) -> None:
    with pytest.raises(DecodeError):
        ClientHello.decode(body)


def test_an_odd_list_of_suites_is_refused() -> None:
    body = bytes.fromhex("fefd") + bytes(32) + b"\x00\x00" + bytes.fromhex("0003 c02bc0 0100")
    with pytest.raises(DecodeError, match="odd"):
        ClientHello.decode(body)


def test_hello_verify_round_trip_with_either_version() -> None:
    assert decode_hello_verify(encode_hello_verify(b"cookie")) == b"cookie"
    assert decode_hello_verify(bytes.fromhex("fefd 02 abcd")) == b"\xab\xcd"
    for body in (b"", b"\xfe", bytes.fromhex("fefd"), bytes.fromhex("fefd 02 ab"), bytes.fromhex("0303 01 ab")):
        with pytest.raises(DecodeError):
            decode_hello_verify(body)


codes = st.integers(0, 0xFFFF)
extensions = st.dictionaries(codes, st.binary(max_size=40), max_size=6)


@given(codes, st.binary(min_size=32, max_size=32), st.binary(max_size=32), st.binary(max_size=255), st.lists(codes),
       st.binary(max_size=255), extensions)  # fmt: skip
def test_client_hello_round_trip(
    version: int, random: bytes, session: bytes, cookie: bytes, suites: list[int], compression: bytes,
    values: dict[int, bytes],
) -> None:  # fmt: skip
    hello = ClientHello(version, random, session, cookie, suites, compression, values)
    assert ClientHello.decode(hello.encode()) == hello


@given(codes, st.binary(min_size=32, max_size=32), st.binary(max_size=32), codes, st.integers(0, 255), extensions)
def test_server_hello_round_trip(
    version: int, random: bytes, session: bytes, suite: int, compression: int, values: dict[int, bytes]
) -> None:
    hello = ServerHello(version, random, session, suite, compression, values)
    assert ServerHello.decode(hello.encode()) == hello


DECODERS: list[Callable[[bytes], object]] = [
    ClientHello.decode,
    ServerHello.decode,
    decode_hello_verify,
    messages.ServerKeyExchange.decode,
    messages.decode_certificate,
    messages.decode_certificate_request,
    messages.decode_certificate_verify,
    messages.decode_client_key_exchange,
    messages.decode_empty,
    lambda data: list(messages.split_fragments(data)),
    lambda data: ClientHello.decode(data).groups,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(data=st.binary(max_size=120))
def test_any_bytes_decode_or_are_refused(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except DecodeError:
        pass


def test_messages_round_trip() -> None:
    exchange = messages.ServerKeyExchange(0x1D, b"p" * 32, 0x0403, b"s" * 70)
    assert messages.ServerKeyExchange.decode(exchange.encode()) == exchange
    assert messages.decode_certificate(messages.encode_certificate(b"der")) == b"der"
    assert messages.decode_certificate(bytes.fromhex("000000")) is None
    assert messages.decode_certificate(bytes.fromhex("00000a 000001 aa 000003 bbccdd")) == b"\xaa"
    assert messages.decode_certificate_verify(messages.encode_certificate_verify(0x0403, b"sig")) == (0x0403, b"sig")
    assert messages.decode_client_key_exchange(messages.encode_client_key_exchange(b"public")) == b"public"
    assert 0x0403 in messages.decode_certificate_request(messages.encode_certificate_request())


def test_the_certificate_request_of_pion() -> None:
    body = bytes.fromhex("0140 0014 0403 0503 0603 0807 0804 0805 0806 0401 0501 0601 0000")
    assert messages.decode_certificate_request(body)[:2] == [0x0403, 0x0503]
