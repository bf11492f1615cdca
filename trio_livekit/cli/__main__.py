"""``python -m trio_livekit.cli``: the same as ``trio-livekit``."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
