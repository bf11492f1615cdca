"""The command line: ``trio-livekit demo``, ``server``, ``publish``, ``subscribe``, ``token``, ``doctor``, ``top``.

Each command is a module, or a package, of its name; ``main`` picks it. The other modules are what commands share. A
command imports what a user could, and nothing else of trio_livekit.
"""

from __future__ import annotations

__all__ = ["main"]

from .main import main
