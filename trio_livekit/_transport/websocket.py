"""Websockets: wsproto, which this module alone imports, driven by trio.

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
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, RejectConnection, RejectData, Request
from wsproto.utilities import RemoteProtocolError

from .._sansio.signal.frames import FrameGuard, close_frame
from ..errors import LiveKitError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wsproto.events import Event

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

_NORMAL, _ABNORMAL = 1000, 1006
"""Close codes; the second is never sent, but stands for a connection that just broke."""

_RECEIVE_BYTES = 4096

_DIAL_AGAIN_S = 1.0
"""How long the first try of a TCP connection may take."""

_QUEUE_MESSAGES = 16
"""Messages that were received and not yet asked for; then the peer has to wait."""

_HUNG_UP = "the server hung up during the handshake"
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
        self.reason = text


class UpgradeRefused(LiveKitError):
    """The server answered the upgrade with an HTTP status other than 101. ``body`` is cut, and may hold secrets."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"websocket upgrade refused with status {status}")
        self.status = status
        self.body = body


class Websocket:
    """One open websocket carrying binary messages. Comes from ``upgrade`` or ``accept_websocket``."""

    def __init__(self, protocol: WSConnection, stream: _Guarded, queue_messages: int) -> None:
        self._protocol = protocol
        self._stream = stream
        self._arriving, self._arrived = trio.open_memory_channel[bytes](queue_messages)
        self._parts: list[bytes | bytearray] = []
        self._end: WebsocketClosed | None = None
        self._is_read = trio.Event()

    async def send(self, message: bytes) -> None:
        """Send one binary message. Raises ``WebsocketClosed``."""
        if self._end is not None or self._protocol.state is not ConnectionState.OPEN:
            await trio.lowlevel.checkpoint()
            raise self._closed()
        try:
            await self._transmit(BytesMessage(message))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._closed() from None

    async def receive(self) -> bytes:
        """The next message. Raises ``WebsocketClosed``."""
        try:
            return await self._arrived.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise self._closed() from None

    async def aclose(self) -> None:
        """Close with the closing handshake if it is quick, and without it otherwise. Bounded, also when cancelled."""
        self._arrived.close()
        try:
            with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                if self._protocol.state is ConnectionState.OPEN:
                    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await self._transmit(CloseConnection(_NORMAL))
                await self._is_read.wait()
        finally:
            self._end = self._end or WebsocketClosed(_NORMAL)
            await trio.aclose_forcefully(self._stream)

    def _closed(self) -> WebsocketClosed:
        fault = self._stream.fault
        end = self._end or WebsocketClosed(_ABNORMAL)
        return WebsocketClosed(end.code, end.reason) if fault is None else WebsocketClosed(fault.code, fault.text)

    async def _transmit(self, event: Event) -> None:
        await self._stream.send_all(self._protocol.send(event))

    async def _read(self) -> None:
        """The task of the websocket: takes in what the peer sends, and answers pings and goodbyes, until it ends."""
        try:
            with self._arriving:
                while await self._on_events():
                    data = await self._stream.receive_some(_RECEIVE_BYTES)
                    if not data:
                        return
                    self._protocol.receive_data(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception as exc:  # whatever a hostile peer provokes ends this websocket, not the room
            logger.debug("a websocket ended: %s", type(exc).__name__)
            await trio.aclose_forcefully(self._stream)
        finally:
            self._end = self._end or WebsocketClosed(_ABNORMAL)
            self._is_read.set()

    async def _on_events(self) -> bool:
        """Act on what has arrived. Whether there may be more."""
        for event in self._protocol.events():
            match event:
                case BytesMessage():
                    await self._on_part(event)
                case Ping() if self._protocol.state is ConnectionState.OPEN:
                    await self._transmit(event.response())
                case CloseConnection():
                    self._end = WebsocketClosed(event.code, event.reason or "")
                    if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                        await self._transmit(event.response())
                    if not self._protocol.client:  # the server's is the first to go (RFC 6455 section 7.1.1)
                        await trio.aclose_forcefully(self._stream)
                    return False
        return True

    async def _on_part(self, event: BytesMessage) -> None:
        self._parts.append(event.data)
        if event.message_finished:
            message, self._parts = b"".join(self._parts), []
            with contextlib.suppress(trio.BrokenResourceError):  # this end is closing, and waits for the goodbye alone
                await self._arriving.send(message)


async def dial(url: str) -> trio.SocketStream:
    """A TCP connection to the host of ``url``. Raises ``OSError``; the caller bounds the time.

    One that takes long is begun anew: the kernel repeats a SYN that nobody answered after a second, and then ever
    later, though the network may be back by then. The next try may take longer, for names that are resolved slowly.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if _is_secure(url) else 80)
    patience_s = _DIAL_AGAIN_S
    while True:
        try:
            with trio.move_on_after(patience_s):
                return await trio.open_tcp_stream(host, port)
        except OSError as exc:
            raise _first_cause(exc) from exc
        patience_s *= 2


def _first_cause(exc: OSError) -> OSError:
    """Trio says that all attempts failed; whoever has to do something about it asks why."""
    cause: BaseException | None = exc.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if exc.errno is not None or not isinstance(cause, OSError) or cause.errno is None:
        return exc
    return OSError(cause.errno, f"{exc}: {cause.strerror}")


async def secure(stream: trio.SocketStream, url: str, ssl_context: ssl.SSLContext | None = None) -> ClientStream:
    """TLS on a connection, where ``url`` says so. Raises ``OSError``; ``stream`` is closed unless this returns."""
    if not _is_secure(url):
        return stream
    try:
        context = ssl_context or ssl.create_default_context()
        tls = trio.SSLStream(stream, context, server_hostname=urlsplit(url).hostname, https_compatible=True)
        await tls.do_handshake()
    except trio.BrokenResourceError as exc:
        await trio.aclose_forcefully(stream)
        raise OSError(f"TLS handshake failed: {exc.__cause__ or exc}") from exc
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return tls


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

    Raises ``UpgradeRefused`` or ``WebsocketClosed``. ``stream`` is closed unless this returns.
    """
    parts = urlsplit(url)
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    protocol = WSConnection(ConnectionType.CLIENT)
    guarded = _Guarded(stream, _MAX_ANSWER_BYTES, max_message_bytes, is_client=True)
    request = Request(host, resource, extra_headers=[(name.encode(), value.encode()) for name, value in headers])
    try:
        with _one_error(_HUNG_UP):
            await guarded.send_all(protocol.send(request))
            await _until_accepted(protocol, guarded)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return _start(nursery, f"websocket to {host}", protocol, guarded, _QUEUE_MESSAGES)


@contextlib.contextmanager
def _one_error(text: str) -> Iterator[None]:
    """Whatever else is raised in a handshake, by a stream or by the library, is a ``WebsocketClosed``."""
    try:
        yield
    except LiveKitError:
        raise
    except Exception as exc:
        logger.debug("%s: %s", text, type(exc).__name__)
        raise WebsocketClosed(_ABNORMAL, text) from None


async def _until_accepted(protocol: WSConnection, stream: _Guarded) -> None:
    """Raises ``UpgradeRefused``, or ``WebsocketClosed`` when the server hangs up."""
    status, body = 0, b""
    while True:
        for event in protocol.events():
            match event:
                case AcceptConnection():
                    return
                case RejectConnection():
                    status = event.status_code
                    if not event.has_body:
                        raise _refusal(status, body)
                case RejectData():
                    body += event.data
                    if event.body_finished:
                        raise _refusal(status, body)
        data = await stream.receive_some(_RECEIVE_BYTES)
        if not data:
            raise WebsocketClosed(_ABNORMAL, _HUNG_UP)
        protocol.receive_data(bytes(data))


def _refusal(status: int, body: bytes) -> UpgradeRefused:
    return UpgradeRefused(status, body[:_MAX_REFUSAL_BYTES].decode("utf-8", "replace"))


def _start(
    nursery: trio.Nursery, name: str, protocol: WSConnection, stream: _Guarded, queue_messages: int
) -> Websocket:
    stream.is_open = True
    websocket = Websocket(protocol, stream, queue_messages)
    nursery.start_soon(websocket._read, name=name)
    return websocket


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
_REFUSAL = re.compile(rb"HTTP/\d\.\d (?!101)")


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
        self.is_open = False
        self.fault: Fault | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._turn:
            if self.fault is not None:
                raise trio.BrokenResourceError(f"the peer sent {self.fault.text}")
            self._may_say_more = False  # within a frame, in which this ends if it is cancelled
            await super().send_all(data)
            self._may_say_more = data[:1] != _CLOSE_FRAME

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._found is None:
            data = await super().receive_some(max_bytes)
            frames = data if self._guard is not None else self._after_handshake(data)
            if self._guard is None or (fault := self._guard.receive(frames, trio.current_time())) is None:
                return data
            self._found = fault
            if passed := data[: len(data) - len(frames) + self._guard.passed]:
                return passed  # what came before it is heard first
        self.fault = self._found
        await self._hang_up(self._found)
        raise trio.BrokenResourceError(f"the peer sent {self._found.text}")

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
    protocol = WSConnection(ConnectionType.SERVER)
    guarded = _Guarded(_Replay(stream, received), _MAX_REQUEST_BYTES, max_message_bytes, is_client=False)
    try:
        with _one_error("the client asked for no websocket, or hung up"):
            await _until_asked(protocol, guarded)
            await guarded.send_all(protocol.send(AcceptConnection()))
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return _start(nursery, name, protocol, guarded, _SERVER_QUEUE_MESSAGES)


async def _until_asked(protocol: WSConnection, stream: _Guarded) -> None:
    """Raises ``RemoteProtocolError`` for a request that asks for no websocket, and has been answered."""
    try:
        while not any(isinstance(event, Request) for event in protocol.events()):
            data = await stream.receive_some(_RECEIVE_BYTES)
            if not data:
                raise WebsocketClosed(_ABNORMAL, "the client hung up during the handshake")
            protocol.receive_data(bytes(data))
    except RemoteProtocolError as exc:
        if exc.event_hint is not None:
            await stream.send_all(protocol.send(exc.event_hint))
        raise
