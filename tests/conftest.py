"""Fixtures that any test may ask for."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from .support import leaks, livekit, peers, secrecy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


# The same examples in every run: a failure that comes and goes helps nobody. To look for new ones, ask for "explore".
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

secrecy.install()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Fail a test in which something secret was logged or raised, by the test or by what it left to be taken down."""
    yield
    if shown := secrecy.WATCH.verdict():
        pytest.fail("something secret was shown:\n" + "\n".join(shown), pytrace=False)


LONGEST = (
    "tests/test_examples.py",
    "tests/sansio/sctp/test_sharing.py",
    "tests/cli/test_transfer.py",
    "tests/sansio/dtls/test_mutation.py",
    "tests/interop/test_aiortc.py",
    "tests/cli/test_demo.py",
    "tests/cli/test_doctor.py",
    "tests/sansio/sctp/test_schedules.py",
    "tests/cli/test_server.py",
    "tests/cli/test_top.py",
    "tests/testing/test_pytest_plugin.py",
)
"""The files that take longest for their number of tests, of those that wait and those that compute in turn."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest: a worker that gets such a file last is alone with it at the end."""
    files = {item: item.path.relative_to(config.rootpath).as_posix() for item in items}
    sizes = Counter(files.values())
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(files[item], len(LONGEST)), -sizes[files[item]]))


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


@pytest.fixture(scope="session")
def pion_binary() -> Path:
    """The pion peer, built once and kept in the cache; skips where it cannot be built."""
    try:
        return peers.build_go()
    except peers.Unavailable as exc:
        pytest.skip(str(exc))


@pytest.fixture
def pion_peer(pion_binary: Path, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[peers.Peer]]:
    """Start pion peers: ``async with pion_peer("-role", "active") as peer: answer = await peer.answer(offer)``."""
    return _peer_starter([str(pion_binary)], tmp_path, "pion")


@pytest.fixture
def aiortc_peer(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[peers.Peer]]:
    """Start aiortc peers: ``async with aiortc_peer("-offer") as peer: offer = await peer.offer()``."""
    if importlib.util.find_spec("aiortc") is None:
        pytest.skip("aiortc is not installed")
    return _peer_starter(peers.AIORTC_COMMAND, tmp_path, "aiortc")


def _peer_starter(
    command: Sequence[str], directory: Path, name: str
) -> Callable[..., AbstractAsyncContextManager[peers.Peer]]:
    numbers = itertools.count(1)

    def start(*arguments: str) -> AbstractAsyncContextManager[peers.Peer]:
        return peers.open_peer([*command, *arguments], directory / f"{name}-{next(numbers)}.log")

    return start
