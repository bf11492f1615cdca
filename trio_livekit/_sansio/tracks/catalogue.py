"""Which data tracks the other participants publish, learnt from the full lists that the server sends of them.

A list is all there is of one participant's tracks; participants who are not in a message have not changed. Repetition
changes nothing. A list is read leniently, entry by entry: one that makes no sense hides only itself.

A publisher that reconnects from scratch publishes its tracks again, and if the server sees no gap the old SID gives way
to a new one in a single list. That is one track going on, not one that ended and another that began.
"""

from __future__ import annotations

__all__ = ["Catalogue", "CatalogueEvent", "TrackPublished", "TrackReassigned", "TrackUnpublished"]

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from .packet import MAX_HANDLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..signal.messages import DataTrackInfo

SID_PREFIX = "DTR_"


class TrackPublished(NamedTuple):
    """A participant has a new track."""

    identity: str
    info: DataTrackInfo


class TrackUnpublished(NamedTuple):
    """A participant's track is gone."""

    identity: str
    info: DataTrackInfo


class TrackReassigned(NamedTuple):
    """A participant's track goes on under a new SID, ``info.sid``."""

    identity: str
    old_sid: str
    info: DataTrackInfo


CatalogueEvent = TrackPublished | TrackUnpublished | TrackReassigned


class Catalogue:
    """The tracks of the other participants, by identity and SID. Do not feed it one's own."""

    def __init__(self) -> None:
        self._tracks: dict[str, dict[str, DataTrackInfo]] = {}
        self._publishers: dict[str, str] = {}  # their identities, by SID
        self.ignored = 0  # entries that made no sense

    def tracks(self, identity: str) -> tuple[DataTrackInfo, ...]:
        """What a participant publishes."""
        return tuple(self._tracks.get(identity, {}).values())

    def update(self, lists: Iterable[tuple[str, Iterable[DataTrackInfo]]]) -> list[CatalogueEvent]:
        """Take in one message: the identities in it, each with its tracks (none for one who has left).

        Returns what it changed: first what came or was reassigned, in the order of the message, then what went.
        """
        came: list[CatalogueEvent] = []
        went: list[CatalogueEvent] = []
        # An identity may come twice, as the session that ends and the one that follows: the later one holds.
        for identity, listed in dict(lists).items():
            self._replace(identity, self._sensible(identity, listed), came, went)
        return came + went

    def _sensible(self, identity: str, listed: Iterable[DataTrackInfo]) -> dict[str, DataTrackInfo]:
        """By SID. That of another participant's track is no SID for this one's."""
        tracks = {}
        for info in listed:
            is_named = info.sid.startswith(SID_PREFIX) and self._publishers.get(info.sid, identity) == identity
            if is_named and 0 < info.pub_handle <= MAX_HANDLE and info.sid not in tracks:
                tracks[info.sid] = info
            else:
                self.ignored += 1
        return tracks

    def _replace(
        self, identity: str, new: dict[str, DataTrackInfo], came: list[CatalogueEvent], went: list[CatalogueEvent]
    ) -> None:
        old = self._tracks.pop(identity, {})
        if new:
            self._tracks[identity] = new
        gone = {sid: info for sid, info in old.items() if sid not in new}
        for sid in gone:
            del self._publishers[sid]
        self._publishers.update(dict.fromkeys(new, identity))
        # A track goes on under another SID if nothing but the SID differs.
        by_rest = {replace(info, sid=""): sid for sid, info in gone.items()}
        for sid, info in new.items():
            if sid in old:
                continue
            old_sid = by_rest.pop(replace(info, sid=""), None)
            if old_sid is None:
                came.append(TrackPublished(identity, info))
            else:
                del gone[old_sid]
                came.append(TrackReassigned(identity, old_sid, info))
        went.extend(TrackUnpublished(identity, info) for info in gone.values())
