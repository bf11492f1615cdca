from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.channels.dcep import Open, decode_open, encode_open
from trio_livekit.errors import DecodeError

CAPTURED = {
    bytes.fromhex("0300010000000000") + b"\0\x09\0\0_reliable": Open("_reliable"),
    bytes.fromhex("0381010000000000") + b"\0\x06\0\0_lossy": Open("_lossy", ordered=False, max_retransmits=0),
    bytes.fromhex("0381010000000000") + b"\0\x0b\0\0_data_track": Open("_data_track", ordered=False, max_retransmits=0),
    bytes.fromhex("0300010000000000") + b"\0\x04\0\0chat": Open("chat"),
}


@pytest.mark.parametrize(("encoded", "open_"), CAPTURED.items(), ids=lambda value: getattr(value, "label", None))
def test_captured_from_livekit_server_and_chromium(encoded: bytes, open_: Open):
    assert decode_open(encoded) == open_
    assert encode_open(open_) == encoded


limits = st.one_of(
    st.just({}),
    st.builds(lambda n: {"max_retransmits": n}, st.integers(0, 0xFFFFFFFF)),
    st.builds(lambda n: {"lifetime_ms": n}, st.integers(0, 0xFFFFFFFF)),
)


@given(st.text(max_size=50), st.text(max_size=50), st.booleans(), limits, st.integers(0, 0xFFFF))
def test_round_trip(label: str, protocol: str, ordered: bool, limit: dict, priority: int):
    open_ = Open(label, protocol, ordered, priority=priority, **limit)
    assert decode_open(encode_open(open_)) == open_


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_raise_decode_error(data: bytes):
    try:
        decode_open(data)
    except DecodeError:
        pass


@pytest.mark.parametrize(
    "open_", [Open("x", max_retransmits=1, lifetime_ms=1), Open("x", max_retransmits=2**32), Open("x" * 70_000)]
)
def test_what_dcep_cannot_say(open_: Open):
    with pytest.raises(ValueError, match=r"not both|out of range"):
        encode_open(open_)


@pytest.mark.parametrize("broken", ["03030100000000000000000", "0300010000000000000100" + "00" + "ff"])
def test_unknown_type_and_invalid_utf8(broken: str):
    with pytest.raises(DecodeError):
        decode_open(bytes.fromhex(broken + "0" * (len(broken) % 2)))
