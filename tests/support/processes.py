"""Ending child processes for certain, and only them."""

from __future__ import annotations

import subprocess

_GRACE_S = 2.0


def end(process: subprocess.Popen) -> None:
    """SIGTERM, two seconds of grace, SIGKILL; reaps the process. Quiet when it is gone already."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
