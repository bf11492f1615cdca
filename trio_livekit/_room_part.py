"""What the parts of ``Room`` share: a feature with many calls is a class of its own, and ``Room`` joins them."""

from __future__ import annotations

__all__ = ["DEFAULT_RECIPIENTS_WITHIN_S", "RoomPart", "check_seconds", "names_of"]

from typing import TYPE_CHECKING

from ._room_view import RoomView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._session.session import Session
    from .participants import LocalParticipant

DEFAULT_RECIPIENTS_WITHIN_S = 3.5
"""A server tells of participants that publish nothing every 3 seconds."""


class RoomPart:
    """A room that this client is in, as its features need it.

    Attributes:
        local_participant: this client.
    """

    local_participant: LocalParticipant
    _session: Session

    def __init__(self) -> None:
        self._view = RoomView()

    def _check_open(self) -> None:
        """Raise what ended the room, if it is over."""
        self._view.check_open()


def names_of(destination_identities: Sequence[str]) -> tuple[str, ...]:
    """Those for whom something is. Raises ``TypeError`` where only one is named: text is a sequence, too."""
    if isinstance(destination_identities, (str, bytes)):
        raise TypeError("destination_identities is a sequence of identities, not a single one")
    return tuple(destination_identities)


def check_seconds(**limits: float) -> None:
    """Raises ``TypeError`` or ``ValueError`` for a limit that is no number of seconds above 0.

    Limits are looked at by tasks of the room, in which an error would end it.
    """
    for name, limit in limits.items():
        if not isinstance(limit, (int, float)):
            raise TypeError(f"{name} is a number of seconds, math.inf for no limit, not {type(limit).__name__}")
        if not limit > 0:
            raise ValueError(f"{name} is a number of seconds, more than 0, not {limit}")
