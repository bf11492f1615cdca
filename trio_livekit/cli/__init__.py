"""The command line: ``trio-livekit demo``, ``server``, ``publish``, ``subscribe``, ``token``, ``doctor``, ``top``."""

from __future__ import annotations

__all__ = ["main"]

from .main import main
