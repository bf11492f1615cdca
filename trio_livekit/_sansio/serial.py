"""Serial number arithmetic (RFC 1982) for the wrapping 16- and 32-bit counters of SCTP and data tracks."""

from __future__ import annotations

__all__ = ["MASK16", "MASK32", "diff16", "diff32", "gt16", "gt32", "gte16", "gte32"]

MASK16 = 0xFFFF
MASK32 = 0xFFFFFFFF


def diff32(a: int, b: int) -> int:
    """``a - b`` as a signed 32-bit distance: positive when ``a`` is ahead of ``b``."""
    return ((a - b + 0x80000000) & MASK32) - 0x80000000


def gt32(a: int, b: int) -> bool:
    """Whether ``a`` is after ``b``."""
    return 0 < (a - b) & MASK32 < 0x80000000


def gte32(a: int, b: int) -> bool:
    """Whether ``a`` is ``b`` or after it."""
    return (a - b) & MASK32 < 0x80000000


def diff16(a: int, b: int) -> int:
    """``a - b`` as a signed 16-bit distance: positive when ``a`` is ahead of ``b``."""
    return ((a - b + 0x8000) & MASK16) - 0x8000


def gt16(a: int, b: int) -> bool:
    """Whether ``a`` is after ``b``."""
    return 0 < (a - b) & MASK16 < 0x8000


def gte16(a: int, b: int) -> bool:
    """Whether ``a`` is ``b`` or after it."""
    return (a - b) & MASK16 < 0x8000
