"""The real livekit-server, one process per configuration, on loopback and on ports of its own.

``$LIVEKIT_SERVER`` names a binary; otherwise the cache and ``PATH`` are searched. ``.ci/run`` fills the cache.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt

from . import processes
from .cache import cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "1.13.5"
API_KEY = "devkey"
API_SECRET = "a secret of the tests that is long enough"

_START_S = 20.0
_TOKEN_LIFE_S = 3600


def bearer(token: str) -> list[tuple[bytes, bytes]]:
    """The headers in which a token goes; trio-websocket would log one that is in the address."""
    return [(b"Authorization", f"Bearer {token}".encode())]


@dataclass(frozen=True)
class LiveKitServer:
    """A running server, and what is needed to talk to it."""

    url: str
    api_key: str
    api_secret: str
    port: int
    udp_port: int
    tcp_port: int
    turn_udp_port: int | None
    pid: int
    log_path: Path

    def token(self, identity: str, room: str = "test", **grants: Any) -> str:
        """An access token to join ``room``. ``grants`` are video grants by JSON name (``canPublishData=False``)."""
        now = int(time.time())
        claims = {
            "iss": self.api_key,
            "sub": identity,
            "nbf": now - 10,
            "exp": now + _TOKEN_LIFE_S,
            "video": {"room": room, "roomJoin": True, **grants},
        }
        return jwt.encode(claims, self.api_secret, algorithm="HS256")

    def log(self) -> str:
        """Everything the server has logged so far."""
        return self.log_path.read_text(errors="replace")


def find_server() -> Path | None:
    """The binary to run, or None.

    Raises:
        FileNotFoundError: ``$LIVEKIT_SERVER`` is set, and names no file: better loud than skipped.
    """
    named = os.environ.get("LIVEKIT_SERVER")
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"LIVEKIT_SERVER names no file: {named}")
        return Path(named)
    cached = cache_dir() / f"livekit-server-{VERSION}" / "livekit-server"
    if cached.is_file():
        return cached
    on_path = shutil.which("livekit-server")
    return Path(on_path) if on_path else None


@contextlib.contextmanager
def run_server(binary: Path, directory: Path, config: dict[str, Any] | None = None) -> Iterator[LiveKitServer]:
    """Run a server until the block is left. ``config`` is laid over the default one, section by section.

    A ``turn`` section gets ``enabled`` and a free ``udp_port`` unless it brings its own.
    """
    merged = _default_config()
    for section, value in (config or {}).items():
        merged[section] = {**merged.get(section, {}), **value} if isinstance(value, dict) else value
    if "turn" in merged:
        merged["turn"] = {"enabled": True, "domain": "turn.test", "udp_port": free_port("udp"), **merged["turn"]}
    config_path, log_path = directory / "livekit.yaml", directory / "livekit.log"
    config_path.write_text(json.dumps(merged))  # JSON is YAML
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [binary, "--config", config_path], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_ready(process, merged["port"], log_path)
        yield LiveKitServer(
            url=f"ws://127.0.0.1:{merged['port']}",
            api_key=API_KEY,
            api_secret=API_SECRET,
            port=merged["port"],
            udp_port=merged["rtc"]["udp_port"],
            tcp_port=merged["rtc"]["tcp_port"],
            turn_udp_port=merged["turn"]["udp_port"] if "turn" in merged else None,
            pid=process.pid,
            log_path=log_path,
        )
    finally:
        processes.end(process)


def free_port(kind: str = "tcp") -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _default_config() -> dict[str, Any]:
    return {
        "port": free_port(),
        "bind_addresses": ["127.0.0.1"],
        "keys": {API_KEY: API_SECRET},
        "logging": {"level": "info", "json": True},
        "enable_participant_data_blob": True,  # the definitions of schemas, which it does not keep by default
        "rtc": {
            "udp_port": free_port("udp"),
            "tcp_port": free_port(),
            "node_ip": "127.0.0.1",
            "use_external_ip": False,
            # Without real sockets on 127.0.0.1 the advertised candidate leads nowhere.
            "enable_loopback_candidate": True,
        },
    }


def _wait_until_ready(process: subprocess.Popen, port: int, log_path: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise RuntimeError(f"livekit-server did not start; its log ends:\n{log_path.read_text(errors='replace')[-2000:]}")
