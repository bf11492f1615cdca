"""Requests on their way to the server: what the features of a session see of its signalling."""

from __future__ import annotations

__all__ = ["KeptRequest", "Upstream", "keep"]

from typing import TYPE_CHECKING, NamedTuple, Protocol

from .._wire.signal import encode_request

if TYPE_CHECKING:
    from .._sansio.signal import messages as m


class KeptRequest(NamedTuple):
    """A request that may be sent later, and again in other sessions, as the bytes that it is then."""

    kind: str
    message: bytes


def keep(request: m.Request) -> KeptRequest:
    """Encode a request once. Raises ``ValueError`` or ``TypeError`` here for what could not be sent later."""
    return KeptRequest(type(request).__name__, encode_request(request))


class Upstream(Protocol):
    """Where requests go. They leave in the order of the calls."""

    @property
    def has_room(self) -> bool:
        """Whether what an application asks for may be sent now. What has to wait is told when there is room again."""

    def send_request(self, request: m.Request | KeptRequest) -> None:
        """Send a request on the websocket there is; it is lost with it."""
