"""Which frame encodings and schemas go together, for all pairs of them."""

from __future__ import annotations

import itertools

import pytest

from trio_livekit._sansio.signal.messages import DataTrackSchema, FrameEncoding, SchemaEncoding
from trio_livekit._sansio.tracks.schema import check_schema
from trio_livekit.errors import PublishError, PublishErrorReason

F, S = FrameEncoding, SchemaEncoding
OK = {
    (None, None),
    *((encoding, None) for encoding in (F.CBOR, F.MSGPACK, F.JSON)),
    (F.ROS1, S.ROS1_MSG),
    *((F.CDR, encoding) for encoding in (S.ROS2_MSG, S.ROS2_IDL, S.OMG_IDL)),
    (F.PROTOBUF, S.PROTOBUF),
    (F.FLATBUFFER, S.FLATBUFFER),
    (F.JSON, S.JSON_SCHEMA),
    # Nobody knows about the others; an encoding of frames has to be there if there is a schema, that is all.
    *((frames, schema) for frames in ("mine", F(99)) for schema in (None, *list(S)[1:], S(99), "my language")),
    *((frames, "my language") for frames in list(F)[1:]),
}


@pytest.mark.parametrize(
    ("frames", "language"), list(itertools.product([None, *F, F(99), "mine"], [None, *S, S(99), "my language"]))
)
def test_every_pair(frames: FrameEncoding | str | None, language: SchemaEncoding | str | None) -> None:
    schema = None if language is None else DataTrackSchema("point", language)
    if (frames, language) in OK:
        check_schema(frames, schema)
        return
    with pytest.raises(PublishError) as refused:
        check_schema(frames, schema)
    assert refused.value.reason is PublishErrorReason.INVALID_SCHEMA
