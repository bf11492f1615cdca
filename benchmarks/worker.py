"""A worker: one peer at one end, in a process of its own, that answers lines of JSON with lines of JSON."""

from __future__ import annotations

__all__ = ["Worker", "WorkerError", "open_workers"]

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .scenario import Peer

SCRIPTS = Path(__file__).parent / "workers"

_ANSWER_S = 60.0
_GRACE_S = 2.0
_LOG_CHARACTERS = 1500


class WorkerError(Exception):
    """A worker failed, died, or did not answer."""


class Worker:
    """Tell it something, and take its answer later, or ``ask`` and wait."""

    def __init__(self, command: list[str], log: IO[bytes]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self._log = log
        self._received = b""

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def tell(self, op: str, **arguments: object) -> None:
        """Send a command, whose answer is to be taken later."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"died before {op!r}: {self._last_words()}") from None

    def answer(self, timeout_s: float = _ANSWER_S) -> dict[str, Any]:
        """The answer to the oldest command that has none yet."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise WorkerError(f"no answer in {timeout_s:g} s: {self._last_words()}")
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                raise WorkerError(f"died: {self._last_words()}")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, op: str, **arguments: object) -> dict[str, Any]:
        """Send a command and wait for the answer."""
        self.tell(op, **arguments)
        return self.answer()

    def end(self) -> None:
        """Close its stdin, which ends it; kill it if it lingers."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        words = os.pread(self._log.fileno(), _LOG_CHARACTERS, max(0, size - _LOG_CHARACTERS))
        return words.decode(errors="replace").strip() or "(it logged nothing)"


@contextlib.contextmanager
def open_workers(peer: Peer, kind: str, count: int = 2) -> Iterator[list[Worker]]:
    """Start workers of one kind for a peer, and end them with the block."""
    with contextlib.ExitStack() as stack:
        workers = []
        for _ in range(count):
            log = stack.enter_context(tempfile.TemporaryFile())
            workers.append(Worker(_command(peer, kind), log))
            stack.callback(workers[-1].end)
        yield workers


def _command(peer: Peer, kind: str) -> list[str]:
    if peer.program is not None:
        return [str(peer.program)]
    assert peer.python is not None
    return [str(peer.python), str(SCRIPTS / f"{kind}_{peer.name}.py")]
