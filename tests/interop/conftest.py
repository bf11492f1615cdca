"""Participants with LiveKit's own SDKs, and a server for them."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import pytest

from ..support import livekit, official
from ..support.peers import PEERS, Unavailable, build_go

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    OpenPeer = Callable[[], AbstractAsyncContextManager[official.Official]]

_room_numbers = itertools.count(1)


@pytest.fixture
def room_name() -> str:
    """A room that no other test uses."""
    return f"interop-{next(_room_numbers)}"


@pytest.fixture(scope="session")
def patient_server(livekit_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[livekit.LiveKitServer]:
    """A livekit-server that drops nothing because a subscriber is slow, as any is on a busy machine."""
    config = {"rtc": {"datachannel_data_track_target_latency": "0s"}}
    with livekit.run_server(livekit_binary, tmp_path_factory.mktemp("livekit"), config) as server:
        yield server


@pytest.fixture(scope="session")
def python_sdk() -> Path:
    """The interpreter that has LiveKit's Python SDK."""
    try:
        return official.install_python()
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def javascript_sdk() -> tuple[str, Path]:
    """A browser, and LiveKit's JavaScript SDK for it."""
    try:
        return official.find_chromium(), official.install_javascript()
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def go_sdk_program() -> Path:
    """A participant with LiveKit's Go SDK, built once."""
    try:
        return build_go(PEERS / "official_go")
    except Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture
async def go_peer(go_sdk_program: Path, tmp_path: Path) -> AsyncIterator[official.Official]:
    """A participant with the Go SDK, not in any room yet."""
    async with _open_go(go_sdk_program, tmp_path)() as peer:
        yield peer


@pytest.fixture
async def python_peer(python_sdk: Path, tmp_path: Path) -> AsyncIterator[official.Official]:
    """A participant with the Python SDK, not in any room yet."""
    async with official.open_python(python_sdk, tmp_path / "python.log") as peer:
        yield peer


@pytest.fixture
async def javascript_peer(javascript_sdk: tuple[str, Path], tmp_path: Path) -> AsyncIterator[official.Official]:
    """A participant with the JavaScript SDK, not in any room yet."""
    async with official.open_javascript(*javascript_sdk, tmp_path) as peer:
        yield peer


@pytest.fixture(params=["python", "javascript"])
def open_official_peer(request: pytest.FixtureRequest, tmp_path: Path) -> OpenPeer:
    """What starts a participant with either SDK that has data tracks."""
    return _open_with_tracks(request, tmp_path)


@pytest.fixture(params=["python", "javascript", "go"])
def open_any_peer(request: pytest.FixtureRequest, tmp_path: Path) -> OpenPeer:
    """What starts a participant with any SDK, also the one that has no data tracks."""
    if request.param == "go":
        return _open_go(request.getfixturevalue("go_sdk_program"), tmp_path)
    return _open_with_tracks(request, tmp_path)


@pytest.fixture
async def any_peer(open_any_peer: OpenPeer) -> AsyncIterator[official.Official]:
    """A participant with one SDK after the other, not in any room yet."""
    async with open_any_peer() as peer:
        yield peer


@pytest.fixture
async def official_peer(open_official_peer: OpenPeer) -> AsyncIterator[official.Official]:
    """A participant with one SDK, and in another run of the same test with the other, not in any room yet."""
    async with open_official_peer() as peer:
        yield peer


def _open_with_tracks(request: pytest.FixtureRequest, tmp_path: Path) -> OpenPeer:
    if request.param == "python":
        return partial(official.open_python, request.getfixturevalue("python_sdk"), tmp_path / "python.log")
    return partial(official.open_javascript, *request.getfixturevalue("javascript_sdk"), tmp_path)


def _open_go(program: Path, tmp_path: Path) -> OpenPeer:
    return partial(official.open_process, [str(program)], tmp_path / "go.log")
