"""What there is to know of a stream besides its content."""

from __future__ import annotations

__all__ = ["ByteStreamInfo", "StreamInfo", "TextStreamInfo", "info_of"]

import re
from dataclasses import field
from typing import TYPE_CHECKING

from ..packets.messages import TextOperation
from ..records import dataclass

if TYPE_CHECKING:
    from ..packets.messages import StreamHeader


_NOT_IN_FILE_NAMES = frozenset('<>:"|?*')
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³")})
"""What Windows takes for devices, whatever suffix they have."""

_MAX_FILE_NAME_BYTES = 200
"""File systems take 255, and whoever writes a file may add something such as ``.part``."""

_MAX_SUFFIX_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What the header of a stream says.

    Attributes:
        stream_id: its name, chosen by the sender.
        sender_identity: who sends it; empty for the server itself.
        topic: what it is about, in the words of the application.
        mime_type: what kind of content it has.
        timestamp_ms: when it was begun, in milliseconds since the Unix epoch, by the sender's clock.
        total_bytes: the size of its content, if the sender knew it beforehand; of text, in UTF-8.
        attributes: key and value pairs of the application. A sender may add some at the end.
        is_encrypted: whether it came encrypted end to end.
    """

    stream_id: str
    sender_identity: str
    topic: str
    mime_type: str
    timestamp_ms: int
    total_bytes: int | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    is_encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStreamInfo(StreamInfo):
    """What the header of a text stream says.

    Attributes:
        operation: ``CREATE`` as a rule. ``UPDATE`` replaces an earlier text with the same ``stream_id``.
        version: which update this is; a higher one replaces a lower one.
        reply_to: the ``stream_id`` of the text that this one answers; empty if it is no answer.
        attached_stream_ids: the byte streams that belong to this text.
        is_generated: whether a machine wrote it.
    """

    operation: TextOperation = TextOperation.CREATE
    version: int = 0
    reply_to: str = ""
    attached_stream_ids: tuple[str, ...] = ()
    is_generated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteStreamInfo(StreamInfo):
    """What the header of a byte stream says.

    Attributes:
        name: the name of the file, or whatever the sender chose. Never a path to be trusted: see ``safe_name``.
    """

    name: str = ""

    @property
    def safe_name(self) -> str:
        """The last part of ``name``, changed until a file of that name may be made in a directory, on any system.

        It leads nowhere else, is not hidden, is no device of Windows, prints as it is, and is no longer than 200 bytes.
        ``"unnamed"`` where nothing is left. Two names may become the same, and a file of that name may be there.
        """
        last = re.split(r"[/\\]", self.name)[-1]
        kept = "".join("_" if c in _NOT_IN_FILE_NAMES or not c.isprintable() else c for c in last).strip(". ")
        stem, dot, suffix = kept.rpartition(".")
        if not dot or len(suffix.encode()) > _MAX_SUFFIX_BYTES:
            stem, dot, suffix = kept, "", ""
        if stem.partition(".")[0].rstrip().upper() in _DEVICES:
            stem = f"_{stem}"
        room = _MAX_FILE_NAME_BYTES - len(f"{dot}{suffix}".encode())
        return stem.encode()[:room].decode(errors="ignore") + dot + suffix or "unnamed"


def info_of(header: StreamHeader, sender_identity: str, *, is_encrypted: bool) -> TextStreamInfo | ByteStreamInfo:
    """What ``header`` says, for the application."""
    if header.text is None:
        return ByteStreamInfo(
            stream_id=header.stream_id,
            sender_identity=sender_identity,
            topic=header.topic,
            mime_type=header.mime_type,
            timestamp_ms=header.timestamp,
            total_bytes=header.total_length,
            attributes=dict(header.attributes),
            is_encrypted=is_encrypted,
            name=header.name,
        )
    text = header.text
    return TextStreamInfo(
        stream_id=header.stream_id,
        sender_identity=sender_identity,
        topic=header.topic,
        mime_type=header.mime_type,
        timestamp_ms=header.timestamp,
        total_bytes=header.total_length,
        attributes=dict(header.attributes),
        is_encrypted=is_encrypted,
        operation=text.operation,
        version=text.version,
        reply_to=text.reply_to_stream_id,
        attached_stream_ids=text.attached_stream_ids,
        is_generated=text.generated,
    )
