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
            self._replace(identity, self._sensible(listed), came, went)
        return came + went

    def replace(self, lists: Iterable[tuple[str, Iterable[DataTrackInfo]]]) -> list[CatalogueEvent]:
        """Take in a message that names everybody (a join, a resume, a room move): whoever is missing has left."""
        everybody = [(identity, list(listed)) for identity, listed in lists]
        named = {identity for identity, _ in everybody}
        gone: list[tuple[str, list[DataTrackInfo]]] = [
            (identity, []) for identity in self._tracks if identity not in named
        ]
        return self.update(everybody + gone)

    def _sensible(self, listed: Iterable[DataTrackInfo]) -> dict[str, DataTrackInfo]:
        tracks = {}
        for info in listed:
            if info.sid.startswith(SID_PREFIX) and 0 < info.pub_handle <= MAX_HANDLE and info.sid not in tracks:
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
