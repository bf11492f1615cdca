"""UDP segmentation offload: one system call carries many datagrams (Linux UDP_SEGMENT and UDP_GRO).

A send of forty-eight equal datagrams costs about a tenth per datagram of what forty-eight sends cost. The receiver
needs nothing: the kernel (or the network card) cuts the buffer into ordinary datagrams. Elsewhere than on Linux, and
on kernels before 4.18, everything here answers "no" and the endpoint sends one by one.
"""

from __future__ import annotations

__all__ = [
    "MAX_RUN_BYTES",
    "MAX_RUN_DATAGRAMS",
    "enable_coalescing",
    "kernel_segments",
    "run_end",
    "segment_size",
    "segmentation_header",
]

import functools
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_RUN_DATAGRAMS = 48
"""Datagrams in one call. The kernel takes 64 (128 since 6.9); the gain is flat from about 32."""

MAX_RUN_BYTES = 65000
"""Bytes in one call. The kernel refuses (EMSGSIZE) what does not fit one IP packet of 65,535 bytes with its headers."""

_SOL_UDP = 17  # linux/udp.h; named in `socket` only on some platforms, like the two options below (Python 3.12)
_UDP_SEGMENT = 103
_UDP_GRO = 104
_UINT16 = struct.Struct("=H")
_INT = struct.Struct("=i")

GRO_ANCILLARY_BYTES = socket.CMSG_SPACE(_INT.size) if hasattr(socket, "CMSG_SPACE") else 0


@functools.cache
def kernel_segments() -> bool:
    """Whether this kernel knows UDP_SEGMENT. Probed once per process, on a socket of its own."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(_SOL_UDP, _UDP_SEGMENT, 1200)
    except OSError:
        return False
    return True


@functools.cache
def segmentation_header(size: int) -> list[tuple[int, int, bytes]]:
    """The ancillary data that asks the kernel to cut a buffer every ``size`` bytes. Not to be changed: it is cached."""
    return [(_SOL_UDP, _UDP_SEGMENT, _UINT16.pack(size))]


def enable_coalescing(sock: socket.socket, enabled: bool) -> bool:
    """Ask for UDP_GRO (or stop asking); return whether the kernel agreed."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        sock.setsockopt(_SOL_UDP, _UDP_GRO, int(enabled))
    except OSError:
        return False
    return True


def segment_size(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """How long each datagram of a coalesced buffer is; 0 when the buffer is one datagram."""
    for level, kind, value in ancillary:
        if level == _SOL_UDP and kind == _UDP_GRO and len(value) >= _INT.size:
            size: int = _INT.unpack_from(value)[0]
            return size
    return 0


def run_end(datagrams: Sequence[bytes], start: int) -> int:
    """Index after the longest run from ``start`` that one segmented send may carry.

    All datagrams of a run are equally long, except that a shorter one may end it.
    """
    size = len(datagrams[start])
    if not size:
        return start + 1
    end = start + 1
    last = min(len(datagrams), start + min(MAX_RUN_DATAGRAMS, max(1, MAX_RUN_BYTES // size)))
    while end < last:
        length = len(datagrams[end])
        if length != size:
            return end + 1 if 0 < length < size else end
        end += 1
    return end
