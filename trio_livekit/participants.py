"""The people and programs in a room, as read-only live views: what they show is always what the server last said."""

from __future__ import annotations

__all__ = ["LocalParticipant", "RemoteParticipant"]

from types import MappingProxyType
from typing import TYPE_CHECKING

from .data_tracks import RemoteDataTracks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._sansio.signal.messages import ConnectionQuality, ParticipantInfo, ParticipantKind, Permission


class _Participant:
    """What local and remote participants have in common."""

    def __init__(self, info: ParticipantInfo) -> None:
        self._info = info
        self._quality: ConnectionQuality | None = None

    @property
    def sid(self) -> str:
        """The server's name for this session of the participant."""
        return self._info.sid

    @property
    def identity(self) -> str:
        """The participant's unique name in the room, from its token."""
        return self._info.identity

    @property
    def name(self) -> str:
        """The display name; empty where none was given."""
        return self._info.name

    @property
    def metadata(self) -> str:
        """Free text set by the token, the server's API or the participant."""
        return self._info.metadata

    @property
    def attributes(self) -> Mapping[str, str]:
        """Key and value pairs set by the token, the server's API or the participant; a read-only snapshot."""
        return MappingProxyType(self._info.attributes)

    @property
    def permission(self) -> Permission | None:
        """What the participant may do; ``None`` where the server does not say."""
        return self._info.permission

    @property
    def kind(self) -> ParticipantKind:
        """Whether this is an ordinary participant, an agent, an ingress, ..."""
        return self._info.kind

    @property
    def connection_quality(self) -> ConnectionQuality | None:
        """How well the server hears the participant; ``None`` until it has said so."""
        return self._quality

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity!r} {self.sid}>"


class LocalParticipant(_Participant):
    """This client in the room."""


class RemoteParticipant(_Participant):
    """Another participant of the room.

    Attributes:
        data_tracks: the data tracks it publishes, by name.
    """

    def __init__(self, info: ParticipantInfo) -> None:
        super().__init__(info)
        self.data_tracks = RemoteDataTracks(info.identity)

    @property
    def is_active(self) -> bool:
        """Whether its peer connection is up, so that what is sent to it arrives."""
        return self._info.state == 2
