"""Requests and responses that are text streams (RPC version 2): the payload is the text, the rest is in attributes.

======================================  =====================================
attribute                               of
======================================  =====================================
``lk.rpc_request_id``                   request and response
``lk.rpc_request_method``               request
``lk.rpc_request_response_timeout_ms``  request; decimal
``lk.rpc_request_version``              request; decimal, "2"
======================================  =====================================

Source: ``rpc/utils.ts`` of client-sdk-js, and captures (tests/interop/test_official_sdks.py).
"""

from __future__ import annotations

__all__ = [
    "REQUEST_TOPIC",
    "RESPONSE_TOPIC",
    "parse_request",
    "parse_response",
    "request_attributes",
    "response_attributes",
]

from typing import TYPE_CHECKING

from ...errors import DecodeError
from ..packets.messages import RpcRequest, RpcResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_TOPIC = "lk.rpc_request"
RESPONSE_TOPIC = "lk.rpc_response"

_ID = "lk.rpc_request_id"
_METHOD = "lk.rpc_request_method"
_TIMEOUT_MS = "lk.rpc_request_response_timeout_ms"
_VERSION = "lk.rpc_request_version"

_MAX_DIGITS = 15


def request_attributes(request: RpcRequest) -> dict[str, str]:
    """What goes with a request's payload."""
    return {
        _ID: request.id,
        _METHOD: request.method,
        _TIMEOUT_MS: str(request.response_timeout_ms),
        _VERSION: str(request.version),
    }


def response_attributes(request_id: str) -> dict[str, str]:
    """What goes with a result."""
    return {_ID: request_id}


def parse_request(attributes: Mapping[str, str], payload: str) -> RpcRequest:
    """A request that came as a stream. Raises ``DecodeError``."""
    return RpcRequest(
        _text(attributes, _ID),
        _text(attributes, _METHOD),
        payload,
        _number(attributes, _TIMEOUT_MS),
        _number(attributes, _VERSION),
    )


def parse_response(attributes: Mapping[str, str], payload: str) -> RpcResponse:
    """A result that came as a stream. Raises ``DecodeError``."""
    return RpcResponse(_text(attributes, _ID), payload)


def _text(attributes: Mapping[str, str], key: str) -> str:
    value = attributes.get(key, "")
    if not value:
        raise DecodeError(f"an RPC stream without {key}")
    return value


def _number(attributes: Mapping[str, str], key: str) -> int:
    """A JavaScript number may have a fraction, which does not count."""
    value = _text(attributes, key).partition(".")[0]
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
        raise DecodeError(f"an RPC stream with {key} that is no number")
    return int(value)
