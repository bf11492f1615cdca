"""The three data channels of a session, by their labels, and what fits into a message on them."""

from __future__ import annotations

__all__ = ["DATA_TRACK", "LOSSY", "MAX_PACKET_BYTES", "RELIABLE"]

RELIABLE = "_reliable"
LOSSY = "_lossy"
DATA_TRACK = "_data_track"

MAX_PACKET_BYTES = 64_000
"""An encoded packet: what other SDKs send at most. A server resets the channel at 65,536, and adds names on the way."""
