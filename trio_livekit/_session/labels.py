"""The three data channels of a session, by their labels."""

from __future__ import annotations

__all__ = ["DATA_TRACK", "DATA_TRACK_LOW_WATER_BYTES", "LOSSY", "RELIABLE"]

RELIABLE = "_reliable"
LOSSY = "_lossy"
DATA_TRACK = "_data_track"

DATA_TRACK_LOW_WATER_BYTES = 32 * 1024
"""Ask for more track packets when the channel holds no more than this: half of what it is given at once."""
