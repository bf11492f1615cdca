"""The program as its users have it: a process with arguments, pipes and an exit code."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..support import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "trio_livekit.cli"]
ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Server:
    """A running server of either kind."""

    url: str
    api_key: str
    api_secret: str

    def environment(self) -> dict[str, str]:
        return {
            "LIVEKIT_URL": self.url,
            "LIVEKIT_API_KEY": self.api_key,
            "LIVEKIT_API_SECRET": self.api_secret,
        }


def environment(server: Server | None = None) -> dict[str, str]:
    """The environment, without what the developer may have set for a server of his own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **(server.environment() if server else {})}


def run(*arguments: str, server: Server | None = None, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run to the end."""
    return subprocess.run(
        [*COMMAND, *arguments], input=data, capture_output=True, cwd=ROOT, env=environment(server), timeout=TIMEOUT_S
    )


@contextlib.contextmanager
def started(*arguments: str, server: Server | None = None, **pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run beside the test; ended with the block."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    # Unbuffered, since communicate() would not see what has been read ahead.
    process = subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, env=environment(server), bufsize=0, **pipes)
    try:
        yield process
    finally:
        processes.end(process)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    """Exit code, output and standard error of a process that ends by itself."""
    output, errors = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, output, errors.decode()


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Server]]:
    """``trio-livekit server`` on a free port."""
    with started("server", "--port", "0", *arguments) as process:
        line = process.stdout.readline().decode()
        url = re.search(r"ws://\S+", line)
        assert url, line + process.stderr.read().decode()
        yield process, Server(url[0], "devkey", "the development secret of trio_livekit")
