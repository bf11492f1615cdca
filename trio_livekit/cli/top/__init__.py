"""``trio-livekit top``: a live view of a room."""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

from .command import DESCRIPTION, EPILOG, SUMMARY, add_arguments, run
