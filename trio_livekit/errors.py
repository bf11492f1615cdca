"""Every exception this package raises on purpose, on one screen.

One root, shallow, named for what the caller can do about it. Attributes carry the facts; the text is for people.
This module imports nothing of the package.
"""

from __future__ import annotations

__all__ = [
    "AccessTokenError",
    "AccessTokenErrorReason",
    "ConnectError",
    "ConnectErrorReason",
    "DecodeError",
    "DeliveryError",
    "DeliveryErrorReason",
    "DisconnectReason",
    "FrameTooLarge",
    "InternalError",
    "LiveKitError",
    "MissingKey",
    "NotRead",
    "PayloadTooLarge",
    "ProtocolError",
    "PublishDataError",
    "PublishDataErrorReason",
    "PublishError",
    "PublishErrorReason",
    "PushError",
    "PushErrorReason",
    "RecipientNotFound",
    "RoomDisconnected",
    "RpcError",
    "RpcErrorCode",
    "SchemaError",
    "SchemaErrorReason",
    "StreamError",
    "StreamErrorReason",
    "SubscribeError",
    "SubscribeErrorReason",
    "TransportError",
    "UpdateError",
    "UpdateErrorReason",
]

import enum
from typing import Any, Generic, TypeVar

_Reason = TypeVar("_Reason", bound=enum.Enum)


class LiveKitError(Exception):
    """Root of everything this package raises on purpose. All of them can be copied and pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        # By default an exception is rebuilt by calling its class with `args`, which is not what ours are made from.
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(cls: type[LiveKitError], args: tuple[object, ...]) -> LiveKitError:
    return cls.__new__(cls, *args)


class ProtocolError(LiveKitError):
    """The peer broke the rules of a protocol."""


class DecodeError(ProtocolError):
    """Bytes from the network do not parse. Raised by every parser, and nothing else is."""


class TransportError(LiveKitError):
    """The peer connection (ICE, DTLS or SCTP) could not be made, or was lost."""


class InternalError(LiveKitError):
    """We broke a rule of our own: please report it. The cause is attached."""


class OpenEnum(enum.IntEnum):
    """Numbers that a server may add to: unknown ones become members named ``UNKNOWN_<n>`` instead of errors.

    They are printed by name, as other enumerations are, and not as the numbers that they are on the wire.
    """

    @classmethod
    def _missing_(cls, value: object) -> Any:  # noqa: ANN401 (the signature is enum's)
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


class DisconnectReason(OpenEnum):
    """Why a participant left, in the server's words (``DisconnectReason``)."""

    UNKNOWN_REASON = 0
    CLIENT_INITIATED = 1
    DUPLICATE_IDENTITY = 2
    SERVER_SHUTDOWN = 3
    PARTICIPANT_REMOVED = 4
    ROOM_DELETED = 5
    STATE_MISMATCH = 6
    JOIN_FAILURE = 7
    MIGRATION = 8
    SIGNAL_CLOSE = 9
    ROOM_CLOSED = 10
    USER_UNAVAILABLE = 11
    USER_REJECTED = 12
    SIP_TRUNK_FAILURE = 13
    CONNECTION_TIMEOUT = 14
    MEDIA_FAILURE = 15
    AGENT_ERROR = 16


class ConnectErrorReason(enum.Enum):
    """Why a room was never joined, so that a caller can decide whether to try again."""

    INVALID_URL = "invalid_url"
    NOT_ALLOWED = "not_allowed"  # bad, expired or insufficient token: a retry with the same token fails too
    NO_TOKEN = "no_token"  # noqa: S105 - the function that gives tokens failed: the cause is attached
    ROOM_NOT_FOUND = "room_not_found"
    INVALID_REQUEST = "invalid_request"
    UNREACHABLE = "unreachable"  # name, TCP, TLS or websocket: the server was not spoken to, or broke off
    ROOM_REFUSED = "room_refused"  # the node that has the room said no: the room is full, as a rule
    SERVER_ERROR = "server_error"  # any other 5xx answer
    REFUSED = "refused"  # the server's first message was `leave`; see `disconnect_reason`
    TIMEOUT = "timeout"
    TRANSPORT = "transport"  # signalling worked, but no peer connection came up


class ConnectError(LiveKitError):
    """The room was never joined.

    Attributes:
        reason: which kind of refusal, a ``ConnectErrorReason``.
        status: the HTTP status of a refused websocket upgrade, if there was one.
        disconnect_reason: the server's ``DisconnectReason`` if it answered with ``leave``.
    """

    def __init__(
        self,
        reason: ConnectErrorReason,
        message: str,
        *,
        status: int | None = None,
        disconnect_reason: DisconnectReason | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.disconnect_reason = disconnect_reason


class RoomDisconnected(LiveKitError):
    """The room was joined, and then lost for good.

    Attributes:
        reason: the ``DisconnectReason`` the server gave, or the nearest one that describes what was seen.
    """

    def __init__(self, reason: DisconnectReason, message: str | None = None) -> None:
        super().__init__(message or f"disconnected from the room: {reason.name}")
        self.reason = reason


class _Refusal(LiveKitError, Generic[_Reason]):
    """The server answered a request with a ``RequestResponse`` that is not OK, or what comes to the same."""

    def __init__(self, reason: _Reason, message: str, *, code: int | None = None, server_message: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.server_message = server_message


class PublishErrorReason(enum.Enum):
    """Why a data track could not be published, or stopped being published."""

    NOT_ALLOWED = "not_allowed"
    DUPLICATE_NAME = "duplicate_name"
    INVALID_NAME = "invalid_name"
    LIMIT_REACHED = "limit_reached"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    INVALID_SCHEMA = "invalid_schema"  # frame encoding and schema do not go together; the server was not asked
    UNPUBLISHED = "unpublished"  # the server ended the publication under its block
    UNKNOWN = "unknown"  # a refusal this version does not know: see `code` and `server_message`


class PublishError(_Refusal[PublishErrorReason]):
    """A data track was refused, or ended by the server while its block was open.

    Attributes:
        reason: a ``PublishErrorReason``.
        code: the number of the server's ``RequestResponse.Reason``, if it sent one.
        server_message: the server's own words, if it sent any.
    """


class PushErrorReason(enum.Enum):
    """Why a frame was not accepted for sending."""

    QUEUE_FULL = "queue_full"
    UNPUBLISHED = "unpublished"
    NOT_CONNECTED = "not_connected"  # the session is reconnecting: the frame was dropped and counted
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NO_KEY = "no_key"  # the room has end-to-end encryption, and there is no key to encrypt with


class PushError(LiveKitError):
    """A frame was not accepted by ``try_push`` or ``send``; the frame is untouched and still the caller's."""

    def __init__(self, reason: PushErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class FrameTooLarge(PushError):
    """The frame needs more packets than a receiver may accept.

    Attributes:
        size: bytes in the frame.
        limit: the most bytes one frame may have, with the extensions this one carries.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            PushErrorReason.TOO_LARGE, f"a frame of {size} bytes is over the {limit} that 128 packets carry"
        )
        self.size = size
        self.limit = limit


class PublishDataErrorReason(enum.Enum):
    """Why a data packet was not accepted for sending."""

    TOO_LARGE = "too_large"
    NOT_ALLOWED = "not_allowed"  # the token, or the server's operator, does not let this participant send data
    RECIPIENT_NOT_FOUND = "recipient_not_found"
    QUEUE_FULL = "queue_full"  # too much waits to be sent, and the call may not wait


class PublishDataError(LiveKitError):
    """A data packet was not accepted, and nothing of it was sent.

    Attributes:
        reason: a ``PublishDataErrorReason``.
    """

    def __init__(self, reason: PublishDataErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PayloadTooLarge(PublishDataError):
    """A data packet is larger than a server takes: send it as a stream instead.

    Attributes:
        size: bytes of the packet, with its envelope.
        limit: the most bytes one packet may have.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            PublishDataErrorReason.TOO_LARGE,
            f"a packet of {size} bytes, with its envelope, is over the limit of {limit}",
        )
        self.size = size
        self.limit = limit


class RecipientNotFound(PublishDataError):
    """Some of those that a data packet was for are not in the room. Nobody was sent anything.

    Attributes:
        identities: who is missing.
    """

    def __init__(self, identities: tuple[str, ...]) -> None:
        text = f"not in the room: {', '.join(map(repr, identities))}"
        super().__init__(PublishDataErrorReason.RECIPIENT_NOT_FOUND, text)
        self.identities = identities


class DeliveryErrorReason(enum.Enum):
    """Why it is not known that the server has a data packet."""

    SESSION_REPLACED = "session_replaced"  # a reconnection made another session, and the packet was not to be resent
    RECIPIENTS_GONE = "recipients_gone"  # the same, and nobody whom the packet was for came back
    EXPIRED = "expired"  # it was not acknowledged for a minute
    DISCONNECTED = "disconnected"  # the room was left, or lost for good


class DeliveryError(LiveKitError):
    """A data packet was sent, and it is not known whether the server has it. It may have been delivered.

    Attributes:
        reason: a ``DeliveryErrorReason``.
    """

    def __init__(self, reason: DeliveryErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SubscribeErrorReason(enum.Enum):
    """Why a subscription could not be established."""

    UNPUBLISHED = "unpublished"
    NOT_ALLOWED = "not_allowed"  # this participant may not subscribe to anything
    TIMEOUT = "timeout"  # also what the publisher's denying it looks like: the server never says no
    ENCRYPTED = "encrypted"  # the track is encrypted in a way this room cannot decrypt
    NOT_ENCRYPTED = "not_encrypted"  # it is not encrypted, the room is, and its publisher is not allowed that


class SubscribeError(LiveKitError):
    """A subscription could not be established.

    Attributes:
        reason: a ``SubscribeErrorReason``.
    """

    def __init__(self, reason: SubscribeErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RpcErrorCode(enum.IntEnum):
    """The codes of an ``RpcError`` that are not the application's: 1001 to 1999 are kept for them."""

    UNSUPPORTED_METHOD = 1400
    """Nobody serves that method there."""
    RECIPIENT_NOT_FOUND = 1401
    """There is no such participant."""
    REQUEST_PAYLOAD_TOO_LARGE = 1402
    """The recipient's SDK takes no more than 15,360 bytes."""
    UNSUPPORTED_SERVER = 1403
    """The server is older than LiveKit 1.8."""
    UNSUPPORTED_VERSION = 1404
    """The recipient does not know this form of a request."""
    TOO_MANY_CALLS = 1429
    """The method is running as often as it may at once. This code is trio_livekit's own."""
    APPLICATION_ERROR = 1500
    """The handler failed, or was cancelled; why is in its own log."""
    CONNECTION_TIMEOUT = 1501
    """The recipient did not acknowledge the request in time."""
    RESPONSE_TIMEOUT = 1502
    """The recipient did not respond in time."""
    RECIPIENT_DISCONNECTED = 1503
    """The recipient, or our own session, was lost after the request had left."""
    RESPONSE_PAYLOAD_TOO_LARGE = 1504
    """The handler's result is over the 15,360 bytes that the caller's SDK takes."""
    SEND_FAILED = 1505
    """The request could not be sent in time, or not at all; ``data`` says why, where it is known."""


class RpcError(LiveKitError):
    """A call failed. A handler raises it to fail the call on purpose: code, message and data reach the caller.

    Attributes:
        code: an ``RpcErrorCode``, or the application's own number outside 1001 to 1999.
        message: what went wrong; up to 256 bytes of UTF-8 travel.
        data: more of it, in whatever form the application likes; up to 15,360 bytes of UTF-8 travel.
        executed: for the caller. ``False``: no handler ran, so that calling again repeats nothing. ``True``: it ran, if
            not to its end. ``None``: nobody knows.
    """

    def __init__(self, code: int, message: str, data: str = "", *, executed: bool | None = None) -> None:
        super().__init__(f"{message} ({int(code)})")
        self.code = code
        self.message = message
        self.data = data
        self.executed = executed


class StreamErrorReason(enum.Enum):
    """Why a text or byte stream did not come about, or ended before its time."""

    ABORTED = "aborted"  # its sender gave it up: see `sender_reason`
    SENDER_LEFT = "sender_left"
    SESSION_LOST = "session_lost"  # this client had to join anew: streams do not survive that
    INCOMPLETE = "incomplete"  # it ended with less than was announced
    TOO_LONG = "too_long"  # it is more than was announced
    CHUNK_MISSING = "chunk_missing"
    DECODE_FAILED = "decode_failed"  # not UTF-8, or not what its compression makes
    TOO_LARGE = "too_large"  # over the limit that the reader set
    ENCRYPTION_MISMATCH = "encryption_mismatch"  # some of it was encrypted, and some was not
    IDLE = "idle"  # nothing came of it for too long
    NOT_READ = "not_read"  # nobody read it for too long, while it held up everything else
    TOPIC_TAKEN = "topic_taken"  # the topic is being listened to already, or is the library's own
    HEADER_TOO_LARGE = "header_too_large"  # topic, name and attributes are more than one packet holds
    RECIPIENT_LEFT = "recipient_left"  # all of those it was for have left
    NOT_ACKNOWLEDGED = "not_acknowledged"  # the server did not say that it has all of it
    WRITE_CANCELLED = "write_cancelled"  # a write was cancelled halfway: what follows it would have a hole before it


class StreamError(LiveKitError):
    """A text or byte stream was not, or not wholly, sent or received. What has been read of it before is good.

    Attributes:
        reason: a ``StreamErrorReason``.
        stream_id: which stream; empty where there was none yet.
        sender_reason: what the sender said when it gave the stream up.
    """

    def __init__(
        self, reason: StreamErrorReason, message: str, *, stream_id: str = "", sender_reason: str = ""
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.stream_id = stream_id
        self.sender_reason = sender_reason


class NotRead(LiveKitError):
    """Nobody has read from a scope of data packets for so long, while it held up everything else, that it was ended.

    Attributes:
        dropped: how many reliable packets were waiting in it.
    """

    def __init__(self, message: str, dropped: int = 0) -> None:
        super().__init__(message)
        self.dropped = dropped


class UpdateErrorReason(enum.Enum):
    """Why a change of one's own name, metadata or attributes was not made."""

    NOT_ALLOWED = "not_allowed"  # the token lacks the grant `can_update_own_metadata`
    LIMIT_EXCEEDED = "limit_exceeded"  # too long: see `server_message`
    TIMEOUT = "timeout"  # the change may have been made or not
    UNKNOWN = "unknown"  # a refusal this version does not know: see `code` and `server_message`


class UpdateError(_Refusal[UpdateErrorReason]):
    """A change of one's own name, metadata or attributes was refused, or not confirmed in time.

    Attributes:
        reason: an ``UpdateErrorReason``.
        code: the number of the server's ``RequestResponse.Reason``, if it sent one.
        server_message: the server's own words, if it sent any.
    """


class SchemaErrorReason(enum.Enum):
    """Why the definition of a schema was not stored, or not got."""

    NOT_FOUND = "not_found"  # nobody of that identity is in the room, or has defined that schema
    NOT_ALLOWED = "not_allowed"  # the server keeps no definitions: its operator has to allow it
    LIMIT_EXCEEDED = "limit_exceeded"  # all definitions of a participant together: 64,000 bytes on a default server
    INVALID = "invalid"  # something is empty, or the name or the encoding is too long: see `server_message`
    NOT_TEXT = "not_text"  # it is there, and not UTF-8
    TIMEOUT = "timeout"  # also what a server looks like that knows nothing of schemas
    UNKNOWN = "unknown"  # a refusal this version does not know: see `code` and `server_message`


class SchemaError(_Refusal[SchemaErrorReason]):
    """The definition of a schema was not stored, or not got.

    Attributes:
        reason: a ``SchemaErrorReason``.
        code: the number of the server's ``RequestResponse.Reason``, if it sent one.
        server_message: the server's own words, if it sent any.
    """


class MissingKey(LiveKitError):
    """A key for end-to-end encryption is needed, and was not set.

    Attributes:
        identity: whose key it would be; ``None`` for the shared one.
        index: under which index; ``None`` for the one in use.
    """

    def __init__(self, identity: str | None, index: int | None = None, message: str | None = None) -> None:
        whose = "no shared key" if identity is None else f"no key of {identity!r}"
        super().__init__(message or f"{whose}{'' if index is None else f' under index {index}'} was set")
        self.identity = identity
        self.index = index


class AccessTokenErrorReason(enum.Enum):
    """Why an access token was not accepted; the value is the text of the error, and says nothing of the token."""

    MALFORMED = "the access token is malformed"
    UNSUPPORTED_ALGORITHM = "the access token is not signed with HS256"
    UNKNOWN_KEY = "the access token was issued for an unknown API key"
    BAD_SIGNATURE = "the signature of the access token does not match"
    EXPIRED = "the access token has expired"
    NOT_YET_VALID = "the access token is not valid yet"
    INVALID_CLAIMS = "the access token has claims that do not make sense"


class AccessTokenError(LiveKitError):
    """An access token was not accepted. Neither the token nor anything in it is in this error.

    Attributes:
        reason: an ``AccessTokenErrorReason``.
    """

    def __init__(self, reason: AccessTokenErrorReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
