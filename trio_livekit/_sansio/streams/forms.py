"""In which form the recipients of a stream understand it.

Content that is known up front may be in the header itself, and compressed, if everybody who is to read it says that it
can. The form that everybody understands is a header, chunks and a trailer. Somebody we have not been told of yet may be
of any kind, and so nobody at all counts as one who cannot.
"""

from __future__ import annotations

__all__ = ["understand_deflate", "understand_inline"]

from typing import TYPE_CHECKING

from ..signal.messages import Capability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..signal.messages import ParticipantInfo

_INLINE_PROTOCOL = 2
"""The ``client_protocol`` from which on content may be in the header."""


def understand_inline(recipients: Sequence[ParticipantInfo | None]) -> bool:
    """Whether all of them take content in the header; ``None`` stands for somebody who is not known."""
    return bool(recipients) and all(
        info is not None and info.client_protocol >= _INLINE_PROTOCOL for info in recipients
    )


def understand_deflate(recipients: Sequence[ParticipantInfo | None]) -> bool:
    """Whether all of them take compressed content; ``None`` stands for somebody who is not known."""
    return bool(recipients) and all(
        info is not None
        and info.client_protocol >= _INLINE_PROTOCOL
        and Capability.COMPRESSION_DEFLATE_RAW in info.capabilities
        for info in recipients
    )
