"""Who may come in: the token, the grants in it, and what a join request asks for, checked before anything is spent.

The statuses and texts are those of livekit-server, except that no part of a token is ever echoed.
"""

from __future__ import annotations

__all__ = ["Doorkeeper", "Visit"]

import json
import re
import time
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._sansio.signal.messages import Capability, ClientInfo, JoinRequest, ParticipantKind, Permission
from .._wire.signal import decode_join_request
from ..errors import AccessTokenError, AccessTokenErrorReason, DecodeError
from ..tokens import VideoGrants, access_token, verify_token
from .http import HttpRefusal
from .participant import Admission
from .requests import attributes_bytes

if TYPE_CHECKING:
    from .._sansio.signal.messages import Offer
    from ..tokens import Claims
    from .http import HttpRequest
    from .limits import Limits
    from .participant import Participant

_BEARER = "Bearer "
_NO_PERMISSION = "no permissions to access the room"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}")

_REFRESHED_TTL_S = 600.0
"""How long a client can reconnect with its last token at least, as on LiveKit servers; it gets one every 5 minutes."""

_MAX_CAPABILITIES = 16
"""How many of a client's capabilities are passed on."""

_ANSWER_AFTER_S = 0.2
"""A livekit-server takes some time to answer an offer. The JavaScript and Go SDKs count on it: an answer that follows
the join response at once finds them without a description of their own, and they never connect."""

_PROMPT_SDKS = (8, 9, 12)
"""Rust, Python and Node (``ClientInfo.SDK``): ours says that it is Python, and the others share the one in Rust."""

_TOKEN_TEXTS = {
    AccessTokenErrorReason.UNKNOWN_KEY: "invalid API key",
    AccessTokenErrorReason.BAD_SIGNATURE: "invalid token, error: token signature is invalid",
    AccessTokenErrorReason.EXPIRED: "invalid token, error: token is expired",
    AccessTokenErrorReason.NOT_YET_VALID: "invalid token, error: token is not valid yet",
}
"""livekit-server 1.13.5 puts the key and the whole token into these."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What somebody who may come in wants."""

    admission: Admission
    reconnect: bool = False
    offer: Offer | None = field(default=None, repr=False)
    answer_after_s: float = 0.0
    """How long to keep the answer to the offer back."""


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Knows the key of the server, and checks the tokens it is shown."""

    api_key: str
    api_secret: str = field(repr=False)
    limits: Limits

    def admit(self, request: HttpRequest) -> Visit:
        """What the request asks for, if it may be had. Raises ``HttpRefusal``."""
        claims = self._claims(request)
        asked = _join_request(request)
        admission = self._admission(claims, asked, two_peers="join_request" not in request.query)
        delay_s = 0.0 if asked.client_info.sdk in _PROMPT_SDKS else _ANSWER_AFTER_S
        return Visit(admission, asked.reconnect, asked.publisher_offer, delay_s)

    def _claims(self, request: HttpRequest) -> Claims:
        header = request.headers.get("authorization")
        if header is None:
            token = request.query.get("access_token", "")
        elif header.startswith(_BEARER):
            token = header.removeprefix(_BEARER)
        else:
            raise HttpRefusal(401, "invalid authorization header. Must start with Bearer ")
        if not token:
            raise HttpRefusal(401, _NO_PERMISSION)
        try:
            return verify_token(token, {self.api_key: self.api_secret}.get)
        except AccessTokenError as exc:
            raise HttpRefusal(401, _TOKEN_TEXTS.get(exc.reason, "invalid authorization token")) from None

    def _admission(self, claims: Claims, asked: JoinRequest, *, two_peers: bool) -> Admission:
        if not claims.video.room_join:
            raise HttpRefusal(401, "permissions denied")
        self._check_name("identity", claims.identity, "identity cannot be empty")
        self._check_name("room name", claims.video.room, "no room name")
        permission = _permission(claims.video)
        if (asked.metadata or asked.attributes) and not permission.can_update_metadata:
            raise HttpRefusal(401, _NO_PERMISSION)
        admission = Admission(
            room=claims.video.room,
            identity=claims.identity,
            name=claims.name,
            metadata=asked.metadata or claims.metadata,
            attributes={**claims.attributes, **asked.attributes},
            kind=ParticipantKind.__members__.get(claims.kind.upper(), ParticipantKind.STANDARD),
            permission=permission,
            token_expires_at=claims.expires_at,
            client_protocol=asked.client_info.client_protocol,
            capabilities=asked.client_info.capabilities[:_MAX_CAPABILITIES],
            auto_subscribe_data_tracks=asked.auto_subscribe_data_track,
            two_peers=two_peers,
        )
        self._check_sizes(admission)
        return admission

    def _check_name(self, what: str, name: str, if_empty: str) -> None:
        if not name:
            raise HttpRefusal(400, if_empty)
        if len(name.encode()) > self.limits.name_bytes:
            raise HttpRefusal(400, f"{what} length exceeds limits: max length {self.limits.name_bytes}")

    def _check_sizes(self, admission: Admission) -> None:
        limits = self.limits
        if (
            len(admission.name.encode()) > limits.name_bytes
            or len(admission.metadata.encode()) > limits.metadata_bytes
            or attributes_bytes(admission.attributes) > limits.attributes_bytes
        ):
            raise HttpRefusal(500, "connection closed by media")

    def refreshed_token(self, room: str, participant: Participant) -> str:
        """A token that says what ``participant`` is and may do by now, for it to reconnect with."""
        permission = participant.permission
        grants = VideoGrants(
            can_publish=permission.can_publish,
            can_subscribe=permission.can_subscribe,
            can_publish_data=permission.can_publish_data,
            can_update_own_metadata=permission.can_update_metadata,
            hidden=permission.hidden,
        )
        return access_token(
            self.api_key,
            self.api_secret,
            identity=participant.identity,
            room=room,
            name=participant.name,
            ttl_s=max(_REFRESHED_TTL_S, participant.token_expires_at - time.time()),
            grants=grants,
            metadata=participant.metadata,
            attributes=participant.attributes,
            kind=participant.kind.name.lower(),
        )


def _permission(grants: VideoGrants) -> Permission:
    """What the grants amount to: publishing and subscribing unless denied, the rest if granted."""
    can_publish = grants.can_publish is not False
    return Permission(
        can_subscribe=grants.can_subscribe is not False,
        can_publish=can_publish,
        can_publish_data=can_publish if grants.can_publish_data is None else grants.can_publish_data,
        can_update_metadata=bool(grants.can_update_own_metadata),
        hidden=bool(grants.hidden),
    )


def _join_request(request: HttpRequest) -> JoinRequest:
    """What the client asks for: in one block (v1), or as query parameters (v0). Raises ``HttpRefusal``."""
    block = request.query.get("join_request")
    if block is None:
        if request.path.startswith("/rtc/v1"):
            raise HttpRefusal(400, "join_request is required")
        return _query_join_request(request.query)
    try:
        if _BASE64URL.fullmatch(block):
            return decode_join_request(block)
    except DecodeError:
        pass
    raise HttpRefusal(400, "cannot base64 decode wrapped join request")


def _query_join_request(query: dict[str, str]) -> JoinRequest:
    return JoinRequest(
        ClientInfo(
            version=query.get("version", ""),
            protocol=_number(query.get("protocol", "")),
            client_protocol=_number(query.get("client_protocol", "")),
            capabilities=_capabilities(query.get("capabilities", "")),
        ),
        auto_subscribe=_flag(query.get("auto_subscribe", "1")),
        auto_subscribe_data_track=_flag(query.get("auto_subscribe_data_track", "0")),
        reconnect=_flag(query.get("reconnect", "0")),
        participant_sid=query.get("sid", ""),
        attributes=_attributes(query.get("attributes", "")),
    )


def _flag(text: str) -> bool:
    return text.lower() in ("1", "true")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _capabilities(names: str) -> tuple[int, ...]:
    """The ``capabilities`` parameter: names of the enumeration, separated by commas; unknown ones are left out."""
    known = {f"CAP_{capability.name}": capability.value for capability in Capability}
    return tuple(dict.fromkeys(known[name] for name in names.split(",") if name in known))


def _attributes(text: str) -> dict[str, str]:
    """The ``attributes`` parameter: URL-safe base64 of a JSON object of strings. Raises ``HttpRefusal``."""
    if not text:
        return {}
    try:
        attributes = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        attributes = None
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise HttpRefusal(400, "cannot decode attributes")
    return attributes
