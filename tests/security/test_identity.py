"""Somebody who claims to be somebody else: in packets (S29), and in tokens (S31)."""

from __future__ import annotations

import hmac

import pytest
import trio

import trio_livekit as lk
from tests.server.clients import signal_client
from tests.session.test_packets import Bench
from trio_livekit._sansio.packets import messages as p
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.labels import RELIABLE
from trio_livekit._wire.generated import models
from trio_livekit._wire.packets import stamp_packet
from trio_livekit.errors import AccessTokenError, AccessTokenErrorReason
from trio_livekit.server import serve
from trio_livekit.tokens import access_token, verify_token


@pytest.mark.parametrize("value", ["user", "rpc_request", "rpc_ack", "stream_header", "stream_chunk", "stream_trailer"])
def test_s29_the_server_writes_the_true_sender_whatever_a_packet_claims(value: str) -> None:
    packet = models.DataPacket(participant_identity="boss", participant_sid="PA_boss")
    getattr(packet, value).SetInParent()
    if value == "user":
        packet.user.participant_identity, packet.user.participant_sid = "boss", "PA_boss"
    stamped = stamp_packet(packet.SerializeToString(), identity="mallory", sid="PA_m", reliable=True)
    assert b"boss" not in stamped.data
    received = models.DataPacket.FromString(stamped.data)
    assert (received.participant_identity, received.participant_sid) == ("mallory", "PA_m")


async def test_s29_a_client_believes_the_envelope_alone() -> None:
    """Names inside of a user packet, and destinations, are whatever its sender wrote."""
    bench = Bench()
    inner = models.UserPacket(
        payload=b"x", topic="t", participant_identity="boss", participant_sid="PA_boss", destination_identities=["eve"]
    )
    packet = models.DataPacket(user=inner, participant_identity="ann", participant_sid="PA_ann", sequence=1)
    packet.destination_identities.append("nobody")
    bench.packets.incoming.on_message(RELIABLE, packet.SerializeToString())
    [got] = bench.got
    assert (got.participant_identity, got.participant_sid) == ("ann", "PA_ann")
    assert "boss" not in repr(got.value)


async def test_s29_what_says_it_is_from_ourselves_is_dropped() -> None:
    bench = Bench()
    bench.packets.incoming.own_identity = "ann"
    bench.deliver(p.UserPacket(b"echo", "t"), sequence=1)
    bench.deliver(p.RpcAck("call"), sequence=2)
    bench.deliver(p.StreamChunk("stream", 0, b"echo"), sequence=3)
    bench.deliver(p.UserPacket(b"echo", "t"), lossy=True)
    assert bench.got == []
    assert bench.packets.statistics().unheeded == 4
    bench.packets.incoming.own_identity = "ben"
    bench.deliver(p.UserPacket(b"from her", "t"), sequence=4)
    assert len(bench.got) == 1


async def test_s29_a_room_knows_who_it_is() -> None:
    async with serve() as server, lk.connect(server.url, server.token("ann", "den")) as room:
        assert room._session.packets.incoming.own_identity == "ann"
        async with room.data_packets() as packets:
            server.send_data("den", b"of the server's own")
            with trio.fail_after(5):
                assert (await packets.receive()).payload == b"of the server's own"
            packet = models.DataPacket(participant_identity="nobody here", participant_sid="PA_unknown")
            packet.user.payload = b"from somebody not announced"
            room._session.packets.incoming.on_message(RELIABLE, packet.SerializeToString())
            received = await packets.receive()
            assert (received.sender_identity, received.participant) == ("nobody here", None)


async def test_s31_a_token_is_for_its_room_alone() -> None:
    """Whatever else the request asks for."""
    async with serve() as server:
        query = {"room": "cellar", "roomName": "cellar", "room_name": "cellar", "identity": "boss"}
        async with signal_client(server, token=server.token("ann", "den"), query=query) as client:
            join = await client.expect(m.Join)
            assert (join.room.name, join.participant.identity) == ("den", "ann")
            assert set(server.rooms) == {"den"}


@pytest.mark.parametrize(("secret", "is_warned_of"), [("secret", True), ("x" * 31, True), ("x" * 32, False)])
async def test_s31_short_secrets_are_warned_of(
    secret: str, is_warned_of: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(api_secret=secret):
        pass
    assert ("shorter than 32 bytes" in caplog.text) is is_warned_of
    assert secret not in caplog.text.replace("API secret", "")


def test_s31_the_empty_secret_signs_nothing() -> None:
    """Neither as the secret of a key, nor as that of a token."""
    token = access_token("key", "x" * 32, identity="ann", room="den")
    unsigned = token.rpartition(".")[0]
    with pytest.raises(AccessTokenError) as error:
        verify_token(token, {"key": ""}.get)
    assert error.value.reason is AccessTokenErrorReason.UNKNOWN_KEY
    with pytest.raises(AccessTokenError) as error:
        verify_token(f"{unsigned}.", {"key": "x" * 32}.get)
    assert error.value.reason is AccessTokenErrorReason.BAD_SIGNATURE


def test_s31_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    genuine = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return genuine(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    verify_token(access_token("key", "x" * 32, identity="ann", room="den"), {"key": "x" * 32}.get)
    assert compared == [(32, 32)]
