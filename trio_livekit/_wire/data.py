"""``DataPacket`` and what it carries, as a client handles it: protobuf <-> our dataclasses."""

from __future__ import annotations

__all__ = ["MAX_NUMBER_BYTES", "decode_packet", "decode_sealed", "encode_packet", "encode_sealed", "numbered"]

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError as ProtobufDecodeError

from .._sansio.packets.messages import (
    ChatMessage,
    Compression,
    DataPacket,
    Encrypted,
    RpcAck,
    RpcFault,
    RpcRequest,
    RpcResponse,
    SipDtmf,
    StreamChunk,
    StreamHeader,
    StreamTrailer,
    TextHeader,
    TextOperation,
    Transcription,
    TranscriptionSegment,
    UserPacket,
)
from .._sansio.signal.messages import EncryptionType
from ..errors import DecodeError
from .convert import enum_to_pb
from .generated import models

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._sansio.packets.messages import Encryptable


def encode_packet(packet: DataPacket) -> bytes:
    """The message for the channel. ``kind`` is left out: a server derives it from the channel."""
    field, encode = _ENCODERS[type(packet.value)]
    return models.DataPacket(
        participant_identity=packet.participant_identity,
        participant_sid=packet.participant_sid,
        destination_identities=packet.destination_identities,
        sequence=packet.sequence,
        **{field: encode(packet.value)},
    ).SerializeToString()


_SEQUENCE_TAG = b"\x80\x01"
"""Field 16, a variable-length integer."""

MAX_NUMBER_BYTES = len(_SEQUENCE_TAG) + 5
"""What ``numbered`` adds at most: a ``uint32`` takes up to five bytes."""


def numbered(packet: bytes, sequence: int) -> bytes:
    """An encoded packet that had no number, with this one: protobuf does not care about the order of fields."""
    digits = bytearray()
    while sequence > 0x7F:
        digits.append(sequence & 0x7F | 0x80)
        sequence >>= 7
    digits.append(sequence)
    return b"".join((packet, _SEQUENCE_TAG, digits))


MAX_PACKET_BYTES = 256 << 10
"""What our descriptions announce to take in one message. Servers pass on no more than 64,000 bytes."""


def decode_packet(data: bytes) -> DataPacket | None:
    """A message from the channel; ``None`` if it carries nothing we know. Raises ``DecodeError``."""
    if len(data) > MAX_PACKET_BYTES:
        raise DecodeError(f"a packet is no longer than {MAX_PACKET_BYTES} bytes")
    try:
        pb = models.DataPacket.FromString(data)
    except ProtobufDecodeError as exc:
        raise DecodeError("not a DataPacket") from exc
    field = pb.WhichOneof("value")
    decode = _DECODERS.get(field or "")
    if field is None or decode is None:
        return None
    return DataPacket(
        decode(getattr(pb, field)),
        pb.participant_identity,
        pb.participant_sid,
        tuple(pb.destination_identities),
        pb.sequence,
    )


def encode_sealed(value: Encryptable) -> bytes:
    """What is to be encrypted (``EncryptedPacketPayload``)."""
    field, encode = _ENCODERS[type(value)]
    return models.EncryptedPacketPayload(**{field: encode(value)}).SerializeToString()


def decode_sealed(data: bytes) -> Encryptable | None:
    """What was encrypted; ``None`` if it is nothing we know. Raises ``DecodeError``."""
    try:
        pb = models.EncryptedPacketPayload.FromString(data)
    except ProtobufDecodeError as exc:
        raise DecodeError("not an EncryptedPacketPayload") from exc
    field = pb.WhichOneof("value")
    decode = _DECODERS.get(field or "")
    if field is None or decode is None:
        return None
    value: Encryptable = decode(getattr(pb, field))
    return value


# --- one pair for each kind of value ----------------------------------------------------------------------------------


def _user_to_pb(value: UserPacket) -> Any:
    return models.UserPacket(payload=value.payload, topic=value.topic or None, nonce=value.nonce)


def _user_from_pb(pb: Any) -> UserPacket:
    return UserPacket(pb.payload, pb.topic, pb.nonce)


def _dtmf_to_pb(value: SipDtmf) -> Any:
    return models.SipDTMF(code=value.code, digit=value.digit)


def _dtmf_from_pb(pb: Any) -> SipDtmf:
    return SipDtmf(pb.code, pb.digit)


def _transcription_to_pb(value: Transcription) -> Any:
    segments = [
        models.TranscriptionSegment(
            id=s.id, text=s.text, start_time=s.start_time, end_time=s.end_time, final=s.final, language=s.language
        )
        for s in value.segments
    ]
    return models.Transcription(
        transcribed_participant_identity=value.transcribed_participant_identity,
        track_id=value.track_id,
        segments=segments,
    )


def _transcription_from_pb(pb: Any) -> Transcription:
    segments = tuple(
        TranscriptionSegment(s.id, s.text, s.start_time, s.end_time, s.final, s.language) for s in pb.segments
    )
    return Transcription(pb.transcribed_participant_identity, pb.track_id, segments)


def _chat_to_pb(value: ChatMessage) -> Any:
    return models.ChatMessage(
        id=value.id,
        timestamp=value.timestamp,
        edit_timestamp=value.edit_timestamp,
        message=value.message,
        deleted=value.deleted,
        generated=value.generated,
    )


def _chat_from_pb(pb: Any) -> ChatMessage:
    edited = pb.edit_timestamp if pb.HasField("edit_timestamp") else None
    return ChatMessage(pb.id, pb.timestamp, pb.message, edited, pb.deleted, pb.generated)


def _rpc_request_to_pb(value: RpcRequest) -> Any:
    return models.RpcRequest(
        id=value.id,
        method=value.method,
        payload=value.payload,
        response_timeout_ms=value.response_timeout_ms,
        version=value.version,
    )


def _rpc_request_from_pb(pb: Any) -> RpcRequest:
    return RpcRequest(pb.id, pb.method, pb.payload, pb.response_timeout_ms, pb.version)


def _rpc_ack_to_pb(value: RpcAck) -> Any:
    return models.RpcAck(request_id=value.request_id)


def _rpc_ack_from_pb(pb: Any) -> RpcAck:
    return RpcAck(pb.request_id)


def _rpc_response_to_pb(value: RpcResponse) -> Any:
    fault = value.fault
    if fault is None:
        return models.RpcResponse(request_id=value.request_id, payload=value.payload)
    error = models.RpcError(code=fault.code, message=fault.message, data=fault.data)
    return models.RpcResponse(request_id=value.request_id, error=error)


def _rpc_response_from_pb(pb: Any) -> RpcResponse:
    if pb.WhichOneof("value") != "error":
        return RpcResponse(pb.request_id, pb.payload)
    return RpcResponse(pb.request_id, fault=RpcFault(pb.error.code, pb.error.message, pb.error.data))


def _header_to_pb(value: StreamHeader) -> Any:
    text = value.text
    pb = models.DataStream.Header(
        stream_id=value.stream_id,
        timestamp=value.timestamp,
        topic=value.topic,
        mime_type=value.mime_type,
        total_length=value.total_length,
        attributes=value.attributes,
        inline_content=value.inline_content,
        compression=enum_to_pb(value.compression),
    )
    if text is None:
        pb.byte_header.name = value.name
        pb.byte_header.SetInParent()
    else:
        pb.text_header.operation_type = enum_to_pb(text.operation)
        pb.text_header.version = text.version
        pb.text_header.reply_to_stream_id = text.reply_to_stream_id
        pb.text_header.attached_stream_ids.extend(text.attached_stream_ids)
        pb.text_header.generated = text.generated
        pb.text_header.SetInParent()
    return pb


def _header_from_pb(pb: Any) -> StreamHeader:
    text = None
    if pb.WhichOneof("content_header") == "text_header":
        header = pb.text_header
        text = TextHeader(
            _known(TextOperation, header.operation_type),
            header.version,
            header.reply_to_stream_id,
            tuple(header.attached_stream_ids),
            header.generated,
        )
    return StreamHeader(
        pb.stream_id,
        pb.timestamp,
        pb.topic,
        pb.mime_type,
        pb.total_length if pb.HasField("total_length") else None,
        dict(pb.attributes),
        text,
        "" if text is not None else pb.byte_header.name,
        pb.inline_content if pb.HasField("inline_content") else None,
        _known(Compression, pb.compression),
    )


def _known(kind: Any, number: int) -> Any:
    """A member of an enumeration. Raises ``DecodeError`` for one that this version cannot treat rightly."""
    try:
        return kind(number)
    except ValueError:
        raise DecodeError(f"a stream with an unknown {kind.__name__}: {number}") from None


def _chunk_to_pb(value: StreamChunk) -> Any:
    return models.DataStream.Chunk(
        stream_id=value.stream_id, chunk_index=value.chunk_index, content=value.content, version=value.version
    )


def _chunk_from_pb(pb: Any) -> StreamChunk:
    return StreamChunk(pb.stream_id, pb.chunk_index, pb.content, pb.version)


def _trailer_to_pb(value: StreamTrailer) -> Any:
    return models.DataStream.Trailer(stream_id=value.stream_id, reason=value.reason, attributes=value.attributes)


def _trailer_from_pb(pb: Any) -> StreamTrailer:
    return StreamTrailer(pb.stream_id, pb.reason, dict(pb.attributes))


def _encrypted_to_pb(value: Encrypted) -> Any:
    return models.EncryptedPacket(
        encryption_type=enum_to_pb(EncryptionType.GCM),
        iv=value.iv,
        key_index=value.key_index,
        encrypted_value=value.encrypted_value,
    )


def _encrypted_from_pb(pb: Any) -> Encrypted:
    return Encrypted(pb.iv, pb.key_index, pb.encrypted_value)


_KINDS: tuple[tuple[type, str, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (UserPacket, "user", _user_to_pb, _user_from_pb),
    (SipDtmf, "sip_dtmf", _dtmf_to_pb, _dtmf_from_pb),
    (Transcription, "transcription", _transcription_to_pb, _transcription_from_pb),
    (ChatMessage, "chat_message", _chat_to_pb, _chat_from_pb),
    (RpcRequest, "rpc_request", _rpc_request_to_pb, _rpc_request_from_pb),
    (RpcAck, "rpc_ack", _rpc_ack_to_pb, _rpc_ack_from_pb),
    (RpcResponse, "rpc_response", _rpc_response_to_pb, _rpc_response_from_pb),
    (StreamHeader, "stream_header", _header_to_pb, _header_from_pb),
    (StreamChunk, "stream_chunk", _chunk_to_pb, _chunk_from_pb),
    (StreamTrailer, "stream_trailer", _trailer_to_pb, _trailer_from_pb),
    (Encrypted, "encrypted_packet", _encrypted_to_pb, _encrypted_from_pb),
)
_ENCODERS = {kind: (field, encode) for kind, field, encode, _ in _KINDS}
_DECODERS = {field: decode for _, field, _, decode in _KINDS}
