"""``trio-livekit demo``: this machine's telemetry as data tracks, published, forwarded and received in one process.

telemetry reads the machine, meters measure what arrives, display and summary show it; command puts them together.
"""

from __future__ import annotations

__all__ = ["DESCRIPTION", "EPILOG", "SUMMARY", "add_arguments", "run"]

from .command import DESCRIPTION, EPILOG, SUMMARY, add_arguments, run
