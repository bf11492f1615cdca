"""One signalling message <-> one binary websocket message (``SignalRequest`` up, ``SignalResponse`` down).

A message of a kind that this package does not act on decodes to ``None``; bytes that are no message raise
``DecodeError``.
"""

from __future__ import annotations

__all__ = [
    "decode_join_request",
    "decode_request",
    "decode_response",
    "encode_join_request",
    "encode_request",
    "encode_response",
]

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, TypeVar, cast

from google.protobuf.message import DecodeError as ProtobufDecodeError

from .._sansio.signal import messages as m
from ..errors import DecodeError
from .convert import (
    client_info_from_pb,
    client_info_to_pb,
    data_blob_from_pb,
    data_blob_key_from_pb,
    data_blob_key_to_pb,
    data_blob_to_pb,
    data_track_from_pb,
    data_track_to_pb,
    encoding_to_pb,
    enum_to_pb,
    frame_encoding_from_pb,
    ice_server_from_pb,
    ice_server_to_pb,
    participant_from_pb,
    participant_to_pb,
    room_from_pb,
    room_to_pb,
    schema_from_pb,
    schema_to_pb,
    server_info_from_pb,
    server_info_to_pb,
)
from .generated import models, rtc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

T = TypeVar("T")

MAX_JOIN_REQUEST_BYTES = 1 << 20
"""Decompressed size of a join request that is still believed; the server's own limit is of this order."""

_GZIP = 16 + zlib.MAX_WBITS


# --- the join request, which travels in the URL -----------------------------------------------------------------------


def encode_join_request(request: m.JoinRequest) -> str:
    """The value of the ``join_request`` query parameter: base64url with padding, of a gzipped ``JoinRequest``."""
    pb = rtc.JoinRequest(
        client_info=client_info_to_pb(request.client_info),
        connection_settings=rtc.ConnectionSettings(
            auto_subscribe=request.auto_subscribe, auto_subscribe_data_track=request.auto_subscribe_data_track
        ),
        metadata=request.metadata,
        participant_attributes=request.attributes,
        reconnect=request.reconnect,
        reconnect_reason=cast("Any", request.reconnect_reason),
        participant_sid=request.participant_sid,
    )
    if request.publisher_offer is not None:
        pb.publisher_offer.CopyFrom(_description_to_pb("offer", request.publisher_offer))
    compressor = zlib.compressobj(wbits=_GZIP)
    body = compressor.compress(pb.SerializeToString()) + compressor.flush()
    wrapped = rtc.WrappedJoinRequest(compression=rtc.WrappedJoinRequest.GZIP, join_request=body)
    return urlsafe_b64encode(wrapped.SerializeToString()).decode()


def decode_join_request(parameter: str) -> m.JoinRequest:
    """The inverse of ``encode_join_request``; raises ``DecodeError`` and never inflates past a fixed bound."""
    try:
        wrapped = rtc.WrappedJoinRequest.FromString(urlsafe_b64decode(parameter))
        body = wrapped.join_request
        if wrapped.compression == rtc.WrappedJoinRequest.GZIP:
            inflater = zlib.decompressobj(wbits=_GZIP)
            body = inflater.decompress(body, MAX_JOIN_REQUEST_BYTES)
            if not inflater.eof:
                raise DecodeError("the join request is truncated or too large")
        pb = rtc.JoinRequest.FromString(body)
    except (ValueError, zlib.error, ProtobufDecodeError) as exc:
        raise DecodeError("the join request does not decode") from exc
    settings = pb.connection_settings
    return m.JoinRequest(
        client_info=client_info_from_pb(pb.client_info),
        auto_subscribe=settings.auto_subscribe,
        auto_subscribe_data_track=settings.auto_subscribe_data_track,
        publisher_offer=_offer_from_pb(pb.publisher_offer) if pb.HasField("publisher_offer") else None,
        reconnect=pb.reconnect,
        reconnect_reason=pb.reconnect_reason,
        participant_sid=pb.participant_sid,
        metadata=pb.metadata,
        attributes=dict(pb.participant_attributes),
    )


# --- both directions --------------------------------------------------------------------------------------------------


def _decode(message_type: Any, decoders: Mapping[str, Callable[[Any], T]], data: bytes) -> T | None:
    """One message of either direction, or ``None`` for a kind that has no decoder."""
    try:
        pb = message_type.FromString(data)
    except ProtobufDecodeError as exc:
        raise DecodeError(f"not a {message_type.DESCRIPTOR.name}") from exc
    kind = pb.WhichOneof("message")
    decoder = decoders.get(kind)
    return None if decoder is None else decoder(getattr(pb, kind))


def _description_to_pb(kind: str, description: m.Offer | m.Answer) -> Any:
    return rtc.SessionDescription(type=kind, sdp=description.sdp, id=description.id)


def _offer_from_pb(pb: Any) -> m.Offer:
    return m.Offer(pb.sdp, pb.id)


def _answer_from_pb(pb: Any) -> m.Answer:
    return m.Answer(pb.sdp, pb.id)


def _trickle_from_pb(pb: Any) -> m.Trickle:
    try:
        candidate = json.loads(pb.candidateInit)["candidate"] if pb.candidateInit else ""
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise DecodeError("a trickled candidate is no candidateInit object") from exc
    if not isinstance(candidate, str):
        raise DecodeError("a trickled candidate is not text")
    return m.Trickle(candidate, m.Target(pb.target), pb.final)


def _trickle_to_pb(trickle: m.Trickle) -> Any:
    init = {"candidate": trickle.candidate, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": None}
    return rtc.TrickleRequest(candidateInit=json.dumps(init), target=enum_to_pb(trickle.target), final=trickle.final)


def _leave_from_pb(pb: Any) -> m.Leave:
    regions = tuple(region.url for region in pb.regions.regions)
    return m.Leave(m.DisconnectReason(pb.reason), m.LeaveAction(pb.action), regions)


def _leave_to_pb(leave: m.Leave) -> Any:
    return rtc.LeaveRequest(
        reason=enum_to_pb(leave.reason),
        action=enum_to_pb(leave.action),
        can_reconnect=leave.action != m.LeaveAction.DISCONNECT,
        regions=rtc.RegionSettings(regions=[rtc.RegionInfo(url=url) for url in leave.regions]),
    )


# --- client to server -------------------------------------------------------------------------------------------------


def _sync_state_to_pb(state: m.SyncState) -> Any:
    pb = rtc.SyncState(
        publish_data_tracks=[rtc.PublishDataTrackResponse(info=data_track_to_pb(t)) for t in state.data_tracks],
        data_channels=[
            rtc.DataChannelInfo(label=label, id=id, target=enum_to_pb(target))
            for label, id, target in state.data_channels
        ],
        datachannel_receive_states=[
            rtc.DataChannelReceiveState(publisher_sid=sid, last_seq=sequence) for sid, sequence in state.received
        ],
    )
    if state.offer is not None:
        pb.offer.CopyFrom(_description_to_pb("offer", state.offer))
    if state.answer is not None:
        pb.answer.CopyFrom(_description_to_pb("answer", state.answer))
    return pb


def _sync_state_from_pb(pb: Any) -> m.SyncState:
    return m.SyncState(
        offer=_offer_from_pb(pb.offer) if pb.HasField("offer") else None,
        answer=_answer_from_pb(pb.answer) if pb.HasField("answer") else None,
        data_tracks=tuple(data_track_from_pb(p.info) for p in pb.publish_data_tracks),
        data_channels=tuple((c.label, c.id, m.Target(c.target)) for c in pb.data_channels),
        received=tuple((state.publisher_sid, state.last_seq) for state in pb.datachannel_receive_states),
    )


def _publish_to_pb(request: m.PublishDataTrack) -> Any:
    return rtc.PublishDataTrackRequest(
        pub_handle=request.pub_handle,
        name=request.name,
        encryption=enum_to_pb(request.encryption),
        frame_encoding=encoding_to_pb(models.DataTrackFrameEncoding, request.frame_encoding),
        schema=schema_to_pb(request.schema),
    )


def _publish_from_pb(pb: Any) -> m.PublishDataTrack:
    encryption = m.EncryptionType(pb.encryption)
    frame_encoding = frame_encoding_from_pb(pb)
    return m.PublishDataTrack(pb.pub_handle, pb.name, encryption, frame_encoding, schema_from_pb(pb))


def _subscription_permission_to_pb(permission: m.SubscriptionPermission) -> Any:
    return rtc.SubscriptionPermission(
        all_participants=permission.all_participants,
        track_permissions=[
            rtc.TrackPermission(
                participant_sid=track.participant_sid,
                participant_identity=track.participant_identity,
                all_tracks=track.all_tracks,
                track_sids=track.track_sids,
            )
            for track in permission.track_permissions
        ],
    )


def _subscription_permission_from_pb(pb: Any) -> m.SubscriptionPermission:
    permissions = tuple(
        m.TrackPermission(p.participant_sid, p.participant_identity, p.all_tracks, tuple(p.track_sids))
        for p in pb.track_permissions
    )
    return m.SubscriptionPermission(pb.all_participants, permissions)


def _simulate_from_pb(pb: Any) -> m.Simulate:
    scenario = pb.WhichOneof("scenario") or ""
    return m.Simulate(scenario, int(getattr(pb, scenario)) if scenario else 0)


def _request_fields(request: m.Request) -> dict[str, Any]:
    match request:
        case m.Offer():
            return {"offer": _description_to_pb("offer", request)}
        case m.Answer():
            return {"answer": _description_to_pb("answer", request)}
        case m.Trickle():
            return {"trickle": _trickle_to_pb(request)}
        case m.Leave():
            return {"leave": _leave_to_pb(request)}
        case m.Ping(timestamp_ms, legacy=True):
            return {"ping": timestamp_ms}
        case m.Ping():
            return {"ping_req": rtc.Ping(timestamp=request.timestamp_ms, rtt=request.rtt_ms)}
        case m.UpdateMetadata(request_id, name, metadata, attributes):
            update = rtc.UpdateParticipantMetadata(
                request_id=request_id, name=name, metadata=metadata, attributes=attributes
            )
            return {"update_metadata": update}
        case m.PublishDataTrack():
            return {"publish_data_track_request": _publish_to_pb(request)}
        case m.UnpublishDataTrack(pub_handle):
            return {"unpublish_data_track_request": rtc.UnpublishDataTrackRequest(pub_handle=pub_handle)}
        case m.UpdateDataSubscription(updates):
            changes = [rtc.UpdateDataSubscription.Update(track_sid=sid, subscribe=on) for sid, on in updates]
            return {"update_data_subscription": rtc.UpdateDataSubscription(updates=changes)}
        case m.SubscriptionPermission():
            return {"subscription_permission": _subscription_permission_to_pb(request)}
        case m.SyncState():
            return {"sync_state": _sync_state_to_pb(request)}
        case m.StoreDataBlob(request_id, key, contents):
            blob = data_blob_to_pb(key, contents)
            return {"store_data_blob_request": rtc.StoreDataBlobRequest(request_id=request_id, blob=blob)}
        case m.GetDataBlob(request_id, identity, key):
            get = rtc.GetDataBlobRequest(
                request_id=request_id, participant_identity=identity, key=data_blob_key_to_pb(key)
            )
            return {"get_data_blob_request": get}
        case m.Simulate(scenario, value):
            return {"simulate": rtc.SimulateScenario(**cast("Any", {scenario: value}))}


def encode_request(request: m.Request) -> bytes:
    """One ``SignalRequest``."""
    return rtc.SignalRequest(**_request_fields(request)).SerializeToString()


_REQUEST_DECODERS: dict[str, Callable[[Any], m.Request]] = {
    "offer": _offer_from_pb,
    "answer": _answer_from_pb,
    "trickle": _trickle_from_pb,
    "leave": _leave_from_pb,
    "ping": lambda milliseconds: m.Ping(milliseconds, legacy=True),
    "ping_req": lambda pb: m.Ping(pb.timestamp, pb.rtt),
    "update_metadata": lambda pb: m.UpdateMetadata(pb.request_id, pb.name, pb.metadata, dict(pb.attributes)),
    "publish_data_track_request": _publish_from_pb,
    "unpublish_data_track_request": lambda pb: m.UnpublishDataTrack(pb.pub_handle),
    "update_data_subscription": lambda pb: m.UpdateDataSubscription(
        tuple((update.track_sid, update.subscribe) for update in pb.updates)
    ),
    "subscription_permission": _subscription_permission_from_pb,
    "sync_state": _sync_state_from_pb,
    "store_data_blob_request": lambda pb: m.StoreDataBlob(pb.request_id, *data_blob_from_pb(pb.blob)),
    "get_data_blob_request": lambda pb: m.GetDataBlob(
        pb.request_id, pb.participant_identity, data_blob_key_from_pb(pb.key)
    ),
    "simulate": _simulate_from_pb,
}


def decode_request(data: bytes) -> m.Request | None:
    """What one ``SignalRequest`` says, or ``None`` for a kind that this package does not act on."""
    return _decode(rtc.SignalRequest, _REQUEST_DECODERS, data)


# --- server to client -------------------------------------------------------------------------------------------------

_DISABLED, _ENABLED = 1, 2  # ClientConfigSetting


def _join_from_pb(pb: Any) -> m.Join:
    return m.Join(
        room=room_from_pb(pb.room),
        participant=participant_from_pb(pb.participant),
        other_participants=tuple(participant_from_pb(p) for p in pb.other_participants),
        server=server_info_from_pb(pb.server_info, pb.server_version),
        ice_servers=tuple(ice_server_from_pb(s) for s in pb.ice_servers),
        subscriber_primary=pb.subscriber_primary,
        ping_interval_s=pb.ping_interval,
        ping_timeout_s=pb.ping_timeout,
        force_relay=pb.client_configuration.force_relay == _ENABLED,
        may_resume=pb.client_configuration.resume_connection != _DISABLED,
    )


def _join_to_pb(join: m.Join) -> Any:
    return rtc.JoinResponse(
        room=room_to_pb(join.room),
        participant=participant_to_pb(join.participant),
        other_participants=[participant_to_pb(p) for p in join.other_participants],
        server_version=join.server.version,
        server_info=server_info_to_pb(join.server),
        ice_servers=[ice_server_to_pb(s) for s in join.ice_servers],
        subscriber_primary=join.subscriber_primary,
        ping_interval=join.ping_interval_s,
        ping_timeout=join.ping_timeout_s,
        client_configuration=models.ClientConfiguration(
            force_relay=cast("Any", _ENABLED if join.force_relay else 0),
            resume_connection=cast("Any", 0 if join.may_resume else _DISABLED),
        ),
    )


def _reconnected_from_pb(pb: Any) -> m.Reconnected:
    return m.Reconnected(
        ice_servers=tuple(ice_server_from_pb(s) for s in pb.ice_servers),
        force_relay=pb.client_configuration.force_relay == _ENABLED,
        last_message_seq=pb.last_message_seq,
    )


def _request_response_from_pb(pb: Any) -> m.RequestResponse:
    kind = pb.WhichOneof("request")
    return m.RequestResponse(
        request_id=pb.request_id,
        reason=m.RequestReason(pb.reason),
        message=pb.message,
        publish_handle=pb.publish_data_track.pub_handle if kind == "publish_data_track" else None,
        unpublish_handle=pb.unpublish_data_track.pub_handle if kind == "unpublish_data_track" else None,
    )


def _request_response_to_pb(response: m.RequestResponse) -> Any:
    pb = rtc.RequestResponse(
        request_id=response.request_id, reason=enum_to_pb(response.reason), message=response.message
    )
    if response.publish_handle is not None:
        pb.publish_data_track.CopyFrom(rtc.PublishDataTrackRequest(pub_handle=response.publish_handle))
    elif response.unpublish_handle is not None:
        pb.unpublish_data_track.CopyFrom(rtc.UnpublishDataTrackRequest(pub_handle=response.unpublish_handle))
    return pb


def _handles_to_pb(message: m.SubscriberHandles) -> Any:
    published = rtc.DataTrackSubscriberHandles.PublishedDataTrack
    return rtc.DataTrackSubscriberHandles(
        sub_handles={handle: published(track_sid=sid) for handle, sid in message.handles.items()}
    )


def _room_moved_from_pb(pb: Any) -> m.RoomMoved:
    return m.RoomMoved(
        room=room_from_pb(pb.room),
        token=pb.token,
        participant=participant_from_pb(pb.participant),
        other_participants=tuple(participant_from_pb(p) for p in pb.other_participants),
    )


def _response_fields(response: m.Response) -> dict[str, Any]:
    match response:
        case m.Join():
            return {"join": _join_to_pb(response)}
        case m.Reconnected(ice_servers, _, last_message_seq):
            servers = [ice_server_to_pb(s) for s in ice_servers]
            return {"reconnect": rtc.ReconnectResponse(ice_servers=servers, last_message_seq=last_message_seq)}
        case m.Offer():
            return {"offer": _description_to_pb("offer", response)}
        case m.Answer():
            return {"answer": _description_to_pb("answer", response)}
        case m.Trickle():
            return {"trickle": _trickle_to_pb(response)}
        case m.ParticipantUpdate(participants):
            return {"update": rtc.ParticipantUpdate(participants=[participant_to_pb(p) for p in participants])}
        case m.Leave():
            return {"leave": _leave_to_pb(response)}
        case m.SpeakersChanged(speakers):
            infos = [models.SpeakerInfo(sid=s.sid, level=s.level, active=s.active) for s in speakers]
            return {"speakers_changed": rtc.SpeakersChanged(speakers=infos)}
        case m.RoomUpdate(room):
            return {"room_update": rtc.RoomUpdate(room=room_to_pb(room))}
        case m.ConnectionQualityUpdate(updates):
            qualities = [
                rtc.ConnectionQualityInfo(participant_sid=sid, quality=enum_to_pb(quality)) for sid, quality in updates
            ]
            return {"connection_quality": rtc.ConnectionQualityUpdate(updates=qualities)}
        case m.SubscriptionPermissionUpdate(participant_sid, track_sid, allowed):
            permission = rtc.SubscriptionPermissionUpdate(
                participant_sid=participant_sid, track_sid=track_sid, allowed=allowed
            )
            return {"subscription_permission_update": permission}
        case m.RefreshToken(token):
            return {"refresh_token": token}
        case m.Pong(last, legacy=True):
            return {"pong": last}
        case m.Pong(last, timestamp):
            return {"pong_resp": rtc.Pong(last_ping_timestamp=last, timestamp=timestamp)}
        case m.RequestResponse():
            return {"request_response": _request_response_to_pb(response)}
        case m.DataTrackPublished(info):
            return {"publish_data_track_response": rtc.PublishDataTrackResponse(info=data_track_to_pb(info))}
        case m.DataTrackUnpublished(info):
            return {"unpublish_data_track_response": rtc.UnpublishDataTrackResponse(info=data_track_to_pb(info))}
        case m.DataBlobStored(request_id, key):
            stored = rtc.StoreDataBlobResponse(request_id=request_id, key=data_blob_key_to_pb(key))
            return {"store_data_blob_response": stored}
        case m.DataBlobFetched(request_id, key, contents):
            blob = data_blob_to_pb(key, contents)
            return {"get_data_blob_response": rtc.GetDataBlobResponse(request_id=request_id, blob=blob)}
        case m.SubscriberHandles():
            return {"data_track_subscriber_handles": _handles_to_pb(response)}
        case m.RoomMoved(room, token, participant, others):
            moved = rtc.RoomMovedResponse(
                room=room_to_pb(room),
                token=token,
                participant=participant_to_pb(participant),
                other_participants=[participant_to_pb(p) for p in others],
            )
            return {"room_moved": moved}


def encode_response(response: m.Response) -> bytes:
    """One ``SignalResponse``."""
    return rtc.SignalResponse(**_response_fields(response)).SerializeToString()


_RESPONSE_DECODERS: dict[str, Callable[[Any], m.Response]] = {
    "join": _join_from_pb,
    "reconnect": _reconnected_from_pb,
    "offer": _offer_from_pb,
    "answer": _answer_from_pb,
    "trickle": _trickle_from_pb,
    "update": lambda pb: m.ParticipantUpdate(tuple(participant_from_pb(p) for p in pb.participants)),
    "leave": _leave_from_pb,
    "speakers_changed": lambda pb: m.SpeakersChanged(tuple(m.Speaker(s.sid, s.level, s.active) for s in pb.speakers)),
    "room_update": lambda pb: m.RoomUpdate(room_from_pb(pb.room)),
    "connection_quality": lambda pb: m.ConnectionQualityUpdate(
        tuple((u.participant_sid, m.ConnectionQuality(u.quality)) for u in pb.updates)
    ),
    "subscription_permission_update": lambda pb: m.SubscriptionPermissionUpdate(
        pb.participant_sid, pb.track_sid, pb.allowed
    ),
    "refresh_token": lambda token: m.RefreshToken(token),
    "pong": lambda milliseconds: m.Pong(milliseconds, legacy=True),
    "pong_resp": lambda pb: m.Pong(pb.last_ping_timestamp, pb.timestamp),
    "request_response": _request_response_from_pb,
    "publish_data_track_response": lambda pb: m.DataTrackPublished(data_track_from_pb(pb.info)),
    "unpublish_data_track_response": lambda pb: m.DataTrackUnpublished(data_track_from_pb(pb.info)),
    "store_data_blob_response": lambda pb: m.DataBlobStored(pb.request_id, data_blob_key_from_pb(pb.key)),
    "get_data_blob_response": lambda pb: m.DataBlobFetched(pb.request_id, *data_blob_from_pb(pb.blob)),
    "data_track_subscriber_handles": lambda pb: m.SubscriberHandles(
        {handle: published.track_sid for handle, published in pb.sub_handles.items()}
    ),
    "room_moved": _room_moved_from_pb,
}


def decode_response(data: bytes) -> m.Response | None:
    """What one ``SignalResponse`` says, or ``None`` for a kind that this package does not act on."""
    return _decode(rtc.SignalResponse, _RESPONSE_DECODERS, data)
