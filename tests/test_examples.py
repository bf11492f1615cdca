"""Every program in ``examples/`` runs by itself, against the embedded server; some of them against the real one too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .support.livekit import LiveKitServer

EXAMPLES = Path(__file__).parent.parent / "examples"
NOT_A_PROGRAM = {"arena"}
TIMEOUT_S = 60

# What each one prints, among other things; and its arguments, where it needs any to end by itself.
PROGRAMS: dict[str, tuple[list[str], list[str]]] = {
    "camera_mjpeg": (["--seconds", "4"], ["viewer: http://127.0.0.1:", "images seen by a browser"]),
    "chat": ([], ["[bob] ann corrects: lunch at half past one?", "[ann] bob attaches menu.txt (5 bytes)"]),
    "e2ee": ([], ["through a change of keys", "UNDECRYPTABLE", "eavesdropper: 0 readings"]),
    "fan_in": ([], ["readings of 8 robots"]),
    "file_transfer": ([], ["receiver: map.bin, 8,000,000 bytes", "8,000,000 of 8,000,000 bytes (100%)"]),
    "numpy_frames": ([], ["uint16 (120, 160), nearest 1200 mm"]),
    "recorder": ([], ["recorder: pose: ", "robot-scan-DTR_"]),
    "rpc_service": ([], ['= {"moved_to": {"x": 3}', "failed: 2001 the arm is ten metres long", "six calls in"]),
    "sensor_streaming": ([], ["robot: 200 readings sent", "operator: |a| = 9.86 m/s²"]),
    "teleoperation": ([], ["no command in time: stopped", "nobody at the controls any more"]),
}
ON_STDERR = {"rpc_service": ["ZeroDivisionError: division by zero"]}  # the last line, where there is any
ON_THE_REAL_SERVER = ["chat", "file_transfer", "recorder", "rpc_service", "sensor_streaming"]


def run(name: str, **environment: str) -> str:
    arguments, _ = PROGRAMS[name]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LIVEKIT_")} | environment
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1:] == ON_STDERR.get(name, []), done.stderr
    assert done.stderr.count("Traceback") == len(lines[-1:])
    return done.stdout


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} - NOT_A_PROGRAM == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_example(name: str) -> None:
    if name == "numpy_frames":
        pytest.importorskip("numpy", reason="this example needs numpy, of the extra 'examples'")
    if name == "camera_mjpeg":
        pytest.importorskip("PIL", reason="this example needs Pillow, of the extra 'examples'")
    printed = run(name)
    for words in PROGRAMS[name][1]:
        assert words in printed


@pytest.mark.livekit_server
@pytest.mark.parametrize("name", ON_THE_REAL_SERVER)
def test_example_on_the_real_server(name: str, livekit_server: LiveKitServer) -> None:
    key, secret = livekit_server.api_key, livekit_server.api_secret
    printed = run(name, LIVEKIT_URL=livekit_server.url, LIVEKIT_API_KEY=key, LIVEKIT_API_SECRET=secret)
    for words in PROGRAMS[name][1]:
        assert words in printed
