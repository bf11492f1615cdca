"""Modules imported without the packages they are in. Each case is a process of its own: imports cannot be undone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trio_livekit._parts import import_part

PARTS = """
import sys
from trio_livekit._sansio.ice import stun
from trio_livekit._wire.generated import models, rtc
stun.candidate_priority("host", 1)
stun.encode(stun.BINDING, stun.REQUEST, bytes(12), [(stun.USERNAME, "a:b")])
"""
AFTERWARDS = """
import aioice
from livekit import protocol
aioice.Connection, protocol.agent
assert protocol.models.DataPacket is models.DataPacket
"""
BEFORE = """
import aioice
from livekit import protocol
"""


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_what_is_needed_is_imported():
    run(
        PARTS
        + "assert not {'asyncio', 'aioice', 'dns', 'livekit.protocol', 'livekit.protocol.agent'} & set(sys.modules)"
    )


def test_the_packages_can_be_imported_afterwards():
    run(PARTS + AFTERWARDS)


def test_what_was_put_off_is_loaded_when_somebody_uses_it():
    run(
        PARTS
        + "part = sys.modules['trio_livekit._parts.aioice.stun'].asyncio\n"
        + "import asyncio\n"
        + "assert asyncio.run(asyncio.sleep(0, 1)) == 1\n"
        + "assert part.Future is asyncio.Future"
    )


def test_what_was_put_off_may_be_used_at_once():
    run(
        "import sys\n"
        "from trio_livekit._parts import _put_off\n"
        "with _put_off(['asyncio', 'sys']):\n"
        "    import asyncio as early\n"
        "    import asyncio.subprocess\n"
        "import asyncio\n"
        "assert early.Future is asyncio.Future and asyncio.subprocess.PIPE == -1"
    )


def test_the_packages_may_have_been_imported_before():
    run(BEFORE + PARTS + "assert protocol.models is models and protocol.rtc is rtc")


@pytest.mark.parametrize("name", ["no_such_package", "trio_livekit.errors"])
def test_what_is_no_package_has_no_parts(name):
    with pytest.raises(ModuleNotFoundError, match=name):
        import_part(name, "part")
