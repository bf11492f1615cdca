"""What this participant changes about itself: name, metadata and attributes, and who may have its tracks.

A change is asked for under a number that the answer repeats. Who may have the tracks is not answered at all; it is said
again whenever the server may not have heard it, and whenever a track that it names gets another SID.
"""

from __future__ import annotations

__all__ = ["TrackSubscriptionPermission", "Updating"]

from typing import TYPE_CHECKING

from .._sansio.records import dataclass
from .._sansio.signal import messages as m
from ..errors import UpdateError, UpdateErrorReason
from .inquiries import ANSWER_TIMEOUT_S, refusal_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .inquiries import Inquiries
    from .upstream import Upstream

_REASONS = {
    m.RequestReason.NOT_ALLOWED: UpdateErrorReason.NOT_ALLOWED,
    m.RequestReason.LIMIT_EXCEEDED: UpdateErrorReason.LIMIT_EXCEEDED,
}

_TEXTS = {
    UpdateErrorReason.NOT_ALLOWED: "the token lacks the grant can_update_own_metadata",
    UpdateErrorReason.LIMIT_EXCEEDED: "more than the server takes",
}


@dataclass(frozen=True, slots=True)
class TrackSubscriptionPermission:
    """Lets one participant subscribe to tracks of ours.

    Attributes:
        identity: whom.
        tracks: the names of the data tracks, of which some may not be published yet; ``None`` for all.
    """

    identity: str
    tracks: tuple[str, ...] | None = None


class Updating:
    """The local participant's requests about itself. ``published()`` are its data tracks that are up."""

    def __init__(
        self,
        upstream: Upstream,
        inquiries: Inquiries,
        published: Callable[[], Iterable[m.DataTrackInfo]],
    ) -> None:
        self._upstream = upstream
        self._inquiries = inquiries
        self._published = published
        self._is_heard = True
        self._permissions: tuple[TrackSubscriptionPermission, ...] | None = None
        self._has_permissions = False
        self._is_unsaid = False  # as there was no room for it: it is the last that counts

    # --- name, metadata, attributes -----------------------------------------------------------------------------------

    async def update(self, *, name: str = "", metadata: str = "", attributes: dict[str, str] | None = None) -> None:
        """Ask for a change, and wait until it is made; what is empty stays, an attribute that is empty goes.

        Raises ``UpdateError``, or what ended the session. When this is cancelled, the change may be made or not.
        """
        answer = await self._inquiries.ask(lambda number: m.UpdateMetadata(number, name, metadata, attributes or {}))
        if not isinstance(answer, m.RequestResponse):
            text = f"the server did not answer within {ANSWER_TIMEOUT_S:g} s"
            raise UpdateError(UpdateErrorReason.TIMEOUT, text)
        if answer.reason is not m.RequestReason.OK:
            raise _refusal(answer)

    # --- who may subscribe --------------------------------------------------------------------------------------------

    def permit(self, permissions: tuple[TrackSubscriptionPermission, ...] | None) -> None:
        """Who may subscribe to our tracks from now on: those named, or everyone."""
        self._inquiries.check_open()
        self._permissions = permissions
        self._has_permissions = True
        self._say_permissions()

    def on_track_published(self, name: str) -> None:
        """A track of ours is up, under a SID that is new."""
        if self._permissions is not None and any(name in (p.tracks or ()) for p in self._permissions):
            self._say_permissions()

    def _say_permissions(self) -> None:
        if not self._is_heard or not self._has_permissions:
            return
        self._is_unsaid = not self._upstream.has_room
        if not self._is_unsaid:
            sids = {info.name: info.sid for info in self._published()}
            self._upstream.send_request(
                m.SubscriptionPermission(
                    self._permissions is None, tuple(_resolved(p, sids) for p in self._permissions or ())
                )
            )

    def on_room(self) -> None:
        """There is room for requests."""
        if self._is_unsaid:
            self._say_permissions()

    # --- the connection comes and goes --------------------------------------------------------------------------------

    def on_signal_lost(self) -> None:
        """Nobody hears what we say, for now."""
        self._is_heard = False

    def on_connected(self) -> None:
        """We are heard again, by a server that may have heard nothing of what was said before."""
        self._is_heard = True
        self._say_permissions()


def _refusal(answer: m.RequestResponse) -> UpdateError:
    reason = _REASONS.get(answer.reason, UpdateErrorReason.UNKNOWN)
    text = refusal_text(answer, _TEXTS.get(reason))
    return UpdateError(reason, text, code=int(answer.reason), server_message=answer.message)


def _resolved(permission: TrackSubscriptionPermission, sids: dict[str, str]) -> m.TrackPermission:
    names = permission.tracks
    track_sids = tuple(sids[name] for name in names or () if name in sids)
    return m.TrackPermission(participant_identity=permission.identity, all_tracks=names is None, track_sids=track_sids)
