"""Requests and responses as the attributes of text streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.packets.messages import RpcRequest, RpcResponse
from trio_livekit._sansio.rpc.attributes import (
    parse_request,
    parse_response,
    request_attributes,
    response_attributes,
)
from trio_livekit.errors import DecodeError

NAMES = st.text(min_size=1, max_size=20)


def test_the_names_on_the_wire() -> None:
    assert request_attributes(RpcRequest("id", "echo", "payload", 8000, 2)) == {
        "lk.rpc_request_id": "id",
        "lk.rpc_request_method": "echo",
        "lk.rpc_request_response_timeout_ms": "8000",
        "lk.rpc_request_version": "2",
    }
    assert response_attributes("id") == {"lk.rpc_request_id": "id"}


@given(NAMES, NAMES, st.text(), st.integers(0, 2**32), st.integers(0, 9))
def test_round_trip(name: str, method: str, payload: str, timeout_ms: int, version: int) -> None:
    request = RpcRequest(name, method, payload, timeout_ms, version)
    assert parse_request(request_attributes(request), payload) == request
    assert parse_response(response_attributes(name), payload) == RpcResponse(name, payload)


def test_a_number_of_javascript() -> None:
    attributes = request_attributes(RpcRequest("id", "echo", "", 1, 2))
    attributes["lk.rpc_request_response_timeout_ms"] = "8000.25"
    assert parse_request(attributes, "").response_timeout_ms == 8000


@pytest.mark.parametrize("missing", request_attributes(RpcRequest("id", "echo", "", 1, 2)))
def test_a_request_without_one_of_them(missing: str) -> None:
    attributes = request_attributes(RpcRequest("id", "echo", "", 1, 2))
    del attributes[missing]
    with pytest.raises(DecodeError, match=missing):
        parse_request(attributes, "")


@pytest.mark.parametrize("number", ["", "x", "-1", "1e9", "٣", "9" * 16, "NaN", " 1"])
def test_a_request_with_a_number_that_is_none(number: str) -> None:
    attributes = request_attributes(RpcRequest("id", "echo", "", 1, 2))
    attributes["lk.rpc_request_version"] = number
    with pytest.raises(DecodeError):
        parse_request(attributes, "")


@given(st.dictionaries(st.sampled_from([*request_attributes(RpcRequest("i", "m", "", 1, 2)), "x"]), st.text()))
def test_any_attributes(attributes: dict[str, str]) -> None:
    for parse in (parse_request, parse_response):
        try:
            parse(attributes, "")
        except DecodeError:
            pass
