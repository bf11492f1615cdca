"""What fits into a fault and into a response."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.packets.messages import RpcResponse
from trio_livekit._sansio.rpc.faults import clipped, fault, response
from trio_livekit.errors import RpcErrorCode

ANY_TEXT = st.text(st.characters())  # with lone surrogates, which are no text that could be sent


def test_every_code_has_a_text() -> None:
    for code in RpcErrorCode:
        assert fault(code).message


def test_a_result_that_is_too_large_for_a_packet() -> None:
    assert response("id", "x" * 15_360) == RpcResponse("id", "x" * 15_360)
    assert response("id", "x" * 15_361) == RpcResponse("id", fault=fault(RpcErrorCode.RESPONSE_PAYLOAD_TOO_LARGE))


def test_texts_are_cut_between_characters() -> None:
    whole = clipped(42, "ü" * 128, "ü" * 7680)
    assert (whole.message, whole.data) == ("ü" * 128, "ü" * 7680)
    cut = clipped(42, "." + "ü" * 128, "." + "ü" * 7680)
    assert (cut.message, cut.data) == ("." + "ü" * 127, "." + "ü" * 7679)


@given(st.integers(-(2**40), 2**40), ANY_TEXT, ANY_TEXT)
def test_whatever_a_handler_raises_can_be_sent(code: int, message: str, data: str) -> None:
    said = clipped(code, message * 30, data * 500)
    assert 0 <= said.code < 2**32
    assert len(said.message.encode()) <= 256
    assert len(said.data.encode()) <= 15_360
