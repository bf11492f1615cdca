"""What those are told who still use a room that is over."""

from __future__ import annotations

__all__ = ["end_of_room"]

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from ..errors import LiveKitError


def end_of_room(lost: LiveKitError | None) -> Exception:
    """What ended the room: ``lost``, or ``None`` where it was left, which is as if its user had closed it."""
    return lost or trio.ClosedResourceError("the room was left")
