"""The front door: who is let in, who is not, and what strangers cost."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from urllib.parse import urlencode

import jwt
import pytest
import trio
import trio.testing

from trio_livekit._sansio.signal import messages as m
from trio_livekit._transport.websocket import UpgradeRefused
from trio_livekit._wire.signal import encode_join_request
from trio_livekit.server import Limits, serve
from trio_livekit.server.admission import Doorkeeper
from trio_livekit.server.http import HttpRequest
from trio_livekit.tokens import access_token

from .clients import http, raw_http, signal_client

UPGRADE = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip
JOIN = encode_join_request(m.JoinRequest(m.ClientInfo()))
SECRET = "x" * 64


@pytest.fixture
async def server():
    async with serve(api_key="key", api_secret=SECRET) as server:
        yield server


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    video = {"roomJoin": True, "room": "den"}
    return {"iss": "key", "sub": "ann", "nbf": now - 5, "exp": now + 3600, "video": video} | changes


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: object) -> str:
    present = {name: value for name, value in claims(**changes).items() if value is not None}
    return jwt.encode(present, secret, algorithm=algorithm)


async def validate(server, token: str, **query: str) -> tuple[int, str]:
    return await http(server, f"/rtc/validate?{urlencode({'access_token': token, **query})}")


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_good_token_is_good_in_the_query_and_in_the_header(server):
    token = server.token("ann", "den")
    assert await validate(server, token) == (200, "success")
    assert await validate(server, signed()) == (200, "success")
    header = f"Authorization: Bearer {token}"
    assert await http(server, "/rtc/validate", header) == (200, "success")
    assert await http(server, f"/rtc/v1/validate?{urlencode({'join_request': JOIN})}", header) == (200, "success")


NOW = int(time.time())


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("", "no permissions to access the room"),
        ("rubbish", "invalid authorization token"),
        ("a.b.c", "invalid authorization token"),
        ("x" * 40_000, "invalid authorization token"),
        (signed(iss="other"), "invalid API key"),
        (signed(iss=None), "invalid authorization token"),
        (signed("y" * 32), "invalid token, error: token signature is invalid"),
        (signed(exp=NOW - 3600), "invalid token, error: token is expired"),
        (signed(nbf=NOW + 3600), "invalid token, error: token is not valid yet"),
        (signed(exp=None), "invalid authorization token"),
        (signed(algorithm="HS512"), "invalid authorization token"),
        (jwt.encode(claims(), "", algorithm="none"), "invalid authorization token"),
        (signed(video={}), "permissions denied"),
        (signed(video={"roomJoin": False, "room": "den"}), "permissions denied"),
        (signed(video=None), "permissions denied"),
    ],
)
async def test_bad_tokens_are_refused_in_fixed_words(server, token, text):
    assert await validate(server, token) == (401, text)
    assert await http(server, f"/rtc?access_token={token}", *UPGRADE) == (401, text)


async def test_a_clock_may_be_off_by_a_minute(server):
    assert await validate(server, signed(exp=int(time.time()) - 30)) == (200, "success")


async def test_headers_must_be_bearers(server):
    status, text = await http(server, "/rtc/validate", "Authorization: Basic abc")
    assert (status, text) == (401, "invalid authorization header. Must start with Bearer ")


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"sub": ""}, 400, "identity cannot be empty"),
        ({"sub": "é" * 129}, 400, "identity length exceeds limits: max length 256"),
        ({"video": {"roomJoin": True}}, 400, "no room name"),
        ({"video": {"roomJoin": True, "room": "r" * 257}}, 400, "room name length exceeds limits: max length 256"),
        ({"name": "n" * 257}, 500, "connection closed by media"),
        ({"attributes": {"k": "v" * 30_000, "l": "v" * 10_000}, "metadata": "m"}, 200, "success"),
    ],
)
async def test_names_are_bounded(server, changes, status, text):
    header = f"Authorization: Bearer {signed(**changes)}"
    assert await http(server, "/rtc/validate", header) == (status, text)


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/", 200, "OK"),
        ("/rtc", 404, ""),
        ("/rtc/v1", 404, ""),
        ("/rtc/v2", 404, "404 page not found"),
        ("/settings/regions", 404, "404 page not found"),
    ],
)
async def test_plain_requests(server, target, status, text):
    assert await http(server, target) == (status, text)


@pytest.mark.parametrize("path", ["/rtc/v1", "/rtc/v1/validate"])
@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "join_request is required"),
        ({"join_request": "!"}, "cannot base64 decode wrapped join request"),
        ({"join_request": urlsafe_b64encode(b"\xff\xff").decode()}, "cannot base64 decode wrapped join request"),
    ],
)
async def test_join_requests_that_do_not_decode(server, path, query, text):
    query = urlencode({"access_token": server.token("ann", "den"), **query})
    headers = () if path.endswith("validate") else UPGRADE
    assert await http(server, f"{path}?{query}", *headers) == (400, text)


async def test_metadata_in_the_request_needs_the_grant(server):
    request = m.JoinRequest(m.ClientInfo(), metadata="mine", attributes={"k": "v"})
    query = {"join_request": encode_join_request(request)}
    denied = await validate(server, server.token("ann", "den"), **query)
    assert denied == (401, "no permissions to access the room")
    token = server.token("ann", "den", can_update_own_metadata=True, attributes={"k": "old", "l": "w"})
    assert await validate(server, token, **query) == (200, "success")
    async with signal_client(server, token=token, request=request) as client:
        join = await client.expect(m.Join)
    assert (join.participant.metadata, join.participant.attributes) == ("mine", {"k": "v", "l": "w"})


async def test_attributes_in_the_query(server):
    token = server.token("ann", "den", can_update_own_metadata=True)
    good = urlsafe_b64encode(json.dumps({"k": "v"}).encode()).decode().rstrip("=")
    async with signal_client(server, token=token, query={"attributes": good}) as client:
        assert (await client.expect(m.Join)).participant.attributes == {"k": "v"}
    for bad in ("!", urlsafe_b64encode(b"[1]").decode(), urlsafe_b64encode(b'{"k": 1}').decode()):
        assert await validate(server, token, attributes=bad) == (400, "cannot decode attributes")


@pytest.mark.parametrize(("sdk", "waits"), [(1, True), (5, True), (8, False), (9, False)])
def test_the_answer_is_kept_back_from_clients_that_are_not_ready_for_it(sdk, waits):
    token = access_token("key", "s" * 32, identity="ann", room="den")
    query = {"join_request": encode_join_request(m.JoinRequest(m.ClientInfo(sdk)))}
    request = HttpRequest("GET", "/rtc/v1", query, {"authorization": f"Bearer {token}"}, b"")
    visit = Doorkeeper("key", "s" * 32, Limits()).admit(request)
    assert (visit.answer_after_s > 0) is waits


async def test_a_refused_upgrade_tells_the_client_why(server):
    with pytest.RaisesGroup(UpgradeRefused) as caught:
        async with signal_client(server, token="rubbish"):
            pass
    refusal = caught.value.exceptions[0]
    assert (refusal.status, refusal.body) == (401, "invalid authorization token")


async def test_a_full_room_is_refused_at_the_upgrade_only():
    async with serve(limits=Limits(participants_per_room=1)) as server, signal_client(server) as client:
        await client.expect(m.Join)
        target = f"?access_token={server.token('bob', 'den')}"
        assert await http(server, f"/rtc{target}", *UPGRADE) == (500, "connection closed by media")
        assert await http(server, f"/rtc/validate{target}") == (200, "success")


# --- strangers --------------------------------------------------------------------------------------------------------


async def test_silence_and_slow_requests_are_cut_off():
    assert Limits().handshake_timeout_s == 5.0
    async with serve(limits=Limits(handshake_timeout_s=0.2)) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", int(server.url.rpartition(":")[2]))
        with trio.fail_after(5):
            await stream.send_all(b"GET / HT")
            assert await stream.receive_some() == b""
        await stream.aclose()


async def test_too_long_a_head_is_refused(server):
    assert await raw_http(server, b"GET /rtc?" + b"a" * 70_000) == (431, "Request Header Fields Too Large")


async def test_an_upgrade_without_a_key_is_hung_up_on(server):
    token = server.token("ann", "den")
    status, _ = await http(server, f"/rtc?access_token={token}", "Upgrade: websocket")
    assert status in (0, 400, 426)
    assert server.rooms == {}


async def test_connections_that_have_not_joined_are_bounded():
    async with serve(limits=Limits(pending_connections=2)) as server:
        port = int(server.url.rpartition(":")[2])
        waiting = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        late = await trio.open_tcp_stream("127.0.0.1", port)
        with trio.fail_after(5):
            assert await waiting[0].receive_some() == b""
        assert (await http(server, "/"))[0] == 200
        with trio.fail_after(5):
            assert await waiting[1].receive_some() == b""
        for stream in (*waiting, late):
            await stream.aclose()


async def test_a_server_can_be_reached_by_any_address_it_listens_at():
    async with serve("0.0.0.0") as server:
        assert server.url.startswith("ws://127.0.0.1:")
        assert (await http(server, "/"))[0] == 200
