"""The file of DTLS secrets: only where it is asked for, and nobody else's to read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

import trio_livekit as lk
from trio_livekit._transport.keylog import key_log_from_environment
from trio_livekit.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What programs create is for everybody to read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_nothing_is_written_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
        if value is not None:
            monkeypatch.setenv("SSLKEYLOGFILE", value)
        assert key_log_from_environment() is None


@pytest.mark.usefixtures("open_umask")
async def test_the_secrets_of_a_connection_are_its_owners_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    path = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    async with serve() as server, lk.connect(server.url, server.token("ann", "den")):
        pass
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = [line.split() for line in path.read_text().splitlines()]
    assert lines
    assert {line[0] for line in lines} == {"CLIENT_RANDOM"}
    assert all(secret not in caplog.text for _, _, secret in lines)


async def test_a_file_that_cannot_be_written_costs_no_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys.log"))
    async with serve() as server, lk.connect(server.url, server.token("ann", "den")) as room:
        assert room.state is lk.ConnectionState.CONNECTED
    assert "cannot be written to $SSLKEYLOGFILE" in caplog.text
