"""A thin wrapper over trio-websocket, the only module that imports it.

It adds what that library leaves open: errors of one kind, a bound on every close, the status and body of a refused
upgrade, and bounds on what a peer can do with frames: one that oversteps them is told so in a close frame, and hung up
on. Messages are whole and binary; compression is never offered, so that there is no frame that becomes larger than it
is.
"""

from __future__ import annotations

__all__ = [
    "MAX_MESSAGE_BYTES",
    "TOO_LARGE",
    "UpgradeRefused",
    "Websocket",
    "WebsocketClosed",
    "accept_websocket",
    "connect_stream",
    "connect_websocket",
    "dial",
    "secure",
    "upgrade",
]

import contextlib
import logging
import re
import secrets
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream, wrap_server_stream

from .._sansio.signal.frames import FrameGuard, close_frame
from ..errors import LiveKitError
from .streams import OnlyTls, asks_for_tls, is_tls, open_tcp, shake_hands

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from trio_websocket import WebSocketConnection

    from .._sansio.signal.frames import Fault

    ClientStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 1 << 20
"""The largest message accepted, unless somebody says otherwise."""

TOO_LARGE = 1009
"""The close code of RFC 6455 section 7.4.1 for messages longer than that."""

CLOSE_TIMEOUT_S = 0.5
"""How long the closing handshake may take before the TCP connection is simply closed."""

_FAREWELL_S = 0.5
"""How long a peer that broke the rules has to take in which, before the TCP connection is closed."""

_DIAL_AGAIN_S = 1.0
"""How long the first try of a TCP connection may take."""

_QUEUE_MESSAGES = 16
"""Messages that were received and not yet asked for; then the peer has to wait."""

_MAX_REFUSAL_BYTES = 4096
_MAX_ANSWER_BYTES = 256 << 10
"""How much a server may say before the upgrade is done: a refusal is collected whole by the library."""

_MAX_REQUEST_BYTES = 1 << 20
"""The same for a client, whose request has been read before, within the bounds of whoever read it."""


class WebsocketClosed(LiveKitError):
    """The websocket is closed. ``code`` is the close code, 1006 where the connection just broke."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(f"websocket closed with code {code}" + (f": {text}" if text else ""))
        self.code = code


class UpgradeRefused(LiveKitError):
    """The server answered the upgrade with an HTTP status other than 101. ``body`` is cut, and may hold secrets."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"websocket upgrade refused with status {status}")
        self.status = status
        self.body = body


class Websocket:
    """One open websocket carrying binary messages."""

    def __init__(self, connection: WebSocketConnection, stream: _Guarded, reader: _Reader) -> None:
        self._connection = connection
        self._stream = stream
        self._reader = reader

    async def send(self, message: bytes) -> None:
        """Send one binary message. Raises ``WebsocketClosed``."""
        try:
            await self._connection.send_message(message)
        except ConnectionClosed as exc:
            raise self._closed(exc) from None

    async def receive(self) -> bytes:
        """The next message. Raises ``WebsocketClosed``."""
        try:
            message = await self._connection.get_message()
        except ConnectionClosed as exc:
            raise self._closed(exc) from None
        assert isinstance(message, bytes), "text is refused before it gets here"
        return message

    @property
    def is_broken(self) -> bool:
        """Whether the connection ended without the peer's close frame: what was sent last may not have been heard."""
        return self._stream.is_broken

    def _closed(self, exc: ConnectionClosed) -> WebsocketClosed:
        fault = self._stream.fault
        return _closed(exc) if fault is None else WebsocketClosed(fault.code, fault.text)

    async def aclose(self) -> None:
        """Close with the closing handshake if it is quick, and without it otherwise. Bounded, also when cancelled."""
        with self._reader.while_running(trio.CancelScope(shield=True)) as scope:
            scope.deadline = trio.current_time() + CLOSE_TIMEOUT_S
            await self._connection.aclose()  # which returns at once where the peer was first to close
            if self._connection.is_server:
                await self._reader.ended.wait()  # by then it has answered, and closed the stream
        await trio.aclose_forcefully(self._stream)  # the library leaves it open where the server was first to close


def _closed(exc: Exception) -> WebsocketClosed:
    reason = getattr(exc, "reason", None)
    return WebsocketClosed(getattr(reason, "code", None) or 1006, getattr(reason, "reason", None) or "")


class _Reader:
    """Stands where trio-websocket wants a nursery, so that its reader task cannot fail the nursery it lives in.

    The library starts one task, and reports a refused or broken handshake by raising in it, while whoever waits for a
    handshake, be it the opening or the closing one, waits on. Here the wait is cancelled instead, and the reason kept.
    """

    def __init__(self, nursery: trio.Nursery, name: str) -> None:
        self._nursery = nursery
        self._name = name
        self._waiting: trio.CancelScope | None = None
        self.ended = trio.Event()
        self.failure: Exception | None = None

    def while_running(self, scope: trio.CancelScope) -> trio.CancelScope:
        """The same scope, which is cancelled when the task ends: there is nothing left to wait for then."""
        self._waiting = scope
        if self.ended.is_set():
            scope.cancel("the websocket reader has ended")
        return scope

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, reader, name=self._name)

    async def _run(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            await reader()
        except Exception as exc:  # whatever a hostile server provokes ends this websocket, not the room
            logger.debug("%s ended: %s", self._name, type(exc).__name__)
            self.failure = exc
        finally:
            self.ended.set()
            if self._waiting is not None:
                self._waiting.cancel("the websocket reader ended")


def _refusal(failure: Exception | None, stream: _Guarded) -> Exception:
    if isinstance(failure, ConnectionRejected):
        return _refused(failure.status_code, failure.body or b"")
    if stream.is_answered_in_tls:
        return OnlyTls()
    return stream.refusal or WebsocketClosed(1006, "the server hung up during the handshake")


def _refused(status: int, body: bytes) -> UpgradeRefused:
    return UpgradeRefused(status, body[:_MAX_REFUSAL_BYTES].decode("utf-8", "replace"))


async def dial(url: str) -> trio.SocketStream:
    """A TCP connection to the host of ``url``. Raises ``OSError``; the caller bounds the time.

    One that takes long is begun anew: the kernel repeats a SYN that nobody answered after a second, and then ever
    later, though the network may be back by then. The next try may take longer, for names that are resolved slowly.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if _is_secure(url) else 80)
    patience_s = _DIAL_AGAIN_S
    while True:
        with trio.move_on_after(patience_s):
            return await open_tcp(host, port)
        patience_s *= 2


async def secure(stream: trio.SocketStream, url: str, ssl_context: ssl.SSLContext | None = None) -> ClientStream:
    """TLS on a connection, where ``url`` says so. Raises ``OSError``; ``stream`` is closed unless this returns."""
    if not _is_secure(url):
        return stream
    return await shake_hands(stream, urlsplit(url).hostname or "", ssl_context, https_compatible=True)


def _is_secure(url: str) -> bool:
    return urlsplit(url).scheme in ("wss", "https")


async def connect_websocket(
    nursery: trio.Nursery,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    ssl_context: ssl.SSLContext | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Websocket:
    """Connect to ``url`` (ws or wss). One task of the websocket lives in ``nursery`` until ``aclose``.

    Raises ``UpgradeRefused`` when the server answers with something else than 101, ``WebsocketClosed`` when it hangs up
    first, and ``OSError`` (also for TLS) when it cannot be reached. The caller bounds the time; a cancelled call leaves
    nothing behind.
    """
    stream = await connect_stream(url, ssl_context=ssl_context)
    return await upgrade(nursery, stream, url, headers=headers, max_message_bytes=max_message_bytes)


async def connect_stream(url: str, *, ssl_context: ssl.SSLContext | None = None) -> ClientStream:
    """The first half of ``connect_websocket``: a TCP connection, with TLS where ``url`` says so. Raises ``OSError``."""
    return await secure(await dial(url), url, ssl_context)


async def upgrade(
    nursery: trio.Nursery,
    stream: ClientStream,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Websocket:
    """The second half: from the first byte sent, the server may act on the request, also if this is cancelled.

    A message longer than ``max_message_bytes`` closes the websocket with code 1009.

    Raises ``UpgradeRefused`` or ``WebsocketClosed``, and ``OnlyTls`` where a server wants TLS. ``stream`` is closed
    unless this returns.
    """
    parts = urlsplit(url)
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    reader = _Reader(nursery, f"websocket to {parts.netloc.rpartition('@')[2]}")
    connection: WebSocketConnection | None = None
    guarded = _Guarded(stream, _MAX_ANSWER_BYTES, max_message_bytes, is_client=True)
    try:
        with reader.while_running(trio.CancelScope()):
            connection = await wrap_client_stream(
                cast("trio.Nursery", reader),
                cast("ClientStream", guarded),
                parts.netloc.rpartition("@")[2],
                resource,
                extra_headers=[(name.encode(), value.encode()) for name, value in headers],
                message_queue_size=_QUEUE_MESSAGES,
                max_message_size=max_message_bytes,
            )
    finally:
        if connection is None:
            await trio.aclose_forcefully(stream)  # which also ends the reader
    if connection is None:
        refusal = _refusal(reader.failure, guarded)
        if isinstance(refusal, UpgradeRefused) and not _is_secure(url) and asks_for_tls(refusal.status, refusal.body):
            raise OnlyTls
        raise refusal
    guarded.is_open = True
    return Websocket(connection, guarded, reader)


class _Through(trio.abc.Stream):
    """A stream that does what another does."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


_BLANK_LINE = re.compile(rb"\n\r?\n")
_CLOSE_FRAME = b"\x88"
_REFUSAL = re.compile(rb"HTTP/\d\.\d (?!101)(\d{3})?")


class _Guarded(_Through):
    """A stream that breaks when the peer does not come to an end with its handshake, or does what no peer needs to do.

    ``fault`` then says what it did, if it was with frames; so does a close frame, after which nothing else is sent.
    """

    def __init__(
        self, stream: trio.abc.Stream, max_handshake_bytes: int, max_message_bytes: int, *, is_client: bool
    ) -> None:
        super().__init__(stream)
        self._is_client = is_client
        self._max_handshake_bytes = max_handshake_bytes
        self._max_message_bytes = max_message_bytes
        self._head = bytearray()
        self._guard: FrameGuard | None = None
        self._turn = trio.Lock()
        self._may_say_more = True
        self._found: Fault | None = None
        self._has_ended = False  # by the peer, or by the network
        self.is_open = False
        self.fault: Fault | None = None

    @property
    def is_answered_in_tls(self) -> bool:
        """Whether the answer to the upgrade was TLS, which says that it was not understood."""
        return is_tls(self._head)

    @property
    def refusal(self) -> UpgradeRefused | None:
        """What the answer says if it is none of websockets. The library misses those that end with the connection."""
        status, end = _REFUSAL.match(self._head), _BLANK_LINE.search(self._head)
        if status is None or end is None or not status[1]:
            return None
        return _refused(int(status[1]), bytes(self._head[end.end() :]))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._turn:
            if self.fault is not None:
                raise trio.BrokenResourceError(f"the peer sent {self.fault.text}")
            self._may_say_more = False  # within a frame, in which this ends if it is cancelled
            await super().send_all(data)
            self._may_say_more = data[:1] != _CLOSE_FRAME

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._found is None:
            data = await self._receive(max_bytes)
            frames = data if self._guard is not None else self._after_handshake(data)
            if self._guard is None or (fault := self._guard.receive(frames, trio.current_time())) is None:
                return data
            self._found = fault
            if passed := data[: len(data) - len(frames) + self._guard.passed]:
                return passed  # what came before it is heard first
        self.fault = self._found
        await self._hang_up(self._found)
        raise trio.BrokenResourceError(f"the peer sent {self._found.text}")

    @property
    def is_broken(self) -> bool:
        """Whether the peer, or the network, ended the connection before a close frame came."""
        return self._has_ended and (self._guard is None or not self._guard.is_closed)

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        try:
            data = await super().receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._has_ended = True
            raise
        self._has_ended = self._has_ended or not data
        return data

    async def _hang_up(self, fault: Fault) -> None:
        """Say why and close, within ``_FAREWELL_S``, whether the peer reads or not, or at once if cancelled.

        Whoever is sending a frame may finish it first. What the peer still sends is read and forgotten until it hangs
        up: closing a connection with something unread resets it, and the peer might never see what it was told.
        """
        try:
            with (
                trio.move_on_after(_FAREWELL_S),
                contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                async with self._turn:
                    if self._may_say_more:
                        mask = secrets.token_bytes(4) if self._is_client else b""
                        await self._stream.send_all(close_frame(fault, mask))
                while await self._stream.receive_some():
                    pass
        finally:
            await trio.aclose_forcefully(self._stream)

    def _after_handshake(self, data: bytes | bytearray) -> bytes:
        """What of ``data`` follows the head of the upgrade, which may end in it; a refusal goes on without frames."""
        searched = max(0, len(self._head) - 2)
        self._head += data
        if not self.is_open and len(self._head) > self._max_handshake_bytes:
            raise trio.BrokenResourceError("the answer to the upgrade is too long")
        end = _BLANK_LINE.search(self._head, searched)
        if end is None or _REFUSAL.match(self._head):
            return b""
        frames = bytes(self._head[end.end() :])
        self._head.clear()
        self._guard = FrameGuard(
            trio.current_time(), is_client=self._is_client, max_message_bytes=self._max_message_bytes
        )
        return frames


_SERVER_QUEUE_MESSAGES = 8


class _Replay(_Through):
    """A stream of which some bytes have been received already: they are received again first."""

    def __init__(self, stream: trio.abc.Stream, received: bytes) -> None:
        super().__init__(stream)
        self._received = received

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._received:
            await trio.lowlevel.checkpoint()
            received, self._received = self._received, b""
            return received
        return await super().receive_some(max_bytes)


async def accept_websocket(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    received: bytes,
    *,
    name: str,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Websocket:
    """Accept the upgrade that a client asked for in ``received``: all that has been read from ``stream`` so far.

    One task of the websocket, called ``name``, lives in ``nursery`` until ``aclose``. A message longer than
    ``max_message_bytes`` closes the websocket with code 1009. Raises ``WebsocketClosed`` when the request was no
    upgrade after all, or the client hung up; the caller bounds the time, and ``stream`` is closed unless this returns.
    """
    reader = _Reader(nursery, name)
    connection: WebSocketConnection | None = None
    guarded = _Guarded(_Replay(stream, received), _MAX_REQUEST_BYTES, max_message_bytes, is_client=False)
    try:
        with reader.while_running(trio.CancelScope()):
            request = await wrap_server_stream(
                cast("trio.Nursery", reader),
                guarded,
                message_queue_size=_SERVER_QUEUE_MESSAGES,
                max_message_size=max_message_bytes,
            )
            connection = await request.accept()
    except ConnectionClosed as exc:
        raise _closed(exc) from None
    finally:
        if connection is None:
            await trio.aclose_forcefully(stream)  # which also ends the reader
    if connection is None:
        raise WebsocketClosed(1006, "the client hung up during the handshake")
    guarded.is_open = True
    return Websocket(connection, guarded, reader)
