"""From a URL and a token to an open signal websocket, with every refusal as its own ``ConnectError``.

The failed websocket upgrade carries the status and the body that a separate validation request would give, so there is
none. The server may echo the whole token in a refusal: its words are shown only where they cannot hold one.
"""

from __future__ import annotations

__all__ = ["NoSuchEndpoint", "open_signal_websocket", "signal_base_url"]

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from .._transport.websocket import UpgradeRefused, WebsocketClosed, connect_websocket
from ..errors import ConnectError, ConnectErrorReason, LiveKitError

if TYPE_CHECKING:
    import ssl

    import trio

    from .._transport.websocket import Websocket

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class NoSuchEndpoint(LiveKitError):
    """The server does not know this signalling path: it is older than the path."""


def signal_base_url(url: str) -> str:
    """``url`` with a websocket scheme and no trailing slash. Raises ``ConnectError`` for what is no server's URL."""

    def refuse(why: str) -> ConnectError:
        return ConnectError(
            ConnectErrorReason.INVALID_URL, f"{why}: a server's URL looks like wss://example.livekit.cloud"
        )

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


async def open_signal_websocket(
    nursery: trio.Nursery,
    base_url: str,
    path: str,
    parameters: dict[str, str],
    token: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
) -> Websocket:
    """Open ``base_url/path?parameters``, authorised by a header so that no proxy log holds the token.

    Raises ``ConnectError``, or ``NoSuchEndpoint`` where another path may be tried.
    """
    if not token.isascii() or not token.isprintable() or not token:
        raise ConnectError(ConnectErrorReason.NOT_ALLOWED, "the token is empty or not a JWT")
    url = f"{base_url}{path}?{urlencode(parameters, quote_via=quote)}"
    try:
        return await connect_websocket(
            nursery, url, headers=[("Authorization", f"Bearer {token}")], ssl_context=ssl_context
        )
    except UpgradeRefused as refused:
        raise _explain(refused, base_url) from None
    except (OSError, WebsocketClosed) as exc:
        raise ConnectError(ConnectErrorReason.UNREACHABLE, f"cannot reach {base_url}: {exc}") from exc


def _explain(refused: UpgradeRefused, base_url: str) -> LiveKitError:
    status, body = refused.status, refused.body.strip()
    if status in (401, 403):
        return ConnectError(ConnectErrorReason.NOT_ALLOWED, f"not allowed: {_token_problem(body)}", status=status)
    if status == 404:
        if "room does not exist" in body:
            text = "the room does not exist, and the server does not create rooms by itself"
            return ConnectError(ConnectErrorReason.ROOM_NOT_FOUND, text, status=status)
        return NoSuchEndpoint(f"{base_url} knows no such path")
    if 400 <= status < 500:
        return ConnectError(ConnectErrorReason.INVALID_REQUEST, f"the server refused: {body[:200]}", status=status)
    if "closed by media" in body:
        text = "the room refused another participant: it is full, or its node is not accepting any"
        return ConnectError(ConnectErrorReason.ROOM_REFUSED, text, status=status)
    return ConnectError(ConnectErrorReason.SERVER_ERROR, f"the server answered {status}", status=status)


def _token_problem(body: str) -> str:
    """What a 401 says is wrong, in fixed words: the body itself may hold the token."""
    for phrase, meaning in (
        ("is expired", "the token has expired"),
        ("not valid yet", "the token is not valid yet"),
        ("signature is invalid", "the token is not signed with the server's secret"),
        ("invalid API key", "the server does not know the token's API key"),
        ("permissions denied", "the token does not grant joining a room"),
        ("no permissions to access", "the token does not grant access to this room"),
    ):
        if phrase in body:
            return meaning
    return "the server does not accept the token"
