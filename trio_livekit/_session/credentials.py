"""The access token of a session: what the application gave, and what replaced it.

Servers send fresh tokens to those who are connected. Who was away for longer than the last one is valid needs another
from where the first came from; that is what a function given in place of a token is for.
"""

from __future__ import annotations

__all__ = ["Credentials", "TokenSource"]

from collections.abc import Awaitable, Callable
from typing import cast

from ..errors import ConnectError, ConnectErrorReason

TokenSource = Callable[[], Awaitable[str]]
"""Makes an access token, or fetches one from a backend."""


class Credentials:
    """The token to join with, or to come back with.

    Attributes:
        is_ours: the token is from the application, and says nothing of what this client changed about itself since.
    """

    def __init__(self, token: str | TokenSource) -> None:
        if not isinstance(cast("object", token), str) and not callable(token):
            text = f"a token is a str, or an async function that gets one, not {type(token).__name__}"
            raise ConnectError(ConnectErrorReason.NO_TOKEN, text)
        self._source = None if isinstance(token, str) else token
        self._token = token if isinstance(token, str) else ""
        self._is_tried = False
        self.is_ours = True

    async def token(self) -> str:
        """The token to use now. Raises ``ConnectError`` where the application has none to give."""
        if not self._token and self._source is not None:
            try:
                token = await self._source()
            except Exception as exc:
                text = f"the function that gives tokens failed: {type(exc).__name__}"
                raise ConnectError(ConnectErrorReason.NO_TOKEN, text) from exc
            if not isinstance(cast("object", token), str):
                text = f"the function that gives tokens gave {type(token).__name__}, not text"
                raise ConnectError(ConnectErrorReason.NO_TOKEN, text)
            self._token, self.is_ours = token, True
        return self._token

    def refresh(self, token: str) -> None:
        """The server gave us another, if it is one."""
        if token:
            self._token, self.is_ours = token, False

    def accepted(self) -> None:
        """The server let us in."""
        self._is_tried = False

    def renew(self) -> bool:
        """The server does not accept the token. Whether there is another to be had, which is asked for once."""
        if self._source is None or self._is_tried:
            return False
        self._is_tried = True
        self._token = ""
        return True
