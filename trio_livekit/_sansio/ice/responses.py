"""What we answer to an authentic Binding request (RFC 8445 section 7.3.1). Others get no answer at all."""

from __future__ import annotations

__all__ = ["error_response", "success_response"]

from typing import TYPE_CHECKING

from . import stun

if TYPE_CHECKING:
    from ..types import Address

ROLE_CONFLICT = (487, "Role Conflict")
UNKNOWN_ATTRIBUTE = (420, "Unknown Attribute")


def success_response(request: stun.StunMessage, source: Address, key: bytes) -> bytes:
    attributes = ((stun.XOR_MAPPED_ADDRESS, source),)
    return stun.encode(stun.BINDING, stun.SUCCESS, request.transaction_id, attributes, key=key)


def error_response(request: stun.StunMessage, error: tuple[int, str], key: bytes) -> bytes:
    attributes: list[tuple[int, object]] = [(stun.ERROR_CODE, error)]
    if error is UNKNOWN_ATTRIBUTE:
        attributes.append((stun.UNKNOWN_ATTRIBUTES, request.unknown_required))
    return stun.encode(stun.BINDING, stun.ERROR, request.transaction_id, attributes, key=key)
