"""Fixtures that any test may ask for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from .support import leaks, livekit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def livekit_binary() -> Path:
    """The path of livekit-server; skips where there is none."""
    binary = livekit.find_server()
    if binary is None:
        pytest.skip(f"livekit-server {livekit.VERSION} is not installed (.ci/run installs it; or set LIVEKIT_SERVER)")
    return binary


@pytest.fixture(scope="session")
def livekit_server(livekit_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[livekit.LiveKitServer]:
    """The livekit-server that all tests share. Rooms keep tests apart: use a room name of your own."""
    with livekit.run_server(livekit_binary, tmp_path_factory.mktemp("livekit")) as server:
        yield server


@pytest.fixture
def start_livekit_server(
    livekit_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[dict[str, Any]], livekit.LiveKitServer]]:
    """Start private servers with other configurations; they end with the test.

    ``start_livekit_server({"rtc": {"use_ice_lite": True}})``
    """
    with contextlib.ExitStack() as stack:

        def start(config: dict[str, Any]) -> livekit.LiveKitServer:
            directory = tmp_path_factory.mktemp("livekit")
            return stack.enter_context(livekit.run_server(livekit_binary, directory, config))

        yield start


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves a file, socket or pipe open. Ask for it first, so that it is left last."""
    with leaks.no_files_left_open():
        yield
