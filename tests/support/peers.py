"""Foreign WebRTC peers in processes of their own: pion (Go) and aiortc.

Their programs are in ``tests/interop/peers``; ``main.go`` there says what they do on which channel label.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from .cache import cache_dir

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PEERS = Path(__file__).parent.parent / "interop" / "peers"
AIORTC_COMMAND = (sys.executable, str(PEERS / "aiortc_peer.py"))

_GRACE_S = 2.0


class Unavailable(Exception):
    """A peer cannot be had on this machine; the text says why."""


class Peer:
    """A running peer. Either ``answer`` our offer, or take its ``offer`` and ``accept`` with our answer."""

    def __init__(self, process: trio.Process, log_path: Path) -> None:
        self._process = process
        self._log_path = log_path
        self._received = bytearray()

    async def answer(self, offer: str) -> str:
        """Give it an offer (SDP text with all candidates); return its answer."""
        await self._write(offer)
        return await self._read()

    async def offer(self) -> str:
        """Read the offer of a peer that was started with ``-offer``."""
        return await self._read()

    async def accept(self, answer: str) -> None:
        """Answer its offer."""
        await self._write(answer)

    def log(self) -> str:
        """Everything it has logged so far: ``state connected``, ``open echo``, ``closed echo``, and its complaints."""
        return self._log_path.read_text(errors="replace")

    async def wait_logged(self, text: str) -> None:
        """Wait until its log contains a text."""
        while text not in self.log():  # noqa: ASYNC110 - a file has no event to wait for
            await trio.sleep(0.01)

    async def _write(self, sdp: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(base64.b64encode(sdp.encode()) + b"\n")

    async def _read(self) -> str:
        assert self._process.stdout is not None
        while b"\n" not in self._received:
            chunk = await self._process.stdout.receive_some()
            if not chunk:
                raise EOFError(f"the peer has ended; its log:\n{self.log()}")
            self._received += chunk
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        return base64.b64decode(line).decode()


@contextlib.asynccontextmanager
async def open_peer(command: Sequence[str], log_path: Path) -> AsyncIterator[Peer]:
    """Run a peer until the block is left. The end of its stdin ends it; what lingers is killed."""
    with log_path.open("wb") as log:
        process = await trio.lowlevel.open_process(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    try:
        yield Peer(process, log_path)
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(_GRACE_S):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.stdout.aclose()


def build_go(source: Path = PEERS / "pion") -> Path:
    """Build the Go program in a directory, the pion peer by default, unless this version of it is in the cache.

    Raises:
        Unavailable: there is no Go, or its modules cannot be downloaded.
    """
    digest = hashlib.sha256()
    for path in sorted(source.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    binary = cache_dir() / f"{source.name}-{digest.hexdigest()[:16]}" / source.name
    if binary.is_file():
        return binary
    go = shutil.which("go")
    if go is None:
        raise Unavailable(f"the {source.name} peer needs go to be built")
    download = subprocess.run([go, "mod", "download"], cwd=source, capture_output=True, text=True)
    if download.returncode:
        raise Unavailable(
            f"the modules of the {source.name} peer cannot be downloaded: {download.stderr.strip()[-200:]}"
        )
    binary.parent.mkdir(parents=True, exist_ok=True)
    fresh = binary.with_suffix(f".{os.getpid()}")
    subprocess.run([go, "build", "-o", fresh, "."], cwd=source, check=True)
    fresh.replace(binary)
    return binary
