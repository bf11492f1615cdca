"""The real server starts, lets in who has a token, and goes away without a trace."""

from __future__ import annotations

import http.client
import os

import pytest
import trio
from livekit.protocol import rtc as proto
from trio_websocket import open_websocket_url

from ..support.livekit import bearer

pytestmark = pytest.mark.livekit_server


def validate(server, token: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", f"/rtc/validate?access_token={token}")
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_a_token_is_let_in_and_a_wrong_one_is_not(livekit_server):
    assert validate(livekit_server, livekit_server.token("robot")) == (200, "success")
    status, _ = validate(livekit_server, "no.token.atall")
    assert status == 401


async def test_the_first_message_answers_a_join(livekit_server):
    token = livekit_server.token("robot", "first message")
    with trio.fail_after(10):
        async with open_websocket_url(
            f"{livekit_server.url}/rtc?protocol=16", extra_headers=bearer(token)
        ) as websocket:
            response = proto.SignalResponse.FromString(await websocket.get_message())
    assert response.join.room.name == "first message"
    assert response.join.participant.identity == "robot"


@pytest.mark.parametrize(
    "config",
    [
        {"rtc": {"use_ice_lite": True}},
        {"rtc": {"datachannel_data_track_target_latency": "0s"}},
        {"turn": {}},
    ],
    ids=["lite", "no latency bound", "turn"],
)
async def test_private_servers_with_other_configurations(start_livekit_server, config):
    server = start_livekit_server(config)
    with trio.fail_after(10):
        headers = bearer(server.token("robot"))
        async with open_websocket_url(f"{server.url}/rtc?protocol=16", extra_headers=headers) as websocket:
            response = proto.SignalResponse.FromString(await websocket.get_message())
    urls = [url for ice_server in response.join.ice_servers for url in ice_server.urls]
    assert (f"turn:127.0.0.1:{server.turn_udp_port}?transport=udp" in urls) is ("turn" in config)


def test_a_server_ends_with_its_block(livekit_binary, tmp_path, no_leaks):
    from ..support.livekit import run_server

    with run_server(livekit_binary, tmp_path) as server:
        os.kill(server.pid, 0)
        assert "starting LiveKit server" in server.log()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_cannot_start_says_why(livekit_binary, tmp_path):
    from ..support.livekit import run_server

    with (
        pytest.raises(RuntimeError, match="did not start"),
        run_server(livekit_binary, tmp_path, {"keys": {"devkey": "short"}, "rtc": {"udp_port": "nonsense"}}),
    ):
        pass
