"""What travels inside signalling messages: protobuf <-> our dataclasses, both ways."""

from __future__ import annotations

__all__ = [
    "client_info_from_pb",
    "client_info_to_pb",
    "data_blob_from_pb",
    "data_blob_key_from_pb",
    "data_blob_key_to_pb",
    "data_blob_to_pb",
    "data_track_from_pb",
    "data_track_to_pb",
    "encoding_to_pb",
    "enum_to_pb",
    "frame_encoding_from_pb",
    "ice_server_from_pb",
    "ice_server_to_pb",
    "participant_from_pb",
    "participant_to_pb",
    "room_from_pb",
    "room_to_pb",
    "schema_from_pb",
    "schema_to_pb",
    "server_info_from_pb",
    "server_info_to_pb",
]

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from .._sansio.signal.messages import (
    ClientInfo,
    DataBlobKey,
    DataTrackInfo,
    DataTrackSchema,
    DisconnectReason,
    EncryptionType,
    FrameEncoding,
    IceServer,
    ParticipantInfo,
    ParticipantKind,
    ParticipantState,
    Permission,
    RoomInfo,
    SchemaEncoding,
    ServerInfo,
)
from .generated import models, rtc

if TYPE_CHECKING:
    from enum import IntEnum
    from typing import Any


def enum_to_pb(value: IntEnum) -> Any:
    """The number of an enumeration, in the type that no stub agrees on; unknown numbers pass through."""
    return int(value)


def frame_encoding_from_pb(pb: Any) -> FrameEncoding | str | None:
    """The ``frame_encoding`` of a message, if it has one."""
    if not pb.HasField("frame_encoding"):
        return None
    encoding = pb.frame_encoding
    return str(encoding.custom) if encoding.HasField("custom") else FrameEncoding(encoding.well_known)


def encoding_to_pb(kind: Any, encoding: FrameEncoding | SchemaEncoding | str | None) -> Any:
    if encoding is None:
        return None
    return kind(custom=encoding) if isinstance(encoding, str) else kind(well_known=encoding)


def schema_from_pb(pb: Any) -> DataTrackSchema | None:
    """The ``schema`` of a message, if it has one."""
    return _schema_id_from_pb(pb.schema) if pb.HasField("schema") else None


def _schema_id_from_pb(pb: Any) -> DataTrackSchema:
    encoding = pb.encoding
    return DataTrackSchema(
        pb.name, str(encoding.custom) if encoding.HasField("custom") else SchemaEncoding(encoding.well_known)
    )


def schema_to_pb(schema: DataTrackSchema | None) -> Any:
    if schema is None:
        return None
    encoding = encoding_to_pb(models.DataTrackSchemaEncoding, schema.encoding)
    return models.DataTrackSchemaId(name=schema.name, encoding=encoding)


def data_blob_key_from_pb(pb: Any) -> DataBlobKey:
    return _schema_id_from_pb(pb.schema_id) if pb.HasField("schema_id") else str(pb.generic)


def data_blob_key_to_pb(key: DataBlobKey) -> Any:
    if isinstance(key, str):
        return models.DataBlobKey(generic=key)
    return models.DataBlobKey(schema_id=schema_to_pb(key))


def data_blob_from_pb(pb: Any) -> tuple[DataBlobKey, bytes]:
    return data_blob_key_from_pb(pb.key), pb.contents


def data_blob_to_pb(key: DataBlobKey, contents: bytes) -> Any:
    return models.DataBlob(key=data_blob_key_to_pb(key), contents=contents)


def data_track_from_pb(pb: Any) -> DataTrackInfo:
    """One track. Every change of one comes with all of its participant's: most have been seen before."""
    return _data_track(pb.SerializeToString())


@lru_cache(maxsize=1024)
def _data_track(data: bytes) -> DataTrackInfo:
    pb = models.DataTrackInfo.FromString(data)
    return DataTrackInfo(
        pub_handle=pb.pub_handle,
        sid=pb.sid,
        name=pb.name,
        encryption=EncryptionType(pb.encryption),
        frame_encoding=frame_encoding_from_pb(pb),
        schema=schema_from_pb(pb),
    )


def data_track_to_pb(info: DataTrackInfo) -> Any:
    return models.DataTrackInfo(
        pub_handle=info.pub_handle,
        sid=info.sid,
        name=info.name,
        encryption=enum_to_pb(info.encryption),
        frame_encoding=encoding_to_pb(models.DataTrackFrameEncoding, info.frame_encoding),
        schema=schema_to_pb(info.schema),
    )


def _permission_from_pb(pb: Any) -> Permission:
    return Permission(
        can_subscribe=pb.can_subscribe,
        can_publish=pb.can_publish,
        can_publish_data=pb.can_publish_data,
        can_update_metadata=pb.can_update_metadata,
        hidden=pb.hidden,
    )


def _permission_to_pb(permission: Permission) -> Any:
    return models.ParticipantPermission(
        can_subscribe=permission.can_subscribe,
        can_publish=permission.can_publish,
        can_publish_data=permission.can_publish_data,
        can_update_metadata=permission.can_update_metadata,
        hidden=permission.hidden,
    )


def participant_from_pb(pb: Any) -> ParticipantInfo:
    return ParticipantInfo(
        sid=pb.sid,
        identity=pb.identity,
        name=pb.name,
        state=ParticipantState(pb.state),
        metadata=pb.metadata,
        attributes=dict(pb.attributes),
        version=pb.version,
        permission=_permission_from_pb(pb.permission) if pb.HasField("permission") else None,
        kind=ParticipantKind(pb.kind),
        is_publisher=pb.is_publisher,
        joined_at_ms=pb.joined_at_ms or pb.joined_at * 1000,
        disconnect_reason=DisconnectReason(pb.disconnect_reason),
        client_protocol=pb.client_protocol,
        capabilities=tuple(pb.capabilities),
        data_tracks=tuple(data_track_from_pb(track) for track in pb.data_tracks),
    )


def participant_to_pb(info: ParticipantInfo) -> Any:
    return models.ParticipantInfo(
        sid=info.sid,
        identity=info.identity,
        name=info.name,
        state=enum_to_pb(info.state),
        metadata=info.metadata,
        attributes=info.attributes,
        version=info.version,
        permission=None if info.permission is None else _permission_to_pb(info.permission),
        kind=enum_to_pb(info.kind),
        is_publisher=info.is_publisher,
        joined_at=info.joined_at_ms // 1000,
        joined_at_ms=info.joined_at_ms,
        disconnect_reason=enum_to_pb(info.disconnect_reason),
        client_protocol=info.client_protocol,
        capabilities=cast("Any", info.capabilities),
        data_tracks=[data_track_to_pb(track) for track in info.data_tracks],
    )


def room_from_pb(pb: Any) -> RoomInfo:
    return RoomInfo(
        sid=pb.sid,
        name=pb.name,
        metadata=pb.metadata,
        num_participants=pb.num_participants,
        num_publishers=pb.num_publishers,
        max_participants=pb.max_participants,
        active_recording=pb.active_recording,
        creation_time_ms=pb.creation_time_ms or pb.creation_time * 1000,
        empty_timeout_s=pb.empty_timeout,
        departure_timeout_s=pb.departure_timeout,
    )


def room_to_pb(room: RoomInfo) -> Any:
    return models.Room(
        sid=room.sid,
        name=room.name,
        metadata=room.metadata,
        num_participants=room.num_participants,
        num_publishers=room.num_publishers,
        max_participants=room.max_participants,
        active_recording=room.active_recording,
        creation_time=room.creation_time_ms // 1000,
        creation_time_ms=room.creation_time_ms,
        empty_timeout=room.empty_timeout_s,
        departure_timeout=room.departure_timeout_s,
    )


def server_info_from_pb(pb: Any, legacy_version: str) -> ServerInfo:
    return ServerInfo(pb.version or legacy_version, pb.region, pb.node_id, pb.protocol)


def server_info_to_pb(info: ServerInfo) -> Any:
    return models.ServerInfo(version=info.version, region=info.region, node_id=info.node_id, protocol=info.protocol)


def ice_server_from_pb(pb: Any) -> IceServer:
    return IceServer(tuple(pb.urls), pb.username, pb.credential)


def ice_server_to_pb(server: IceServer) -> Any:
    return rtc.ICEServer(urls=server.urls, username=server.username, credential=server.credential)


def client_info_from_pb(pb: Any) -> ClientInfo:
    return ClientInfo(pb.sdk, pb.version, pb.protocol, pb.client_protocol, pb.os, tuple(pb.capabilities))


def client_info_to_pb(info: ClientInfo) -> Any:
    return models.ClientInfo(
        sdk=cast("Any", info.sdk),
        version=info.version,
        protocol=info.protocol,
        client_protocol=info.client_protocol,
        os=info.os,
        capabilities=cast("Any", info.capabilities),
    )
