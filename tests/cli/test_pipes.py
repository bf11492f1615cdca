"""Outputs that nobody reads any more."""

from __future__ import annotations

import os
import socket
import sys

import pytest
import trio
import trio.testing

from trio_livekit.cli.pipes import Output, open_output, while_somebody_reads


@pytest.fixture
def pipe():
    """The ends of a pipe, to read from and to write to."""
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as reading, open(writer, "wb", buffering=0) as writing:
        yield reading, writing


@pytest.mark.skipif(sys.platform == "win32", reason="cannot wait for pipes there")
async def test_a_block_ends_when_nobody_reads(pipe):
    reading, writing = pipe
    with trio.fail_after(10), pytest.raises(BrokenPipeError):
        async with while_somebody_reads(Output(writing.fileno(), "pipe")):
            await trio.testing.wait_all_tasks_blocked()
            reading.close()
            await trio.sleep_forever()


async def test_writing_to_what_nobody_reads(pipe):
    reading, writing = pipe
    output = Output(writing.fileno(), "pipe")
    await output.write(b"hello")
    assert reading.read(5) == b"hello"
    reading.close()
    with pytest.raises(BrokenPipeError) as error:
        await output.write(b"more")
    assert error.value.filename == "pipe"


@pytest.mark.parametrize("what", ["pipe", "file", "socket"])
async def test_a_block_that_ends_by_itself(pipe, tmp_path, what):
    ours, theirs = socket.socketpair()
    with ours, theirs, open_output(str(tmp_path / "file")) as file:
        theirs.send(b"talks back")  # which is no hang-up
        output = {"pipe": Output(pipe[1].fileno(), "pipe"), "file": file, "socket": Output(ours.fileno(), "socket")}
        async with while_somebody_reads(output[what]):
            await trio.testing.wait_all_tasks_blocked()
            await output[what].write(b"all")
