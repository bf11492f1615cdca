"""The pytest plugin, as a user of the package has it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import trio

import trio_livekit as lk
from trio_livekit.server import Limits
from trio_livekit.testing.pytest_plugin import livekit_embedded_server, livekit_server_limits  # noqa: F401

ROOT = Path(__file__).parents[2]

USERS_TEST = """
import pytest
import trio
import trio_livekit as lk
from trio_livekit.server import Limits

@pytest.fixture
def livekit_server_limits():
    return Limits(rooms=1)

@pytest.mark.trio
async def test_joining(livekit_embedded_server):
    server = livekit_embedded_server
    with trio.fail_after(20):
        async with lk.connect(server.url, server.token("robot", "lab")) as room:
            assert room.name == "lab"
            with pytest.raises(lk.ConnectError):
                async with lk.connect(server.url, server.token("robot", "other")):
                    pass
"""


async def test_the_fixture_is_a_server(livekit_embedded_server, livekit_server_limits):  # noqa: F811
    server = livekit_embedded_server
    assert livekit_server_limits == Limits()
    with trio.fail_after(20):
        async with lk.connect(server.url, server.token("robot", "lab")):
            assert set(server.rooms) == {"lab"}


def test_a_users_tests_may_use_it_and_change_the_limits(tmp_path):
    (tmp_path / "test_robot.py").write_text(USERS_TEST)
    plugin = "trio_livekit.testing.pytest_plugin"
    installed = any(entry.value == plugin for entry in entry_points(group="pytest11"))
    by_name = () if installed else ("-p", plugin)  # a checkout on the path has no entry points
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *by_name, "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout
