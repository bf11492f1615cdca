"""What errors say of themselves."""

from __future__ import annotations

import pickle

import pytest

import trio_livekit as lk
from trio_livekit.errors import ConnectErrorReason, DisconnectReason, RoomDisconnected


def test_reasons_are_printed_by_name() -> None:
    """Those that are numbers on the wire as well, and those that this version does not know."""
    error = RoomDisconnected(DisconnectReason.DUPLICATE_IDENTITY)
    assert f"{error.reason}" == str(error.reason) == "DisconnectReason.DUPLICATE_IDENTITY"
    assert f"{ConnectErrorReason.TIMEOUT}" == "ConnectErrorReason.TIMEOUT"
    assert str(DisconnectReason(99)) == "DisconnectReason.UNKNOWN_99"
    assert pickle.loads(pickle.dumps(error)).reason is DisconnectReason.DUPLICATE_IDENTITY
    assert str(lk.ConnectionQuality.POOR) == "ConnectionQuality.POOR"


@pytest.mark.parametrize("missing", ["api_key", "api_secret", "identity", "room"])
def test_a_token_says_what_it_lacks(missing: str) -> None:
    given = {"api_key": "key", "api_secret": "secret", "identity": "robot", "room": "lab"} | {missing: ""}
    with pytest.raises(ValueError, match=f": {missing} is empty"):
        lk.access_token(given["api_key"], given["api_secret"], identity=given["identity"], room=given["room"])
