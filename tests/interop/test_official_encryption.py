"""End-to-end encryption between our client and LiveKit's own SDKs, through the real server."""

from __future__ import annotations

import pytest

from . import official_encryption as cases
from .official_cases import PACKET_PAYLOADS, STREAM_PAYLOADS, call_with_packets

pytestmark = [pytest.mark.livekit_server, pytest.mark.official]


@pytest.mark.parametrize(
    "case",
    [
        cases.a_shared_passphrase,
        cases.shared_bytes,
        cases.keys_of_ones_own,
        cases.another_key,
        cases.they_ratchet,
        cases.both_ratchet,
        cases.a_wrong_key_there,
    ],
    ids=lambda case: case.__name__,
)
async def test_encrypted(case, official_peer, patient_server, room_name):
    await case(official_peer, patient_server, room_name)


@pytest.mark.parametrize("form", ["streams", "packets"])
async def test_calls_and_streams(official_peer, patient_server, room_name, form, monkeypatch):
    if form == "packets":
        call_with_packets(monkeypatch)
    payloads = STREAM_PAYLOADS if form == "streams" else PACKET_PAYLOADS
    await cases.calls_and_streams(official_peer, patient_server, room_name, *payloads)


async def test_we_ratchet(python_peer, patient_server, room_name):
    """The JavaScript SDK follows nobody who ratchets without a word: its data cryptor tries the same key again."""
    await cases.we_ratchet(python_peer, patient_server, room_name)
