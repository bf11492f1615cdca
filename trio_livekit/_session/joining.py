"""From a URL and a token to an open signal websocket, with every refusal as its own ``ConnectError``.

The failed websocket upgrade carries the status and the body that a separate validation request would give, so there is
none. The server may echo the whole token in a refusal: its words are shown only where they cannot hold one.
"""

from __future__ import annotations

__all__ = [
    "NOT_A_JWT",
    "NoSuchEndpoint",
    "SignalRequest",
    "is_token",
    "signal_base_url",
    "token_problem",
    "unreachable",
]

import math
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

import trio

from .._transport.streams import NoTls, OnlyTls
from .._transport.websocket import MAX_MESSAGE_BYTES, UpgradeRefused, WebsocketClosed, dial, secure, upgrade
from ..errors import ConnectError, ConnectErrorReason, LiveKitError

if TYPE_CHECKING:
    import ssl

    from .._transport.websocket import ClientStream, Websocket

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class NoSuchEndpoint(LiveKitError):
    """The server does not know this signalling path: it is older than the path."""


def signal_base_url(url: str) -> str:
    """``url`` with a websocket scheme and no trailing slash. Raises ``ConnectError`` for what is no server's URL."""

    def refuse(why: str) -> ConnectError:
        like = "a server's URL looks like wss://example.livekit.cloud or ws://127.0.0.1:7880"
        return ConnectError(ConnectErrorReason.INVALID_URL, f"{why}: {like}")

    if not isinstance(url, str):
        raise refuse(f"a URL is a str, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, TypeError, AttributeError) as exc:
        raise refuse(f"not a URL ({exc})") from None
    if parts.scheme not in _SCHEMES:
        raise refuse(f"the URL's scheme is {parts.scheme!r}, not ws, wss, http or https")
    if not parts.hostname:
        raise refuse("the URL names no host")
    if parts.username or parts.query or parts.fragment:
        raise refuse("the URL has a user, a query or a fragment")
    if not _is_host(parts.hostname):
        raise refuse("the URL's host is no name and no address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{_SCHEMES[parts.scheme]}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _is_host(name: str) -> bool:
    """Whether the resolver can be asked for this name: otherwise it may fail with something else than ``OSError``."""
    try:
        return ":" in name or not set(name.encode("idna").decode()) & set(' \t\\"<>^`{|}\x7f')
    except UnicodeError:
        return False


class SignalRequest:
    """A request for a signal websocket, which has a life of its own.

    Once it is sent the server may let us in, whether or not anybody still waits for the answer. So the request is made
    by a background task, and whoever gives up waiting for it can still see what comes of it before leaving.

    Attributes:
        is_answered: somebody accepted our TCP connection.
        is_sent: the server may know of the request.
    """

    def __init__(
        self,
        base_url: str,
        path: str,
        parameters: dict[str, str],
        token: str,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        if not is_token(token):
            raise ConnectError(ConnectErrorReason.NOT_ALLOWED, NOT_A_JWT)
        self._base_url = base_url
        self._url = f"{base_url}{path}?{urlencode(parameters, quote_via=quote)}"
        self._token = token
        self._max_message_bytes = max_message_bytes
        self._failure: Exception | None = None
        self.websocket: Websocket | None = None
        self.is_answered = self.is_sent = False
        self.done = trio.Event()
        self._upgrading = trio.CancelScope()

    async def make(
        self, background: trio.Nursery, ssl_context: ssl.SSLContext | None, *, dial_timeout_s: float = math.inf
    ) -> Websocket:
        """Send the request and return what comes of it. The token goes into a header, so that no proxy logs it.

        Somebody has to accept the TCP connection within ``dial_timeout_s``. Raises ``ConnectError``, or
        ``NoSuchEndpoint`` where another path may be tried. Cancelled before anything is sent, this leaves nothing;
        later it leaves the task in ``background``.
        """
        try:
            with trio.move_on_after(dial_timeout_s) as bound:
                tcp = await dial(self._url)
            if bound.cancelled_caught:
                raise TimeoutError(f"nobody accepted a connection in {dial_timeout_s:g} s")
            self.is_answered = True
            stream = await secure(tcp, self._url, ssl_context)
        except OSError as exc:
            raise self._unreachable(exc) from exc
        self.is_sent = True
        background.start_soon(self._upgrade, background, stream, name="signalling: upgrade")
        await self.done.wait()
        if self.websocket is None:
            raise self._explanation()
        return self.websocket

    async def abandon(self) -> None:
        """Nobody will want what comes of it: see to it that nothing does, or close it. Bounded, also when cancelled."""
        if self.is_sent:
            self._upgrading.cancel("nobody waits for the answer any more")
            with trio.CancelScope(shield=True):  # it is a moment; and who would close the websocket later?
                await self.done.wait()
                if self.websocket is not None:
                    await self.websocket.aclose()

    async def _upgrade(self, background: trio.Nursery, stream: ClientStream) -> None:
        headers = [("Authorization", f"Bearer {self._token}")]
        try:
            with self._upgrading:
                self.websocket = await upgrade(
                    background, stream, self._url, headers=headers, max_message_bytes=self._max_message_bytes
                )
        except (UpgradeRefused, WebsocketClosed, OSError) as exc:
            self._failure = exc
        finally:
            self.done.set()

    def _explanation(self) -> Exception:
        if isinstance(self._failure, UpgradeRefused):
            return _explain(self._failure, self._base_url)
        return self._unreachable(self._failure)

    def _unreachable(self, exc: Exception | None) -> ConnectError:
        return unreachable(self._base_url, exc)


def unreachable(base_url: str, exc: Exception | None) -> ConnectError:
    """Why nobody, or nobody who can be understood, is at a URL; and where it may be its scheme that is wrong."""
    why = (isinstance(exc, OSError) and exc.strerror) or exc
    text = f"cannot reach {base_url}: {why}"
    if isinstance(exc, NoTls):
        text += f": perhaps it is {base_url.replace('wss:', 'ws:', 1)}?"
    elif isinstance(exc, OnlyTls):
        text += f": perhaps it is {base_url.replace('ws:', 'wss:', 1)}?"
    return ConnectError(ConnectErrorReason.UNREACHABLE, text)


def _explain(refused: UpgradeRefused, base_url: str) -> LiveKitError:
    status, body = refused.status, refused.body.strip()
    if status in (401, 403):
        return ConnectError(ConnectErrorReason.NOT_ALLOWED, f"not allowed: {token_problem(body)}", status=status)
    if status == 404:
        if "room does not exist" in body:
            text = "the room does not exist, and the server does not create rooms by itself"
            return ConnectError(ConnectErrorReason.ROOM_NOT_FOUND, text, status=status)
        return NoSuchEndpoint(f"{base_url} knows no such path")
    if 400 <= status < 500:
        return ConnectError(ConnectErrorReason.INVALID_REQUEST, f"the server refused: {body[:200]!r}", status=status)
    if "closed by media" in body:
        text = "the room refused another participant: it is full, or its node is not accepting any"
        return ConnectError(ConnectErrorReason.ROOM_REFUSED, text, status=status)
    return ConnectError(ConnectErrorReason.SERVER_ERROR, f"the server answered {status}", status=status)


_NO_ACCESS = (
    "the token does not grant access to this room, or it does not grant can_update_own_metadata"
    " and metadata or attributes were asked for"
)


NOT_A_JWT = "the token is empty or not a JWT"


def is_token(token: str) -> bool:
    """Whether this may be in a header of HTTP: what fails later may show it."""
    return bool(token) and token.isascii() and token.isprintable()


def token_problem(body: str) -> str:
    """What a 401 says is wrong, in fixed words: the body itself may hold the token."""
    for phrase, meaning in (
        ("is expired", "the token has expired"),
        ("not valid yet", "the token is not valid yet"),
        ("signature is invalid", "the token is not signed with the server's secret"),
        ("invalid API key", "the server does not know the token's API key"),
        ("permissions denied", "the token does not grant joining a room"),
        ("no permissions to access", _NO_ACCESS),
    ):
        if phrase in body:
            return meaning
    return "the server does not accept the token"
