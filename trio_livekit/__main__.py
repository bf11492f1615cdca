"""``python -m trio_livekit``: the same as ``trio-livekit``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
