"""Which forms of a stream its recipients understand."""

from __future__ import annotations

import pytest

from trio_livekit._sansio.signal.messages import Capability, ParticipantInfo
from trio_livekit._sansio.streams.forms import understand_deflate, understand_inline

OLD = ParticipantInfo("PA_1", "old", client_protocol=1, capabilities=(Capability.COMPRESSION_DEFLATE_RAW,))
INLINE = ParticipantInfo("PA_2", "inline", client_protocol=2, capabilities=(Capability.PACKET_TRAILER,))
BOTH = ParticipantInfo("PA_3", "both", client_protocol=3, capabilities=(9, Capability.COMPRESSION_DEFLATE_RAW))


@pytest.mark.parametrize(
    ("recipients", "inline", "deflated"),
    [
        ([], False, False),
        ([None], False, False),
        ([OLD], False, False),
        ([INLINE], True, False),
        ([BOTH], True, True),
        ([BOTH, BOTH], True, True),
        ([BOTH, INLINE], True, False),
        ([BOTH, OLD], False, False),
        ([BOTH, None], False, False),
    ],
)
def test_forms(recipients: list[ParticipantInfo | None], inline: bool, deflated: bool) -> None:
    assert understand_inline(recipients) is inline
    assert understand_deflate(recipients) is deflated
