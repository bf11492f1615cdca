"""A LiveKit client reduced to its signal connection, and plain HTTP, for tests of the server."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urlsplit

import trio

from trio_livekit._sansio.signal import messages as m
from trio_livekit._transport.websocket import Websocket, WebsocketClosed, connect_websocket
from trio_livekit._wire.signal import decode_response, encode_join_request, encode_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_livekit.server import Server

Message = TypeVar("Message")


class SignalClient:
    """Speaks raw signalling; remembers all that it heard."""

    def __init__(self, websocket: Websocket) -> None:
        self.websocket = websocket
        self.heard: list[m.Response] = []

    async def send(self, request: m.Request) -> None:
        await self.websocket.send(encode_request(request))

    async def next(self) -> m.Response:
        while True:
            response = decode_response(await self.websocket.receive())
            if response is not None:
                self.heard.append(response)
                return response

    async def expect(self, kind: type[Message]) -> Message:
        """The next message of a kind; those before it are passed over."""
        while True:
            response = await self.next()
            if isinstance(response, kind):
                return response

    async def expect_about(self, identity: str, state: m.ParticipantState | None = None) -> m.ParticipantInfo:
        """The next news of somebody (in some state)."""
        while True:
            for info in (await self.expect(m.ParticipantUpdate)).participants:
                if info.identity == identity and state in (None, info.state):
                    return info

    async def closed(self) -> int:
        """Read to the end; the close code."""
        try:
            while True:
                await self.next()
        except WebsocketClosed as exc:
            return exc.code


@asynccontextmanager
async def signal_client(
    server: Server,
    identity: str = "ann",
    room: str = "den",
    *,
    token: str | None = None,
    request: m.JoinRequest | None = None,
    query: dict[str, str] | None = None,
    **grants: bool,
) -> AsyncIterator[SignalClient]:
    """Join with ``request`` by v1, or with ``query`` by v0."""
    token = token or server.token(identity, room, **grants)
    if query is None:
        request = request or m.JoinRequest(m.ClientInfo(protocol=17, client_protocol=2))
        url = f"{server.url}/rtc/v1?{urlencode({'join_request': encode_join_request(request)})}"
    else:
        url = f"{server.url}/rtc?{urlencode({'protocol': '17', **query})}"
    async with trio.open_nursery() as nursery:
        websocket = await connect_websocket(nursery, url, headers=[("Authorization", f"Bearer {token}")])
        try:
            yield SignalClient(websocket)
        finally:
            await websocket.aclose()
            nursery.cancel_scope.cancel()


async def http(server: Server, target: str, *headers: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of a plain request; nothing is escaped, so that it may be as wrong as wanted."""
    parts = urlsplit(server.url)
    head = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: localhost", *headers))
    return await raw_http(server, f"{head}\r\n".encode(), parts.hostname or "", parts.port or 0)


async def raw_http(server: Server, data: bytes, host: str | None = None, port: int | None = None) -> tuple[int, str]:
    """Status and body of what the server answers to these bytes; (0, "") if it just hangs up."""
    parts = urlsplit(server.url)
    stream = await trio.open_tcp_stream(host or parts.hostname or "", port or parts.port or 0)
    async with stream:
        await stream.send_all(data)
        answer = bytearray()
        async for chunk in stream:
            answer += chunk
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body.decode()
