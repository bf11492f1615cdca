"""``DataPacket`` and what it carries, as frozen dataclasses named and cut as in ``livekit_models.proto``.

Fields that are dead, or copies kept for old clients, are not here. A packet that came encrypted looks like any other,
with ``is_encrypted`` set.
"""

from __future__ import annotations

__all__ = [
    "ChatMessage",
    "Compression",
    "DataPacket",
    "Encryptable",
    "Encrypted",
    "RpcAck",
    "RpcFault",
    "RpcRequest",
    "RpcResponse",
    "SipDtmf",
    "StreamChunk",
    "StreamHeader",
    "StreamTrailer",
    "TextHeader",
    "TextOperation",
    "Transcription",
    "TranscriptionSegment",
    "UserPacket",
    "Value",
]

import dataclasses  # for what there is one of for each packet: quicker to make than what ``..records`` defines
import enum
from dataclasses import field

from ..records import dataclass


@dataclasses.dataclass(frozen=True, slots=True)
class UserPacket:
    """Bytes of the application's (``UserPacket``). A server drops a ``nonce`` of 16 bytes that the room saw lately."""

    payload: bytes
    topic: str = ""
    nonce: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SipDtmf:
    """One key of a telephone (``SipDTMF``)."""

    code: int
    digit: str


@dataclass(frozen=True, slots=True)
class TranscriptionSegment:
    """A piece of speech as text; times are milliseconds (``TranscriptionSegment``)."""

    id: str
    text: str
    start_time: int = 0
    end_time: int = 0
    final: bool = False
    language: str = ""


@dataclass(frozen=True, slots=True)
class Transcription:
    """What a participant said on a track (``Transcription``); servers pass it on for agents only."""

    transcribed_participant_identity: str
    track_id: str
    segments: tuple[TranscriptionSegment, ...]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A line of chat; timestamps are milliseconds since the Unix epoch (``ChatMessage``)."""

    id: str
    timestamp: int
    message: str
    edit_timestamp: int | None = None
    deleted: bool = False
    generated: bool = False


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """A call (``RpcRequest``); ``id`` comes back in the ack and in the response."""

    id: str
    method: str
    payload: str
    response_timeout_ms: int
    version: int = 1


@dataclass(frozen=True, slots=True)
class RpcAck:
    """The call has arrived (``RpcAck``)."""

    request_id: str


@dataclass(frozen=True, slots=True)
class RpcFault:
    """How a call failed (``RpcError`` on the wire)."""

    code: int
    message: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class RpcResponse:
    """The end of a call (``RpcResponse``): either ``fault`` is set, or ``payload`` is the result."""

    request_id: str
    payload: str = ""
    fault: RpcFault | None = None


class TextOperation(enum.IntEnum):
    """What a text stream does (``DataStream.OperationType``)."""

    CREATE = 0
    UPDATE = 1
    DELETE = 2
    REACTION = 3


class Compression(enum.IntEnum):
    """How the content of a stream is compressed (``DataStream.CompressionType``)."""

    NONE = 0
    DEFLATE_RAW = 1


@dataclass(frozen=True, slots=True)
class TextHeader:
    """What only text streams have (``DataStream.TextHeader``)."""

    operation: TextOperation = TextOperation.CREATE
    version: int = 0
    reply_to_stream_id: str = ""
    attached_stream_ids: tuple[str, ...] = ()
    generated: bool = False


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """The first packet of a stream (``DataStream.Header``).

    Either ``text`` is set, or this is a byte stream, and ``name`` is its name. ``inline_content`` is all of the stream
    where it is not ``None``; neither chunks nor a trailer follow then. ``total_length`` is in bytes, uncompressed.
    """

    stream_id: str
    timestamp: int
    topic: str
    mime_type: str
    total_length: int | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    text: TextHeader | None = None
    name: str = ""
    inline_content: bytes | None = None
    compression: Compression = Compression.NONE


@dataclasses.dataclass(frozen=True, slots=True)
class StreamChunk:
    """A piece of a stream (``DataStream.Chunk``)."""

    stream_id: str
    chunk_index: int
    content: bytes
    version: int = 0


@dataclass(frozen=True, slots=True)
class StreamTrailer:
    """The end of a stream (``DataStream.Trailer``); a ``reason`` says that it is not a good one."""

    stream_id: str
    reason: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Encrypted:
    """Something encrypted end to end (``EncryptedPacket``)."""

    iv: bytes
    key_index: int
    encrypted_value: bytes = field(repr=False)


Encryptable = UserPacket | ChatMessage | RpcRequest | RpcAck | RpcResponse | StreamHeader | StreamChunk | StreamTrailer
"""What is encrypted in a room with end-to-end encryption; the rest always travels in the clear."""

Value = Encryptable | SipDtmf | Transcription | Encrypted


@dataclasses.dataclass(frozen=True, slots=True)
class DataPacket:
    """The envelope (``DataPacket``). The server writes the true sender into it; nobody named means everybody.

    ``sequence`` counts a session's reliable packets from 1; 0 is no number at all. Packets that the server itself sends
    have no sender. ``is_encrypted`` is not on the wire: ``value`` is what was inside an ``Encrypted``.
    """

    value: Value
    participant_identity: str = ""
    participant_sid: str = ""
    destination_identities: tuple[str, ...] = ()
    sequence: int = 0
    is_encrypted: bool = False
