"""What a joined client may ask of its room, and the answers, refusals included. No I/O happens here."""

from __future__ import annotations

__all__ = ["handle_request"]

from typing import TYPE_CHECKING

from .._sansio.signal import messages as m
from .room import new_sid
from .tracks import add_track, end_subscriptions, end_tracks, may_subscribe, snapshots, subscribe

if TYPE_CHECKING:
    from .limits import Limits
    from .participant import Participant
    from .room import Outbox, Room

_MAX_HANDLE = 0xFFFF
_MAX_SID_BYTES = 64
_MAX_ENCODING_BYTES = 32
_MAX_TRACK_PERMISSIONS = 1000

_HONOURED_REASONS = frozenset(
    {
        m.DisconnectReason.CLIENT_INITIATED,
        m.DisconnectReason.USER_UNAVAILABLE,
        m.DisconnectReason.USER_REJECTED,
        m.DisconnectReason.AGENT_ERROR,
    }
)
"""The reasons a client may give for its own leaving; others become ``CLIENT_INITIATED``."""


def handle_request(room: Room, participant: Participant, request: m.Request) -> Outbox:
    """Answer one request of a client. Offers, answers, candidates and pings are not the room's business."""
    out: Outbox = []
    if not room.contains(participant):
        return out
    match request:
        case m.PublishDataTrack():
            _publish(out, room, participant, request)
        case m.UnpublishDataTrack(pub_handle):
            _unpublish(out, room, participant, pub_handle)
        case m.UpdateDataSubscription(updates):
            _update_subscription(out, room, participant, updates)
        case m.SubscriptionPermission():
            _update_permission(out, room, participant, request)
        case m.StoreDataBlob():
            _store_blob(out, room, participant, request)
        case m.GetDataBlob():
            _get_blob(out, room, participant, request)
        case m.UpdateMetadata():
            _update_metadata(out, room, participant, request)
        case m.SyncState(data_tracks=tracks):
            known = {track.info.sid for track in participant.tracks.values()}
            if any(track.sid not in known for track in tracks):
                return room.remove(participant, m.DisconnectReason.STATE_MISMATCH, m.LeaveAction.RECONNECT)
        case m.Leave(reason):
            honoured = reason if reason in _HONOURED_REASONS else m.DisconnectReason.CLIENT_INITIATED
            return room.remove(participant, honoured)
    return out


# --- data tracks ------------------------------------------------------------------------------------------------------


def _publish(out: Outbox, room: Room, publisher: Participant, request: m.PublishDataTrack) -> None:
    refusal = _refusal(room.house.limits, publisher, request)
    if refusal is not None:
        reason, text = refusal
        out.append((publisher, m.RequestResponse(0, reason, text, publish_handle=request.pub_handle)))
        return
    sid = new_sid("DTR_", room.house.random_bytes)
    info = m.DataTrackInfo(
        request.pub_handle, sid, request.name, request.encryption, request.frame_encoding, request.schema
    )
    add_track(out, room, publisher, info)


def _refusal(limits: Limits, publisher: Participant, request: m.PublishDataTrack) -> tuple[m.RequestReason, str] | None:
    """Why a track may not be published, in the words of livekit-server and in the order in which it looks."""
    if not publisher.permission.can_publish_data:
        return m.RequestReason.NOT_ALLOWED, "does not have permission to publish data"
    if not 0 < request.pub_handle <= _MAX_HANDLE:
        return m.RequestReason.INVALID_HANDLE, "handle should be > 0 AND < 65536"
    if not 0 < len(request.name.encode()) <= limits.name_bytes:
        text = f"name should not be empty and should not exceed {limits.name_bytes} characters"
        return m.RequestReason.INVALID_NAME, text
    encodings = (request.frame_encoding, request.schema and request.schema.encoding)
    if any(isinstance(name, str) and not 0 < len(name.encode()) <= _MAX_ENCODING_BYTES for name in encodings):
        return m.RequestReason.INVALID_REQUEST, "encoding identifier is empty or exceeds the maximum length"
    if request.pub_handle in publisher.tracks:
        return m.RequestReason.DUPLICATE_HANDLE, "a data track with same handle already exists"
    if any(track.info.name == request.name for track in publisher.tracks.values()):
        return m.RequestReason.DUPLICATE_NAME, "a data track with same name already exists"
    if len(publisher.tracks) >= limits.data_tracks_per_participant:
        return m.RequestReason.LIMIT_EXCEEDED, "too many data tracks"
    return None


def _unpublish(out: Outbox, room: Room, publisher: Participant, pub_handle: int) -> None:
    track = publisher.tracks.get(pub_handle)
    if track is None:
        out.append((publisher, m.RequestResponse(0, m.RequestReason.NOT_FOUND, unpublish_handle=pub_handle)))
        return
    losers = end_tracks(room, (track,))
    room.announce(out, publisher)
    out.append((publisher, m.DataTrackUnpublished(track.info)))
    snapshots(out, losers)


def _update_subscription(
    out: Outbox, room: Room, participant: Participant, updates: tuple[tuple[str, bool], ...]
) -> None:
    limit = room.house.limits.subscriptions_per_participant
    new: list[str] = []
    ended = False
    for sid, wanted in updates:
        if not wanted:
            participant.wanted.pop(sid, None)
            if sid in participant.subscriptions:
                end_subscriptions((participant.subscriptions[sid],))
                ended = True
        elif sid in participant.wanted or (len(participant.wanted) < limit and len(sid) <= _MAX_SID_BYTES):
            participant.wanted[sid] = None
            new.append(sid)
    if ended:
        snapshots(out, (participant,))
    subscribe(out, room, participant, [sid for sid in new if sid in participant.wanted])


def _update_permission(out: Outbox, room: Room, publisher: Participant, permission: m.SubscriptionPermission) -> None:
    """Who may subscribe to the tracks of ``publisher``: others lose them, and get them back when they may again."""
    publisher.subscribable = permission.track_permissions[:_MAX_TRACK_PERMISSIONS]
    if permission.all_participants:
        publisher.subscribable = None
    for member in list(room.members.values()):
        lost = [
            subscription
            for subscription in member.subscriptions.values()
            if subscription.track.publisher is publisher and not may_subscribe(member, subscription.track)
        ]
        end_subscriptions(lost)
        for subscription in lost:
            sid = subscription.track.info.sid
            out.append((member, m.SubscriptionPermissionUpdate(publisher.sid, sid, allowed=False)))
        if lost:
            snapshots(out, (member,))
        subscribe(out, room, member, [t.info.sid for t in publisher.tracks.values() if t.info.sid in member.wanted])


# --- the definitions of schemas ---------------------------------------------------------------------------------------


def _store_blob(out: Outbox, room: Room, participant: Participant, request: m.StoreDataBlob) -> None:
    refusal = _blob_refusal(room.house.limits, participant, request)
    if refusal is not None:
        reason, text = refusal
        out.append((participant, m.RequestResponse(request.request_id, reason, text)))
        return
    participant.blobs[request.key] = request.contents
    out.append((participant, m.DataBlobStored(request.request_id, request.key)))


def _blob_refusal(
    limits: Limits, participant: Participant, request: m.StoreDataBlob
) -> tuple[m.RequestReason, str] | None:
    """In the words and the order of livekit-server. What would be replaced counts against the limit there as well."""
    key_bytes, encoding = _key_bytes(request.key), None if isinstance(request.key, str) else request.key.encoding
    if not limits.data_blobs_bytes:
        return m.RequestReason.NOT_ALLOWED, "data blob not enabled"
    if not 0 < key_bytes <= limits.data_blob_key_bytes:
        return m.RequestReason.INVALID_REQUEST, "data blob is invalid"
    if isinstance(encoding, str) and not 0 < len(encoding.encode()) <= _MAX_ENCODING_BYTES:
        return m.RequestReason.INVALID_REQUEST, "encoding identifier is empty or exceeds the maximum length"
    if not request.contents:
        return m.RequestReason.INVALID_REQUEST, "data blob is empty"
    stored = sum(_key_bytes(key) + len(contents) for key, contents in participant.blobs.items())
    if stored + key_bytes + len(request.contents) > limits.data_blobs_bytes:
        return m.RequestReason.LIMIT_EXCEEDED, "async attribute definition exceeds limit"
    return None


def _key_bytes(key: m.DataBlobKey) -> int:
    """What a key counts. A livekit-server counts the names of the fields as well: some 40 bytes more for a schema."""
    if isinstance(key, str):
        return len(key.encode())
    return len(key.name.encode()) + (len(key.encoding.encode()) if isinstance(key.encoding, str) else 1)


def _get_blob(out: Outbox, room: Room, participant: Participant, request: m.GetDataBlob) -> None:
    publisher = room.members.get(request.participant_identity)
    contents = None if publisher is None else publisher.blobs.get(request.key)
    if contents is None:
        text = "participant not found" if publisher is None else "data blob not found"
        out.append((participant, m.RequestResponse(request.request_id, m.RequestReason.NOT_FOUND, text)))
    else:
        out.append((participant, m.DataBlobFetched(request.request_id, request.key, contents)))


# --- name, metadata and attributes ------------------------------------------------------------------------------------


def _update_metadata(out: Outbox, room: Room, participant: Participant, request: m.UpdateMetadata) -> None:
    reason, text = m.RequestReason.OK, ""
    attributes = _merged(participant.attributes, request.attributes)
    limits = room.house.limits
    if not participant.permission.can_update_metadata:
        reason, text = m.RequestReason.NOT_ALLOWED, "does not have permission to update own metadata"
    elif len(request.name.encode()) > limits.name_bytes:
        reason, text = m.RequestReason.LIMIT_EXCEEDED, "exceeds name length limit"
    elif len(request.metadata.encode()) > limits.metadata_bytes:
        reason, text = m.RequestReason.LIMIT_EXCEEDED, "exceeds metadata size limit"
    elif attributes_bytes(attributes) > limits.attributes_bytes:
        reason, text = m.RequestReason.LIMIT_EXCEEDED, "exceeds attributes size limit"
    else:
        _apply(out, room, participant, request, attributes)
    out.append((participant, m.RequestResponse(request.request_id, reason, text)))


def _merged(attributes: dict[str, str], changes: dict[str, str]) -> dict[str, str]:
    """``attributes`` after ``changes``, in which an empty value deletes."""
    return {key: value for key, value in (attributes | changes).items() if value}


def attributes_bytes(attributes: dict[str, str]) -> int:
    """What counts against the limit: all keys and values, in UTF-8."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())


def _apply(
    out: Outbox, room: Room, participant: Participant, request: m.UpdateMetadata, attributes: dict[str, str]
) -> None:
    """Each of the three that changed makes an update, and a token, of its own."""
    if request.name not in ("", participant.name):
        participant.name = request.name
        _changed(out, room, participant)
    if request.metadata not in ("", participant.metadata):
        participant.metadata = request.metadata
        _changed(out, room, participant)
    if attributes != participant.attributes:
        participant.attributes = attributes
        _changed(out, room, participant)


def _changed(out: Outbox, room: Room, participant: Participant) -> None:
    room.announce(out, participant)
    room.refresh_token(out, participant)
