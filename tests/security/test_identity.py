"""Somebody who claims to be somebody else: in packets (S29), and in tokens (S31)."""

from __future__ import annotations

import hmac

import pytest

from trio_livekit._wire.generated import models
from trio_livekit._wire.packets import stamp_packet
from trio_livekit.errors import AccessTokenError, AccessTokenErrorReason
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
