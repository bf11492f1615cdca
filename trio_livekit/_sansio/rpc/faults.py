"""How calls fail: the built-in codes with the texts that all SDKs send, and what fits into a fault."""

from __future__ import annotations

__all__ = [
    "MAX_DATA_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_METHOD_BYTES",
    "MAX_PACKET_PAYLOAD_BYTES",
    "clipped",
    "fault",
    "response",
    "was_executed",
]

from ...errors import RpcErrorCode
from ..packets.messages import RpcFault, RpcResponse

MAX_PACKET_PAYLOAD_BYTES = 15_360
"""Of UTF-8, in a request or response that is one packet: the limit of all SDKs."""

MAX_MESSAGE_BYTES = 256
"""Of UTF-8, in the message of a fault; SDKs cut off the rest."""

MAX_DATA_BYTES = 15_360
"""Of UTF-8, in the data of a fault; SDKs cut off the rest."""

MAX_METHOD_BYTES = 64
"""Of UTF-8, in the name of a method, as LiveKit's documentation has it."""

_MESSAGES = {
    RpcErrorCode.UNSUPPORTED_METHOD: "Method not supported at destination",
    RpcErrorCode.RECIPIENT_NOT_FOUND: "Recipient not found",
    RpcErrorCode.REQUEST_PAYLOAD_TOO_LARGE: "Request payload too large",
    RpcErrorCode.UNSUPPORTED_SERVER: "RPC not supported by server",
    RpcErrorCode.UNSUPPORTED_VERSION: "Unsupported RPC version",
    RpcErrorCode.TOO_MANY_CALLS: "Too many calls at once",
    RpcErrorCode.APPLICATION_ERROR: "Application error in method handler",
    RpcErrorCode.CONNECTION_TIMEOUT: "Connection timeout",
    RpcErrorCode.RESPONSE_TIMEOUT: "Response timeout",
    RpcErrorCode.RECIPIENT_DISCONNECTED: "Recipient disconnected",
    RpcErrorCode.RESPONSE_PAYLOAD_TOO_LARGE: "Response payload too large",
    RpcErrorCode.SEND_FAILED: "Failed to send",
}

_NOT_EXECUTED = frozenset(
    {
        RpcErrorCode.UNSUPPORTED_METHOD,
        RpcErrorCode.REQUEST_PAYLOAD_TOO_LARGE,
        RpcErrorCode.UNSUPPORTED_VERSION,
        RpcErrorCode.TOO_MANY_CALLS,
    }
)
_EXECUTED = frozenset({RpcErrorCode.APPLICATION_ERROR, RpcErrorCode.RESPONSE_PAYLOAD_TOO_LARGE})
_RESERVED = range(1001, 2000)


def fault(code: RpcErrorCode, data: str = "") -> RpcFault:
    """A fault of a built-in kind."""
    return RpcFault(code, _MESSAGES[code], data)


def was_executed(code: int) -> bool | None:
    """Whether a callee that answers with this code has run the handler; ``None`` where the code does not say."""
    if code in _NOT_EXECUTED:
        return False
    return True if code in _EXECUTED or code not in _RESERVED else None


def clipped(code: int, message: str, data: str) -> RpcFault:
    """A fault with texts as long as they may be. What is not text at all becomes question marks."""
    return RpcFault(code & 0xFFFF_FFFF, _clip(message, MAX_MESSAGE_BYTES), _clip(data, MAX_DATA_BYTES))


def response(request_id: str, payload: str) -> RpcResponse:
    """The packet that carries a result, or says that the result is too large for a packet."""
    if len(payload.encode()) > MAX_PACKET_PAYLOAD_BYTES:
        return RpcResponse(request_id, fault=fault(RpcErrorCode.RESPONSE_PAYLOAD_TOO_LARGE))
    return RpcResponse(request_id, payload)


def _clip(text: str, most_bytes: int) -> str:
    return text.encode(errors="replace")[:most_bytes].decode(errors="ignore")
