"""A pytest plugin, loaded by itself where this package is installed: fixtures for tests that run with pytest-trio.

Tests then need ``trio_mode = true`` or ``@pytest.mark.trio``. anyio's plugin will do as well, on its trio backend.

::

    async def test_my_robot(livekit_embedded_server):
        server = livekit_embedded_server
        async with trio_livekit.connect(server.url, server.token("robot", "lab")) as room:
            ...
"""

from __future__ import annotations

__all__ = ["livekit_embedded_server", "livekit_server_limits"]

from typing import TYPE_CHECKING

import pytest

# The package itself is imported when a fixture is first used, so that it does not slow down the tests of others.
if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..server import Limits, Server


@pytest.fixture
def livekit_server_limits() -> Limits:
    """The ``Limits`` of ``livekit_embedded_server``: override this fixture to change them."""
    from ..server import Limits

    return Limits()


@pytest.fixture
async def livekit_embedded_server(livekit_server_limits: Limits) -> AsyncIterator[Server]:
    """A LiveKit-compatible server inside the test process, for one test. Needs pytest-trio, or anyio."""
    from ..server import serve

    async with serve(limits=livekit_server_limits) as server:
        yield server
