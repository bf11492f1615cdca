"""Data tracks: frames to packets and back, what is published and subscribed, and in what order frames leave.

Ours: ``publications`` (what the server knows of them), ``packetizer`` with ``clock``, ``send_queue``. The others':
``catalogue`` (which there are), ``subscriptions`` (which we have), ``depacketizer``. Both: ``packet`` (the wire
format), ``schema``.
"""

from __future__ import annotations

__all__ = [
    "Active",
    "Catalogue",
    "CatalogueEvent",
    "Depacketizer",
    "DepacketizerStatistics",
    "EncryptionInfo",
    "Ended",
    "MediaClock",
    "Packetizer",
    "Paused",
    "PublicationEvent",
    "Publications",
    "Published",
    "Refused",
    "Republishing",
    "SendQueue",
    "SubscriptionEvent",
    "Subscriptions",
    "TimedOut",
    "TrackFrame",
    "TrackPublished",
    "TrackReassigned",
    "TrackUnpublished",
    "Unpublished",
]

from .catalogue import Catalogue, CatalogueEvent, TrackPublished, TrackReassigned, TrackUnpublished
from .clock import MediaClock
from .depacketizer import Depacketizer, DepacketizerStatistics, TrackFrame
from .packet import EncryptionInfo
from .packetizer import Packetizer
from .publications import PublicationEvent, Publications, Published, Refused, Republishing, Unpublished
from .send_queue import SendQueue
from .subscriptions import Active, Ended, Paused, SubscriptionEvent, Subscriptions, TimedOut
