"""What an operator does to a livekit-server: its RoomService, as Twirp over HTTP."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import trio

if TYPE_CHECKING:
    from .livekit import LiveKitServer


class RoomServiceError(Exception):
    """The server refused; ``code`` is the Twirp code, such as ``not_found``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


async def call(server: LiveKitServer, method: str, /, **request: Any) -> dict[str, Any]:
    """Call ``livekit.RoomService/method``; field names as in the protocol. Raises ``RoomServiceError``."""
    body = json.dumps(request).encode()
    head = (
        f"POST /twirp/livekit.RoomService/{method} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {_admin_token(server, request)}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    answer = bytearray()
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(head.encode() + body)
        async for chunk in stream:
            answer += chunk
    answer_head, _, answer_body = bytes(answer).partition(b"\r\n\r\n")
    if b"chunked" in answer_head.lower():
        answer_body = _dechunked(answer_body)
    said = json.loads(answer_body)
    if int(answer_head.split()[1]) != 200:
        raise RoomServiceError(said.get("code", ""), said.get("msg", ""))
    return said


def _dechunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return whole


def _admin_token(server: LiveKitServer, request: dict[str, Any]) -> str:
    video = {"roomCreate": True, "roomList": True, "roomAdmin": True, "room": request.get("room", "")}
    claims = {"iss": server.api_key, "exp": int(time.time()) + 60, "video": video}
    return jwt.encode(claims, server.api_secret, algorithm="HS256")
