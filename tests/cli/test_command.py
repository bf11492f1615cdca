"""The console script: Ctrl-C at any moment, from its first import to its last breath."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from . import program

PROBE = """
import atexit, os, signal, sys

moment, how, *sys.argv[1:] = sys.argv[1:]
signal.signal(signal.SIGINT, signal.SIG_IGN if how == "ignored" else signal.default_int_handler)

def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    @staticmethod
    def find_spec(name, *_):
        if name == moment:
            ctrl_c()

sys.meta_path.insert(0, Finder)
if moment == "the end":
    atexit.register(ctrl_c)

from _trio_livekit_command import main
sys.exit(main())
"""
TOKEN = ("token", "--api-key", "key", "--api-secret", "s" * 32, "--room", "lab", "--identity", "robot")


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, cwd=program.ROOT, timeout=program.TIMEOUT_S
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals to oneself are something else there")
@pytest.mark.parametrize(
    ("moment", "how", "code"),
    [
        ("trio", "as usual", -signal.SIGINT),  # which is 130 to a shell
        ("trio_livekit.cli.main", "as usual", -signal.SIGINT),
        ("trio_livekit.cli.doctor", "as usual", 130),
        ("the end", "as usual", -signal.SIGINT),
        ("trio", "ignored", 0),  # as for what a script leaves in the background
    ],
)
def test_ctrl_c_is_never_met_with_a_traceback(moment: str, how: str, code: int) -> None:
    ran = run("-c", PROBE, moment, how, *TOKEN)
    assert (ran.returncode, ran.stderr) == (code, b"")
    assert bool(ran.stdout) == (code == 0 or moment == "the end")


def test_the_package_can_be_run_as_well() -> None:
    ran = run("-m", "trio_livekit", *TOKEN)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.startswith(b"ey")
