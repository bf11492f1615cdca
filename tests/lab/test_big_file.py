"""A small file, as the command sends large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .big_file import Outcome, make_file, receive, send

if TYPE_CHECKING:
    from pathlib import Path

    from ..support.livekit import LiveKitServer

SIZE = 3_000_001


async def test_it_arrives_whole(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    sha256 = make_file(tmp_path / "file.bin", SIZE)
    outcomes: list[Outcome] = []

    async def read() -> None:
        outcomes.append(await receive(livekit_server.url, livekit_server.token("receiver", "files")))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            sent = await send(livekit_server.url, livekit_server.token("sender", "files"), tmp_path / "file.bin")
    assert sent.size == SIZE
    assert [(received.size, received.sha256) for received in outcomes] == [(SIZE, sha256)]
