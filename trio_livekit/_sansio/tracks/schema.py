"""Which frame encodings and schemas go together, as the other SDKs have it; the server does not look."""

from __future__ import annotations

__all__ = ["check_schema"]

from typing import TYPE_CHECKING

from ...errors import PublishError, PublishErrorReason
from ..signal.messages import FrameEncoding, SchemaEncoding

if TYPE_CHECKING:
    from ..signal.messages import DataTrackSchema

_SCHEMAS: dict[FrameEncoding, tuple[SchemaEncoding, ...]] = {
    FrameEncoding.ROS1: (SchemaEncoding.ROS1_MSG,),
    FrameEncoding.CDR: (SchemaEncoding.ROS2_MSG, SchemaEncoding.ROS2_IDL, SchemaEncoding.OMG_IDL),
    FrameEncoding.PROTOBUF: (SchemaEncoding.PROTOBUF,),
    FrameEncoding.FLATBUFFER: (SchemaEncoding.FLATBUFFER,),
    FrameEncoding.CBOR: (),
    FrameEncoding.MSGPACK: (),
    FrameEncoding.JSON: (SchemaEncoding.JSON_SCHEMA,),
}
"""The schemas by which frames of a well-known encoding can be described."""

_SELF_DESCRIBING = (FrameEncoding.CBOR, FrameEncoding.MSGPACK, FrameEncoding.JSON)


def check_schema(frame_encoding: FrameEncoding | str | None, schema: DataTrackSchema | None) -> None:
    """Raises ``PublishError`` (``INVALID_SCHEMA``) for what no subscriber could make sense of.

    Nothing is known of encodings that are not among the well-known ones, so those are taken as they are.
    """
    if schema is not None and schema.encoding == SchemaEncoding.UNSPECIFIED:
        raise _invalid(f"the schema {schema.name!r} does not say in which language it is written")
    if frame_encoding == FrameEncoding.UNSPECIFIED:
        raise _invalid("the encoding of the frames is not specified; leave it out, or give it a name")
    if frame_encoding is None:
        if schema is not None:
            raise _invalid(f"how frames that follow the schema {schema.name!r} are encoded has to be said as well")
        return
    if isinstance(frame_encoding, str) or frame_encoding not in _SCHEMAS:
        return
    if schema is None:
        if frame_encoding not in _SELF_DESCRIBING:
            raise _invalid(f"frames in {frame_encoding.name} do not describe themselves: they need a schema")
        return
    if not isinstance(schema.encoding, str) and schema.encoding not in _SCHEMAS[frame_encoding]:
        raise _invalid(f"a schema in {schema.encoding.name} does not describe frames in {frame_encoding.name}")


def _invalid(text: str) -> PublishError:
    return PublishError(PublishErrorReason.INVALID_SCHEMA, text)
