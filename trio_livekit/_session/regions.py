"""Where else a room can be reached, if not where its URL leads: the regions of LiveKit Cloud.

They are asked for only when they are needed. Each is tried once; then the attempt has failed, and the next one begins
anew. A server that sends its clients away may say where to go instead.
"""

from __future__ import annotations

__all__ = ["Regions"]

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from .._transport.http import HttpError, http_get
from ..errors import ConnectError, ConnectErrorReason
from .joining import signal_base_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

_CLOUD_HOSTS = (".livekit.cloud", ".livekit.run")
"""Only these have regions. The token is sent to whatever region is tried, so it has to be one of these as well."""

_PATH = "/settings/regions"

_FETCH_TIMEOUT_S = 3.0
"""How long the server may take to name its regions."""

_ATTEMPT_TIMEOUT_S = 5.0
"""How long one region of several may take to let us in."""

_MEDIA_TIMEOUT_S = 7.5
"""How long its peer connection may take: half of what joining may take as a whole, unless the application says more."""

_MAX_REGIONS = 16


class Regions:
    """The regions of one server, and which of them is used.

    Attributes:
        url: the base URL to reach the server at now.
    """

    def __init__(self, base_url: str, ssl_context: ssl.SSLContext | None = None) -> None:
        self.url = base_url
        self._base_url = base_url
        self._ssl_context = ssl_context
        self._is_cloud = _is_cloud(base_url)
        self._tried: set[str] = set()
        self._untried: list[str] | None = None

    @property
    def patience_s(self) -> float:
        """How long one attempt may take, so that there is time for another."""
        return _ATTEMPT_TIMEOUT_S if self._is_cloud else float("inf")

    @property
    def media_patience_s(self) -> float:
        """The same for the peer connections, once signalling has let us in."""
        return _MEDIA_TIMEOUT_S if self._is_cloud else float("inf")

    async def advance(self, token: str) -> bool:
        """The region that ``url`` leads to does not work: go on to the next. Returns whether there is one.

        Bounded in time. Raises ``ConnectError`` where the token is not accepted.
        """
        self._tried.add(self.url)
        if self._untried is None and self._is_cloud:
            self._untried = await self._fetch(token)
        while self._untried:
            url = self._untried.pop(0)
            if url not in self._tried:
                logger.info("the server cannot be joined where it was tried: trying another region")
                logger.debug("from %s to %s", self.url, url)
                self.url = url
                return True
        self.settle()
        self.url = self._base_url
        return False

    def settle(self) -> None:
        """Data flows, or the room is given up: the next time all regions are worth trying."""
        self._tried.clear()
        self._untried = None

    def replace(self, urls: Iterable[str]) -> None:
        """The server sends us away, and says where to go instead, the best first."""
        usable = self._usable(urls)
        if usable:
            self._tried.clear()
            self.url, *self._untried = usable

    async def _fetch(self, token: str) -> list[str]:
        try:
            with trio.fail_after(_FETCH_TIMEOUT_S):
                answer = await http_get(
                    self._base_url + _PATH,
                    headers={"Authorization": f"Bearer {token}"},
                    ssl_context=self._ssl_context,
                )
        except (OSError, HttpError, trio.TooSlowError) as exc:
            logger.debug("the regions of %s are not known: %s", self._base_url, exc or "no answer in time")
            return []
        if answer.status in (401, 403):
            text = "not allowed: the server does not accept the token"
            raise ConnectError(ConnectErrorReason.NOT_ALLOWED, text, status=answer.status)
        return self._usable(_parse(answer.body)) if answer.status == 200 else []

    def _usable(self, urls: Iterable[str]) -> list[str]:
        """Those that are of the same cloud, and no less secure."""
        usable: list[str] = []
        for url in urls:
            try:
                base_url = signal_base_url(url)
            except ConnectError:
                continue
            if _is_cloud(base_url) and urlsplit(base_url).scheme == urlsplit(self._base_url).scheme:
                usable.append(base_url)
        return usable[:_MAX_REGIONS]


def _is_cloud(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith(_CLOUD_HOSTS)


def _parse(body: bytes) -> list[str]:
    """The URLs in a ``RegionSettings`` message, written as JSON; none where it is something else."""
    try:
        regions = json.loads(body)["regions"]
        return [region["url"] for region in regions if isinstance(region["url"], str)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
