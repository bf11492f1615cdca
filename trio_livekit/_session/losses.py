"""How a connection is lost, what helps against it, and what those are told who wait for it."""

from __future__ import annotations

__all__ = ["Loss", "Remedy", "after", "disconnected", "joining_failed", "path_lost", "sent_away", "transport_lost"]

import enum
from typing import NamedTuple

from .._sansio.signal import messages as m
from ..errors import ConnectError, ConnectErrorReason, RoomDisconnected


class Remedy(enum.Enum):
    """What helps against a loss, from the least on."""

    PATH = enum.auto()
    """Another way through the network for the same peer connections: an ICE restart."""

    RESUME = enum.auto()
    """Another websocket for the same session."""

    RESTART = enum.auto()
    """Another session."""

    NONE = enum.auto()
    """Nothing: the server does not want us back."""

    def __lt__(self, other: Remedy) -> bool:
        return self.value < other.value


class Loss(NamedTuple):
    """How a connection was lost, and what is to be done about it."""

    remedy: Remedy
    reason: m.DisconnectReason
    text: str


# --- losses -----------------------------------------------------------------------------------------------------------

_TRANSPORT = m.DisconnectReason.CONNECTION_TIMEOUT

_REMEDIES = {m.LeaveAction.RESUME: Remedy.RESUME, m.LeaveAction.RECONNECT: Remedy.RESTART}

_WORDS = {
    m.DisconnectReason.DUPLICATE_IDENTITY: ", as another client joined with the same identity",
    m.DisconnectReason.SERVER_SHUTDOWN: ", as it shuts down",
    m.DisconnectReason.PARTICIPANT_REMOVED: ", as somebody removed this participant",
    m.DisconnectReason.ROOM_DELETED: ", as somebody deleted the room",
    m.DisconnectReason.ROOM_CLOSED: ", as the room was closed",
}
"""What the names of the reasons, which stand before it, do not quite say."""


def transport_lost(text: str) -> Loss:
    """The peer connections are of no use any more."""
    return Loss(Remedy.RESTART, _TRANSPORT, text)


def path_lost(remedy: Remedy = Remedy.PATH) -> Loss:
    """The peer connections hear nothing."""
    return Loss(remedy, _TRANSPORT, "no network path to the server works")


def sent_away(leave: m.Leave) -> Loss:
    """The server says that the session is over, or this websocket of it."""
    remedy = _REMEDIES.get(leave.action, Remedy.NONE)
    return Loss(remedy, leave.reason, f"the server ended the session{_WORDS.get(leave.reason, '')}")


def after(error: ConnectError, loss: Loss) -> Loss:
    """What a failed attempt leaves to be done."""
    if error.reason in (ConnectErrorReason.NOT_ALLOWED, ConnectErrorReason.INVALID_REQUEST):
        return Loss(Remedy.NONE, m.DisconnectReason.JOIN_FAILURE, str(error))
    if error.reason is ConnectErrorReason.ROOM_NOT_FOUND:
        remedy = Remedy.RESTART if loss.remedy is Remedy.RESUME else Remedy.NONE
        return Loss(remedy, m.DisconnectReason.ROOM_CLOSED, str(error))
    return loss


# --- what is told of them ---------------------------------------------------------------------------------------------

_CAUSES = {
    _TRANSPORT: ConnectErrorReason.TRANSPORT,
    m.DisconnectReason.SIGNAL_CLOSE: ConnectErrorReason.UNREACHABLE,
}
"""What losses mean to somebody who has not joined yet; the rest is that the server sent us away."""


def joining_failed(loss: Loss) -> ConnectError:
    """To somebody who has not joined yet."""
    reason = _CAUSES.get(loss.reason, ConnectErrorReason.REFUSED)
    text = f"the connection was lost while joining: {loss.text}"
    return ConnectError(reason, text, disconnect_reason=loss.reason)


def disconnected(loss: Loss, failure: ConnectError | None = None) -> RoomDisconnected:
    """To those in the room, where nothing helped; ``failure`` is the last attempt's."""
    text = loss.text if failure is None or str(failure) == loss.text else f"{loss.text}; reconnecting failed: {failure}"
    error = RoomDisconnected(loss.reason, f"disconnected from the room ({loss.reason.name}): {text}")
    error.__cause__ = failure
    return error
