"""Participants with LiveKit's own SDKs: Python and Go in processes of their own, JavaScript in a headless Chromium.

Their programs are ``official_python.py``, ``official_go`` and ``official.html`` in ``tests/interop/peers``; they say
what can be asked of them. The SDKs come from PyPI, the Go proxy and npm, once, and are kept in the cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import venv
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import ConnectionClosed, serve_websocket

from .cache import cache_dir
from .peers import PEERS, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from trio_websocket import WebSocketRequest

PYTHON_SDK = "livekit==1.2.1"
JAVASCRIPT_SDK = "livekit-client@2.23.0"

_INSTALL_S = 100.0
_START_S = 20.0
_GRACE_S = 2.0
_CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)


class CommandFailed(Exception):
    """The peer could not do what it was told; the text is its SDK's."""


class Official:
    """One such participant: tell it what to do with ``call``, see what happens to it with ``wait_event``."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send
        self._calls = 0
        self._replies: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._ended = False
        self._news = trio.Event()

    async def call(self, command: str, **options: Any) -> dict[str, Any]:
        """Have a command obeyed; returns what it returned, raises ``CommandFailed`` with what it raised."""
        self._calls += 1
        number = self._calls
        await self._send(json.dumps({"id": number, "do": command, **options}))
        while number not in self._replies:
            await self._wait_news()
        reply = self._replies.pop(number)
        if "error" in reply:
            raise CommandFailed(reply["error"])
        return reply

    async def wait_event(self, event: str, **attributes: Any) -> dict[str, Any]:
        """The first event of that name and with these attributes, also if it has come already; forgets it."""
        wanted = {"event": event, **attributes}
        while True:
            for index, seen in enumerate(self._events):
                if wanted.items() <= seen.items():
                    return self._events.pop(index)
            await self._wait_news()

    async def report(self, name: str, at_least: int, patience_s: float) -> list[list]:
        """The frames a subscription received since the last report; waits for so many, until none comes any more."""
        frames: list[list] = []
        while len(frames) < at_least:
            fresh: list[list] = []
            with trio.move_on_after(patience_s):
                while not fresh:
                    await trio.sleep(0.02)
                    fresh = (await self.call("report", name=name))["frames"]
            if not fresh:
                break
            frames += fresh
        return frames

    def on_message(self, text: str | bytes) -> None:
        """One line of what it says."""
        message = json.loads(text)
        if "event" in message:
            self._events.append(message)
        else:
            self._replies[message["id"]] = message
        self._notify()

    def on_end(self) -> None:
        """It is gone: who waits for it is told."""
        self._ended = True
        self._notify()

    async def _wait_news(self) -> None:
        if self._ended:
            raise EOFError("the peer has ended")
        await self._news.wait()

    def _notify(self) -> None:
        self._news.set()
        self._news = trio.Event()


@contextlib.asynccontextmanager
async def open_process(command: list[str], log_path: Path) -> AsyncIterator[Official]:
    """Run a participant that talks on its pipes, until the block is left."""
    async with _process(command, log_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        peer = Official(lambda text: process.stdin.send_all(text.encode() + b"\n"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_lines, process.stdout, peer)
            with trio.fail_after(_START_S):
                await peer.wait_event("ready")
            yield peer
            nursery.cancel_scope.cancel()


def open_python(python: Path, log_path: Path) -> AbstractAsyncContextManager[Official]:
    """Run a participant with the Python SDK until the block is left."""
    return open_process([str(python), str(PEERS / "official_python.py")], log_path)


@contextlib.asynccontextmanager
async def open_javascript(chromium: str, sdk: Path, directory: Path) -> AsyncIterator[Official]:
    """Run a participant with the JavaScript SDK, in a browser of its own, until the block is left."""
    page = directory / "page"
    page.mkdir()
    for source in (PEERS / "official.html", sdk):
        shutil.copy(source, page)
    worker = sdk.with_name("livekit-client.e2ee.worker.js").read_text(encoding="utf-8")
    (page / "worker-source.js").write_text(f"const WORKER_SOURCE = {json.dumps(worker)};", encoding="utf-8")
    arrived: list[Official] = []
    arrival = trio.Event()

    async def converse(request: WebSocketRequest) -> None:
        socket = await request.accept()
        peer = Official(socket.send_message)
        arrived.append(peer)
        arrival.set()
        with contextlib.suppress(ConnectionClosed):
            while True:
                peer.on_message(await socket.get_message())
        peer.on_end()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, converse, "127.0.0.1", 0, None))
        address = f"{(page / 'official.html').as_uri()}#ws://127.0.0.1:{server.port}"
        command = [chromium, *_CHROMIUM_FLAGS, f"--user-data-dir={directory / 'profile'}", address]
        async with _process(command, directory / "chromium.log", stdin=subprocess.DEVNULL):
            with trio.fail_after(_START_S):
                await arrival.wait()
                await arrived[0].wait_event("ready")
            yield arrived[0]
        nursery.cancel_scope.cancel()


def find_chromium() -> str:
    """The browser's program. Raises ``Unavailable``."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise Unavailable("there is no chromium")


def install_python() -> Path:
    """The interpreter of a virtual environment with the Python SDK, made unless it is in the cache.

    Raises:
        Unavailable: it cannot be had from PyPI.
    """
    directory = cache_dir() / PYTHON_SDK.replace("==", "-python-")
    if not directory.is_dir():
        with _fresh(directory) as fresh:
            # Symbolic links, so that the environment can be moved to its place.
            venv.create(fresh, with_pip=False, symlinks=True)
            target = fresh / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
            _install([sys.executable, "-m", "pip", "install", "-q", "--target", str(target), PYTHON_SDK], fresh)
    return directory / "bin" / "python"


def install_javascript() -> Path:
    """The JavaScript SDK as one file, downloaded unless it is in the cache.

    Raises:
        Unavailable: it cannot be had from npm.
    """
    directory = cache_dir() / JAVASCRIPT_SDK.replace("@", "-")
    if not directory.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("there is no npm")
        with _fresh(directory) as fresh:
            _install([npm, "install", "--silent", "--no-audit", "--prefix", str(fresh), JAVASCRIPT_SDK], fresh)
    return directory / "node_modules" / "livekit-client" / "dist" / "livekit-client.umd.js"


def _install(command: list[str], directory: Path) -> None:
    try:
        subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.CalledProcessError as exc:
        raise Unavailable(f"{command[-1]} cannot be installed: {exc.stderr.strip()[-200:]}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[-1]} cannot be installed in {_INSTALL_S:.0f} s") from None


@contextlib.contextmanager
def _fresh(directory: Path) -> Iterator[Path]:
    """A directory that takes its place when it is complete, so that nobody meets half of one."""
    fresh = directory.with_name(f"{directory.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        yield fresh
        with contextlib.suppress(OSError):  # somebody else was first
            fresh.rename(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


async def _read_lines(stream: trio.abc.ReceiveStream, peer: Official) -> None:
    received = bytearray()
    async for chunk in stream:
        *lines, rest = (received + chunk).split(b"\n")
        for line in lines:
            peer.on_message(line)
        received = rest
    peer.on_end()


@contextlib.asynccontextmanager
async def _process(command: list[str], log_path: Path, **pipes: int) -> AsyncIterator[trio.Process]:
    """A child process whose stderr goes to a log; gone when the block is left."""
    with log_path.open("wb") as log:
        process = await trio.lowlevel.open_process(command, stderr=log, **{"stdout": log, **pipes})
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            with trio.move_on_after(_GRACE_S):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()
