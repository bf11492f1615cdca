"""The people and programs in a room, as read-only live views: what they show is always what the server last said."""

from __future__ import annotations

__all__ = ["LocalParticipant", "RemoteParticipant", "TrackSubscriptionPermission"]

from types import MappingProxyType
from typing import TYPE_CHECKING

from ._sansio.signal.messages import ParticipantState
from ._session.updating import TrackSubscriptionPermission
from .data_tracks import RemoteDataTracks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ._sansio.signal.messages import ConnectionQuality, ParticipantInfo, ParticipantKind, Permission
    from ._session.updating import Updating


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
    def joined_at(self) -> float:
        """When this session of the participant began, in seconds since the Unix epoch, by the server's clock."""
        return self._info.joined_at_ms / 1000

    @property
    def is_publisher(self) -> bool:
        """Whether the participant has published anything since it joined."""
        return self._info.is_publisher

    @property
    def connection_quality(self) -> ConnectionQuality | None:
        """How well the server hears the participant; ``None`` until it has said so."""
        return self._quality

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity!r} {self.sid}>"


class LocalParticipant(_Participant):
    """This client in the room.

    What it changes about itself needs the grant ``can_update_own_metadata``. The calls return when the server has made
    the change, which the properties show by then, and wait while the room reconnects. They raise ``UpdateError``, or
    ``RoomDisconnected`` when the room is lost meanwhile. When one is cancelled, its change may be made or not.
    """

    def __init__(self, info: ParticipantInfo, updating: Updating) -> None:
        super().__init__(info)
        self._updating = updating

    async def set_name(self, name: str) -> None:
        """Change the display name: 1 to 256 bytes of UTF-8 on a default server.

        Raises ``UpdateError`` where it is not changed, and ``ValueError`` for an empty one; see the class.
        """
        await self._updating.update(name=_not_empty("a name", name))

    async def set_metadata(self, metadata: str) -> None:
        """Change the metadata: up to 512 KiB of UTF-8 on a default server.

        Raises ``UpdateError`` where it is not changed, and ``ValueError`` for none at all; see the class.
        """
        await self._updating.update(metadata=_not_empty("metadata", metadata))

    async def set_attributes(self, attributes: Mapping[str, str | None]) -> None:
        """Change the attributes that are named here, and no others; ``None`` or an empty value removes one.

        All keys and values together are up to 64 KiB of UTF-8 on a default server.

        Raises ``UpdateError`` where they are not changed; see the class.
        """
        check_attributes(attributes)
        await self._updating.update(attributes={key: value or "" for key, value in attributes.items()})

    def set_track_subscription_permissions(self, permissions: Iterable[TrackSubscriptionPermission] | None) -> None:
        """Let those who are named, and nobody else, subscribe to this participant's data tracks; ``None``: everyone.

        This replaces what was set before, and lasts until the room is left, reconnections included. Subscriptions that
        are not permitted any more pause; they go on when they are permitted again. Of many changes at once, more than
        signalling takes, the last is what the server is told.

        Raises ``trio.ClosedResourceError`` when the room has been left, ``RoomDisconnected`` when it was lost;
        ``TypeError`` or ``ValueError`` for what is no permission.
        """
        self._updating.permit(None if permissions is None else tuple(map(_checked, permissions)))


def _checked(permission: TrackSubscriptionPermission) -> TrackSubscriptionPermission:
    """It is kept, and said again in each session: what is wrong with it has to show at once."""
    if not isinstance(permission, TrackSubscriptionPermission):
        raise TypeError(f"a permission is a TrackSubscriptionPermission, not {type(permission).__name__}")
    if not isinstance(permission.identity, str):
        raise TypeError(f"the identity in a permission is a str, not {type(permission.identity).__name__}")
    permission.identity.encode()  # which raises ValueError for half a character
    names = permission.tracks
    if names is not None and (isinstance(names, str) or not all(isinstance(name, str) for name in names)):
        raise TypeError(f"the tracks in a permission are a tuple of names, not {names!r}")
    return permission


def check_attributes(attributes: Mapping[str, str | None], *, removable: bool = True) -> None:
    """Raises ``TypeError`` for attributes that are no text; ``None`` is for those that are ``removable``."""
    for key, value in attributes.items():
        if not isinstance(key, str) or not (isinstance(value, str) or (removable and value is None)):
            raise TypeError(f"attributes are text by text, not {key!r}: {type(value).__name__}")


def _not_empty(what: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is text, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{what} cannot be emptied by the participant: to the server, empty means unchanged")
    return value


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
        return self._info.state == ParticipantState.ACTIVE
