"""``serve`` and ``Server``: an embedded server as one ``async with``, and what its operator may do to it."""

from __future__ import annotations

__all__ = ["DEV_SECRET", "Server", "serve"]

import dataclasses
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import trio

from .._sansio.signal.messages import DisconnectReason, ParticipantInfo, Permission, RoomInfo
from .._session.nursery import private_nursery
from .._transport.certificate import generate_certificate
from .._wire.packets import encode_user_packet
from ..tokens import VideoGrants, access_token
from .admission import Doorkeeper
from .entry import Entry
from .hub import Hub
from .limits import DEFAULT_LIMITS, Limits
from .member import PeerSettings
from .rooms import Rooms

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from .forwarding import ForwardingCounters
    from .member import Member
    from .participant import Participant
    from .room import Room

logger = logging.getLogger(__name__)

DEV_SECRET = "the development secret of trio_livekit"  # noqa: S105 (for tests and demos; everybody knows it)

_SECRET_BYTES = 32
"""As many as HMAC-SHA-256 makes: RFC 7518 section 3.2."""

_TOKEN_TTL_S = 6 * 3600.0

_SHUTDOWN_S = 1.0
"""How long the clients of a server that ends may take to hear that it does."""

_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (compared with, not bound to)


class Server:
    """A running server. Its methods act at once; clients hear of it as fast as they read."""

    def __init__(self, url: str, doorkeeper: Doorkeeper, hub: Hub) -> None:
        self.url = url
        self._doorkeeper = doorkeeper
        self._hub = hub

    def __repr__(self) -> str:
        return f"<trio_livekit.server.Server at {self.url}>"

    @property
    def api_key(self) -> str:
        """The ``iss`` of this server's tokens."""
        return self._doorkeeper.api_key

    @property
    def api_secret(self) -> str:
        """What this server's tokens are signed with."""
        return self._doorkeeper.api_secret

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def rooms(self) -> dict[str, RoomInfo]:
        """The rooms that somebody is in, by name."""
        return {name: room.info() for name, room in self._hub.rooms.by_name.items()}

    def participants(self, room: str) -> dict[str, ParticipantInfo]:
        """The participants of a room by identity, hidden ones included; empty where there is no such room."""
        found = self._hub.rooms.by_name.get(room)
        return {p.identity: p.info() for p in found.members.values()} if found else {}

    def statistics(self) -> ForwardingCounters:
        """What was forwarded so far: a snapshot."""
        return dataclasses.replace(self._hub.forwarder.counters)

    # --- letting in ---------------------------------------------------------------------------------------------------

    def token(
        self,
        identity: str,
        room: str,
        *,
        name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
        kind: str | None = None,
        ttl_s: float = _TOKEN_TTL_S,
        **grants: bool,
    ) -> str:
        """An access token for this server. ``grants`` are fields of ``VideoGrants``: ``can_publish_data=False``."""
        return access_token(
            self.api_key,
            self.api_secret,
            identity=identity,
            room=room,
            name=name,
            ttl_s=ttl_s,
            grants=VideoGrants(**cast("dict[str, Any]", grants)),
            metadata=metadata,
            attributes=attributes,
            kind=kind,
        )

    # --- what LiveKit's room service does -----------------------------------------------------------------------------

    def remove_participant(self, room: str, identity: str) -> None:
        """Send somebody away. Like all that follow, raises ``KeyError`` where there is no such room or participant."""
        found, participant = self._find(room, identity)
        self._hub.deliver(found.remove(participant, DisconnectReason.PARTICIPANT_REMOVED))

    def delete_room(self, room: str) -> None:
        """Send everyone in a room away."""
        self._hub.deliver(self._room(room).close(DisconnectReason.ROOM_DELETED))

    def update_permission(self, room: str, identity: str, **changes: bool) -> None:
        """Change fields of somebody's ``Permission``, such as ``can_publish_data=False``."""
        found, participant = self._find(room, identity)
        permission: Permission = dataclasses.replace(participant.permission, **changes)
        self._hub.deliver(found.update_permission(participant, permission))

    def update_room_metadata(self, room: str, metadata: str) -> None:
        """Change a room's metadata."""
        self._hub.deliver(self._room(room).update_metadata(metadata))

    def unpublish(self, room: str, identity: str, track_name: str) -> None:
        """Take a data track from its publisher."""
        found, participant = self._find(room, identity)
        self._hub.deliver(found.unpublish(participant, track_name))

    def send_data(
        self,
        room: str,
        payload: bytes,
        *,
        topic: str = "",
        destination_identities: Sequence[str] = (),
        reliable: bool = True,
    ) -> None:
        """Send a user packet of the server's own, to those named or to everyone in the room."""
        members = self._room(room).members
        receivers = [members[identity] for identity in destination_identities or members if identity in members]
        packet = encode_user_packet(
            payload, topic=topic, destination_identities=destination_identities, reliable=reliable
        )
        self._hub.forwarder.server_packet(receivers, packet, reliable=reliable)

    # --- faults, for tests --------------------------------------------------------------------------------------------

    def drop_signal(self, room: str, identity: str) -> None:
        """Cut somebody's signal connection without a word, as a broken network would; the client may resume."""
        self._member(room, identity).drop_signal()

    def drop_peers(self, room: str, identity: str) -> None:
        """Lose somebody's peer connections; the client is told to resume, and may make new ones."""
        self._member(room, identity).drop_peers()

    # --- finding ------------------------------------------------------------------------------------------------------

    def _room(self, room: str) -> Room:
        return self._hub.rooms.by_name[room]

    def _find(self, room: str, identity: str) -> tuple[Room, Participant]:
        found = self._room(room)
        return found, found.members[identity]

    def _member(self, room: str, identity: str) -> Member:
        member = self._hub.member(self._find(room, identity)[1])
        assert member is not None, "every participant of a room has a member"
        return member


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str = "devkey",
    api_secret: str = DEV_SECRET,
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> AsyncIterator[Server]:
    """Run a server for as long as the block lasts; it accepts connections when the block begins.

    Leaving the block sends everyone away, and waits a second at most for them to hear it.

    Args:
        host: the address to listen at, for signalling and for peer connections.
        port: the TCP port of the signalling; 0 for any. Peer connections use UDP ports of the system's choice.
        api_key: the ``iss`` of the tokens that are accepted.
        api_secret: what tokens are signed with, 32 characters or more. The default is known to everyone.
        limits: what clients may use.

    Raises:
        OSError: the address cannot be listened at.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    addresses = tuple(dict.fromkeys(listener.socket.getsockname()[0] for listener in listeners))
    bound_port = listeners[0].socket.getsockname()[1]
    if len(api_secret.encode()) < _SECRET_BYTES:
        logger.warning("the API secret is shorter than %d bytes: tokens may be forged by guessing it", _SECRET_BYTES)
    doorkeeper = Doorkeeper(api_key, api_secret, limits)
    hub = Hub(Rooms(random_bytes=os.urandom, mint=doorkeeper.refreshed_token, limits=limits), limits)
    settings = PeerSettings(None if host in _WILDCARDS else addresses, generate_certificate())
    async with private_nursery("the embedded LiveKit server") as nursery:
        entry = Entry(hub, doorkeeper, settings, nursery)
        accepting = trio.CancelScope()
        await nursery.start(_accept, entry, listeners, nursery, accepting)
        nursery.start_soon(hub.tick, name="server: tick")
        try:
            yield Server(f"ws://{_url_host(host)}:{bound_port}", doorkeeper, hub)
        finally:
            accepting.cancel("the server ends")
            await hub.shut_down(_SHUTDOWN_S)


async def _accept(
    entry: Entry,
    listeners: list[trio.SocketListener],
    connections: trio.Nursery,
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]],
) -> None:
    with scope:
        await trio.serve_listeners(entry.serve, listeners, handler_nursery=connections, task_status=task_status)


def _url_host(host: str) -> str:
    """``host`` as it stands in a URL that leads to it from this machine."""
    if host in _WILDCARDS:
        return _WILDCARDS[host]
    return f"[{host}]" if ":" in host else host
