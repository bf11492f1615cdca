"""Reading TLS presentation language (RFC 5246 section 4): integers and length-prefixed vectors, nothing trusted."""

from __future__ import annotations

__all__ = ["Reader", "vector8", "vector16", "vector24"]

from ...errors import DecodeError


class Reader:
    """A cursor over received bytes. Every read past the end is a ``DecodeError``."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._offset

    def peek(self) -> int:
        """The next byte, which stays to be read."""
        if not self.remaining:
            raise DecodeError("1 byte wanted, 0 left")
        return self._data[self._offset]

    def take(self, length: int) -> bytes:
        end = self._offset + length
        if end > len(self._data):
            raise DecodeError(f"{length} bytes wanted, {self.remaining} left")
        piece = self._data[self._offset : end]
        self._offset = end
        return piece

    def uint(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """An opaque vector whose length is written in ``width`` bytes."""
        return self.take(self.uint(width))

    def uint16_list(self, width: int) -> list[int]:
        """A vector of 16-bit codes: cipher suites, groups, signature schemes, SRTP profiles."""
        return split_uint16(self.vector(width))

    def finish(self) -> None:
        """Raise unless everything was read."""
        if self.remaining:
            raise DecodeError(f"{self.remaining} bytes too many")


def split_uint16(data: bytes) -> list[int]:
    if len(data) % 2:
        raise DecodeError("a list of 16-bit codes has an odd length")
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data), 2)]


def vector8(data: bytes) -> bytes:
    return len(data).to_bytes(1, "big") + data


def vector16(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def vector24(data: bytes) -> bytes:
    return len(data).to_bytes(3, "big") + data
