"""The tests of trio_livekit, in folders that mirror the package."""

from __future__ import annotations

import os
import sys

from .support.cache import cache_dir

# Many tests start a program of ours, and workers run them. Where Python is told to keep no byte code, each of these
# processes would compile everything anew: then it is kept, in a place of its own.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(cache_dir() / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
