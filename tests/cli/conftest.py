"""The servers that the commands are run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import program

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def embedded() -> Iterator[program.Server]:
    """``trio-livekit server``, as a process of its own."""
    with program.serving() as (_, server):
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> program.Server:
    """The embedded server, or with ``indirect`` the real one."""
    if getattr(request, "param", "embedded") == "embedded":
        return request.getfixturevalue("embedded")
    real = request.getfixturevalue("livekit_server")
    return program.Server(real.url, real.api_key, real.api_secret)


@pytest.fixture(autouse=True)
def no_server_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has set for himself is none of the tests' business."""
    for name in ("URL", "TOKEN", "API_KEY", "API_SECRET"):
        monkeypatch.delenv(f"LIVEKIT_{name}", raising=False)
