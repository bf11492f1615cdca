"""The three data channels of a session, by their labels."""

from __future__ import annotations

__all__ = ["DATA_TRACK", "LOSSY", "RELIABLE"]

RELIABLE = "_reliable"
LOSSY = "_lossy"
DATA_TRACK = "_data_track"
