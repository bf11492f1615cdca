"""``DataPacket``, the envelope of everything on the ``_reliable`` and ``_lossy`` channels, as a server handles it."""

from __future__ import annotations

__all__ = ["StampedPacket", "encode_user_packet", "stamp_packet", "wrap_raw"]

from typing import TYPE_CHECKING, NamedTuple, cast

from google.protobuf.message import DecodeError as ProtobufDecodeError

from .._sansio.signal.messages import ParticipantKind
from ..errors import DecodeError
from .generated import models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_RELIABLE = 0  # DataPacket.Kind
_LOSSY = 1


class StampedPacket(NamedTuple):
    """A packet that says truly who sent it, and whom it is for (everyone, if nobody is named)."""

    data: bytes
    kind: str
    """The name of the ``value`` member: ``user``, ``rpc_request``, ``stream_chunk``, ...; empty if there is none."""

    sequence: int
    destination_identities: tuple[str, ...]
    destination_sids: tuple[str, ...]
    nonce: bytes
    """What a user packet calls itself; the same again is a repeat."""

    def forwardable(self, sender: ParticipantKind) -> bool:
        """Whether a sender of this kind may have it passed on: transcriptions come from agents alone."""
        return self.kind != "metrics" and (self.kind != "transcription" or sender is ParticipantKind.AGENT)


def stamp_packet(data: bytes, *, identity: str, sid: str, reliable: bool) -> StampedPacket:
    """The packet with the true sender written into it, whatever it claimed. Raises ``DecodeError``."""
    try:
        pb = models.DataPacket.FromString(data)
    except ProtobufDecodeError as exc:
        raise DecodeError("not a DataPacket") from exc
    pb.participant_identity = identity
    pb.participant_sid = sid
    pb.kind = cast("Any", _RELIABLE if reliable else _LOSSY)
    kind = pb.WhichOneof("value") or ""
    identities, sids, nonce = tuple(pb.destination_identities), (), b""
    if kind == "user":
        identities, sids = _stamp_user(pb.user, identities, identity, sid)
        nonce = pb.user.nonce
    return StampedPacket(pb.SerializeToString(), kind, pb.sequence, identities, sids, nonce)


def _stamp_user(user: Any, identities: tuple[str, ...], identity: str, sid: str) -> tuple[Any, Any]:
    """The same for the copies that a user packet carries for old clients, which may also name the destinations."""
    user.participant_identity = identity
    user.participant_sid = sid
    identities = identities or tuple(user.destination_identities)
    return identities, () if identities else tuple(user.destination_sids)


def wrap_raw(payload: bytes, *, identity: str) -> bytes:
    """What arrived on a channel without a meaning of its own, as a reliable user packet."""
    return models.DataPacket(participant_identity=identity, user=models.UserPacket(payload=payload)).SerializeToString()


def encode_user_packet(
    payload: bytes, *, topic: str = "", destination_identities: Sequence[str] = (), reliable: bool = True
) -> bytes:
    """A user packet of no participant's, such as a server sends."""
    user = models.UserPacket(payload=payload, topic=topic or None)
    return models.DataPacket(
        kind=cast("Any", _RELIABLE if reliable else _LOSSY), user=user, destination_identities=destination_identities
    ).SerializeToString()
