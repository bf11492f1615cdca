"""CRC-32C (Castagnoli), the checksum of SCTP packets: RFC 9260 appendix A.

``crc32c(crc, data)`` continues the checksum `crc` (0 to begin) over `data`. ``google_crc32c`` computes it with the
processor's own instruction where a wheel exists; the table below is the same function for everywhere else.
"""

from __future__ import annotations

__all__ = ["crc32c", "crc32c_by_table"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REVERSED_POLYNOMIAL = 0x82F63B78


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (REVERSED_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _table()


def crc32c_by_table(crc: int, data: bytes) -> int:
    """The checksum, one byte at a time."""
    table = _TABLE
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _fastest() -> Callable[[int, bytes], int]:
    try:
        import google_crc32c
    except ImportError:
        return crc32c_by_table
    if google_crc32c.implementation != "c":  # its pure-Python form is slower than ours
        return crc32c_by_table
    extend: Callable[[int, bytes], int] = google_crc32c.extend
    return extend


crc32c = _fastest()
