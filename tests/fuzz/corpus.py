"""Real datagrams, in the clear, by kind: one file each in ``corpus``, one datagram a line, with where it came from.

A line is ``source direction hex``: ``pion in 1388...``. ``record.py`` makes the files anew.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path(__file__).parent / "corpus"

KINDS = ("stun", "dtls", "sctp", "dcep", "track", "packet", "response", "request")
"""What there are files of: STUN messages, DTLS handshake datagrams, SCTP packets, DCEP messages, data-track packets,
DataPackets, SignalResponses, SignalRequests."""


class Recorded(NamedTuple):
    """One datagram or message. ``direction`` is ``in`` (from the source to us) or ``out``."""

    source: str
    direction: str
    data: bytes


@functools.cache
def recorded(kind: str) -> tuple[Recorded, ...]:
    """The whole file of a kind, or nothing where it was never recorded."""
    path = DIRECTORY / f"{kind}.txt"
    if not path.is_file():
        return ()
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return tuple(Recorded(source, direction, bytes.fromhex(data)) for source, direction, data in lines)


def save(kind: str, entries: list[Recorded]) -> None:
    """Write the file of a kind."""
    DIRECTORY.mkdir(exist_ok=True)
    lines = [f"{entry.source} {entry.direction} {entry.data.hex()}" for entry in entries]
    (DIRECTORY / f"{kind}.txt").write_text("\n".join(lines) + "\n")


def regressions() -> list[tuple[str, bytes]]:
    """Inputs that once broke a target, as ``(target, input)``: files ``corpus/crash-TARGET-DIGEST``."""
    paths = sorted(DIRECTORY.glob("crash-*"))
    return [(path.name.split("-", 2)[1], bytes.fromhex(path.read_text())) for path in paths]
