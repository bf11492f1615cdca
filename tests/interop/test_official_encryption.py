"""End-to-end encryption between our client and LiveKit's own SDKs, through the real server."""

from __future__ import annotations

import pytest

from . import official_encryption as cases

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


async def test_we_ratchet(python_peer, patient_server, room_name):
    """The JavaScript SDK follows nobody who ratchets without a word: its data cryptor tries the same key again."""
    await cases.we_ratchet(python_peer, patient_server, room_name)
