"""Reading one request head within bounds."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_livekit.server.http import HttpRefusal, read_request, send_text


async def read(*chunks: bytes, max_bytes: int = 1000):
    """What comes out of these chunks followed by the end of the stream."""
    client, server = trio.testing.memory_stream_one_way_pair()
    for chunk in chunks:
        await client.send_all(chunk)
    await client.aclose()
    return await read_request(server, max_bytes)


HEAD = b"GET /rtc/v1?join_request=a%3D&x=1&x=2&empty= HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nX: 1\r\nX: 2\r\n\r\n"


async def test_a_request_is_taken_apart():
    request = await read(HEAD + b"more")
    assert (request.method, request.path) == ("GET", "/rtc/v1")
    assert request.query == {"join_request": "a=", "x": "1", "empty": ""}
    assert request.headers == {"host": "h", "upgrade": "WebSocket", "x": "1"}
    assert request.wants_websocket
    assert request.received == HEAD + b"more"


async def test_a_request_may_come_in_pieces():
    client, server = trio.testing.memory_stream_one_way_pair()
    seen = []

    async def trickle():
        for index in range(len(HEAD)):
            await client.send_all(HEAD[index : index + 1])
            await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        seen.append(await read_request(server, 1000))
    assert seen[0].received == HEAD


@pytest.mark.parametrize("path", ["//rtc", "///rtc"])
async def test_slashes_too_many_are_forgiven(path):
    request = await read(f"GET {path}?a=b HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert (request.path, request.query, request.wants_websocket) == ("/rtc", {"a": "b"}, False)


@pytest.mark.parametrize("chunk", [b"", HEAD[:-2], b"G"])
async def test_hanging_up_early_is_no_request(chunk):
    assert await read(chunk) is None


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\x16\x03\x01\x00\xa5 not http at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nBad Header: x\r\n\r\n", 400),
        (b"GET /?" + b"&".join(b"a%d=1" % n for n in range(100)) + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 2000, 431),
    ],
)
async def test_what_is_no_request_is_refused(head, status):
    with pytest.raises(HttpRefusal) as caught:
        await read(head)
    assert caught.value.status == status


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300)
    | st.binary(max_size=100).map(lambda junk: b"GET /" + junk + b" HTTP/1.1\r\nHost: h\r\n\r\n")
)
async def test_any_bytes_are_a_request_or_refused(data):
    refused = request = None
    try:
        request = await read(data)
    except HttpRefusal as exc:
        refused = exc
    assert refused is None or 400 <= refused.status < 500
    assert request is None or request.received == data


async def test_answers_are_short_and_complete():
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(b"what was not read yet")
    await client.send_eof()
    await send_text(server, 404, "no such thing")
    await server.aclose()
    answer = bytearray()
    while chunk := await client.receive_some():
        answer += chunk
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Content-Length: 13\r\n" in head
    assert body == b"no such thing"
