"""What is imported, and what is not. Each case is a process of its own: imports cannot be undone."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio

from trio_livekit._parts import import_part
from trio_livekit.server import serve

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


CLIENT = """
import sys
import trio
import trio_livekit as lk

async def main(url, token):
    async with lk.connect(url, token):
        print(*sys.modules)

trio.run(main, *sys.argv[1:])
"""

NEVER_NEEDED = frozenset(
    {"aioice", "asyncio", "cryptography.hazmat.primitives.serialization", "cryptography.x509", "dns"}
    | {"google.protobuf.internal.python_message", "google.protobuf.text_format", "http.client", "jwt"}
    | {"livekit.protocol", "pickle", "trio_livekit.server", "trio_livekit.tokens"}
)
"""Each of these costs a client some hundred KiB, or some MiB."""


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


async def test_a_connected_client_has_imported_nothing_that_it_does_not_need():
    async with serve() as server:
        command = [sys.executable, "-c", CLIENT, server.url, server.token("ann", room="den")]
        done = await trio.run_process(command, capture_stdout=True)
    modules = set(done.stdout.decode().split())
    assert "trio_livekit.room" in modules
    assert not modules & NEVER_NEEDED
