"""How a stream of ours is announced."""

from __future__ import annotations

__all__ = ["BYTES_MIME_TYPE", "byte_header", "text_header"]

from typing import TYPE_CHECKING
from uuid import uuid4

from .._sansio.packets.messages import StreamHeader, TextHeader, TextOperation
from .._sansio.streams.info import ByteStreamInfo, TextStreamInfo, info_of
from ..data_tracks import now_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TEXT_MIME_TYPE = "text/plain"
BYTES_MIME_TYPE = "application/octet-stream"


def text_header(
    identity: str,
    *,
    topic: str,
    attributes: Mapping[str, str] | None,
    total_bytes: int | None = None,
    reply_to: TextStreamInfo | str | None = None,
    replaces: TextStreamInfo | None = None,
    attached: Sequence[str] = (),
    is_generated: bool = False,
) -> tuple[StreamHeader, TextStreamInfo]:
    """The header of a text that this client sends, and what is to be known of it."""
    operation, version, stream_id = TextOperation.CREATE, 0, str(uuid4())
    if replaces is not None:
        operation, version, stream_id = TextOperation.UPDATE, replaces.version + 1, replaces.stream_id
    answered = reply_to.stream_id if isinstance(reply_to, TextStreamInfo) else reply_to or ""
    text = TextHeader(operation, version, answered, tuple(attached), is_generated)
    header = StreamHeader(
        stream_id, now_ms(), topic, TEXT_MIME_TYPE, total_bytes, attributes=dict(attributes or {}), text=text
    )
    info = info_of(header, identity, is_encrypted=False)
    assert isinstance(info, TextStreamInfo)
    return header, info


def byte_header(
    identity: str,
    *,
    name: str,
    topic: str,
    mime_type: str,
    attributes: Mapping[str, str] | None,
    total_bytes: int | None = None,
    stream_id: str = "",
) -> tuple[StreamHeader, ByteStreamInfo]:
    """The header of a byte stream that this client sends, and what is to be known of it."""
    stream_id = stream_id or str(uuid4())
    header = StreamHeader(
        stream_id, now_ms(), topic, mime_type, total_bytes, attributes=dict(attributes or {}), name=name
    )
    info = info_of(header, identity, is_encrypted=False)
    assert isinstance(info, ByteStreamInfo)
    return header, info
