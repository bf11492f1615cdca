"""Where and with what a run was made: numbers mean nothing without it."""

from __future__ import annotations

__all__ = ["describe_run"]

import datetime
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent


def describe_run() -> dict[str, object]:
    """Everything about this run that can be known before it."""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} x {_cpu_model()}",
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "kernel": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _commit() -> str:
    """The commit, with ``+`` where the tree is not what was committed; and it says so where there is no git."""
    try:
        return _git("rev-parse", "--short=12", "HEAD") + (
            "+" if _git("status", "--porcelain", "../trio_livekit") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=_HERE, capture_output=True, text=True, check=True).stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
