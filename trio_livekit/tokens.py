"""Access tokens: who somebody is, which room they may join, and what they may do there.

A token is a JSON Web Token (RFC 7519) signed with HMAC-SHA-256 (HS256), the only algorithm that LiveKit accepts.
``access_token`` belongs where the API secret is: in your backend, never in a program you hand out.
"""

from __future__ import annotations

__all__ = ["LEEWAY_S", "MAX_TOKEN_CHARACTERS", "Claims", "VideoGrants", "access_token", "verify_token"]

import json
import math
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import jwt
from jwt.algorithms import HMACAlgorithm

from .errors import AccessTokenError, AccessTokenErrorReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LEEWAY_S = 60.0
"""How far the clocks of issuer and server may differ: livekit-server's figure."""

MAX_TOKEN_CHARACTERS = 64 * 1024
"""More than fits in the headers of a request, and far more than a token needs."""

_DEFAULT_TTL_S = 6 * 3600.0
_ALGORITHM = "HS256"
_FAR_FUTURE = 1e15


class _Hmac(HMACAlgorithm):
    """HMAC without the warning about short keys: the development key of livekit-server has the secret ``secret``."""

    def check_key_length(self, key: bytes) -> None:
        return None


def _signatures() -> jwt.PyJWS:
    jws = jwt.PyJWS(algorithms=[])
    jws.register_algorithm(_ALGORITHM, _Hmac(HMACAlgorithm.SHA256))
    return jws


_jws = _signatures()


@dataclass(frozen=True, slots=True)
class VideoGrants:
    """What the bearer of a token may do, in LiveKit's words; ``None`` leaves it to the server's default.

    ``can_publish`` and ``can_subscribe`` default to true there, and ``can_publish_data`` to what ``can_publish`` is.
    """

    room_join: bool = True
    room: str = ""
    can_publish: bool | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: tuple[str, ...] | None = None
    can_update_own_metadata: bool | None = None
    can_subscribe_metrics: bool | None = None
    can_manage_agent_session: bool | None = None
    hidden: bool | None = None
    recorder: bool | None = None
    agent: bool | None = None
    room_create: bool | None = None
    room_list: bool | None = None
    room_admin: bool | None = None
    room_record: bool | None = None
    ingress_admin: bool | None = None
    destination_room: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. ``expires_at`` is in seconds since 1970."""

    api_key: str
    identity: str
    expires_at: float
    name: str = ""
    kind: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    video: VideoGrants = VideoGrants(room_join=False)


def access_token(
    api_key: str,
    api_secret: str,
    *,
    identity: str,
    room: str,
    name: str | None = None,
    ttl_s: float = _DEFAULT_TTL_S,
    grants: VideoGrants | None = None,
    metadata: str | None = None,
    attributes: Mapping[str, str] | None = None,
    kind: str | None = None,
    now: float | None = None,
) -> str:
    """A token that lets ``identity`` join ``room`` for the next ``ttl_s`` seconds.

    Args:
        api_key: the key, which names the secret and is in the token.
        api_secret: the secret, which is not.
        identity: who it is for; one identity can be in a room only once.
        room: the room's name. It is made when the first one joins.
        name: what others are shown; free of rules.
        ttl_s: how long it can be used to join. Who has joined may stay.
        grants: what it permits; by default to join, publish and subscribe. ``grants.room`` need not be filled in.
        metadata: text that others in the room can read.
        attributes: the same as keys and values.
        kind: ``"agent"`` and the like; leave it out for ordinary participants.
        now: seconds since 1970, for tests; by default the system's clock.

    Raises:
        ValueError: something that a token needs is empty, or ``grants`` are for another room.
    """
    needed = {"api_key": api_key, "api_secret": api_secret, "identity": identity, "room": room}
    empty = [name for name, value in needed.items() if not value]
    if empty:
        text = f"an access token needs an API key, an API secret, an identity and a room: {', '.join(empty)} is empty"
        raise ValueError(text)
    if grants is None:
        grants = VideoGrants()
    if grants.room not in ("", room):
        raise ValueError("the grants are for another room")
    issued_at = int(time.time() if now is None else now)
    claims: dict[str, Any] = {
        "iss": api_key,
        "sub": identity,
        "nbf": issued_at,
        "exp": issued_at + math.ceil(ttl_s),
        "video": {**_to_json(grants), "room": room},
    }
    optional = {"name": name, "kind": kind, "metadata": metadata, "attributes": dict(attributes or {})}
    claims |= {key: value for key, value in optional.items() if value}
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return _jws.encode(payload, api_secret, algorithm=_ALGORITHM, headers={"typ": "JWT"})


def verify_token(token: str, secret_of: Callable[[str], str | None], *, now: float | None = None) -> Claims:
    """What ``token`` says, if it is genuine and in time.

    Args:
        token: what was presented.
        secret_of: the secret of an API key, or ``None`` if there is no such key; a dictionary's ``get`` will do.
        now: seconds since 1970, for tests; by default the system's clock.

    Raises:
        AccessTokenError: it is not. The error holds nothing of the token.
    """
    claims = _verified_claims(token, secret_of)
    _check_times(claims, time.time() if now is None else now)
    attributes = _claim(claims, "attributes", dict, {})
    if not all(isinstance(value, str) for value in attributes.values()):
        raise AccessTokenError(AccessTokenErrorReason.INVALID_CLAIMS)
    return Claims(
        api_key=claims["iss"],
        identity=_claim(claims, "sub", str, "") or _claim(claims, "jti", str, ""),
        expires_at=claims["exp"],
        name=_claim(claims, "name", str, ""),
        kind=_claim(claims, "kind", str, ""),
        metadata=_claim(claims, "metadata", str, ""),
        attributes=attributes,
        video=_from_json(_claim(claims, "video", dict, {})),
    )


def _verified_claims(token: str, secret_of: Callable[[str], str | None]) -> dict[str, Any]:
    """The claims, once the signature holds. The key is chosen by ``iss``; what headers say of keys is ignored."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise AccessTokenError(AccessTokenErrorReason.MALFORMED)
    try:
        unverified = _jws.decode_complete(token, options={"verify_signature": False})
        if unverified["header"].get("alg") != _ALGORITHM:
            raise AccessTokenError(AccessTokenErrorReason.UNSUPPORTED_ALGORITHM)
        claims = json.loads(unverified["payload"])
        json.dumps(claims, ensure_ascii=False).encode()  # JSON can spell half a character, which is no text
        issuer = claims["iss"] if isinstance(claims, dict) else None
    except (jwt.PyJWTError, ValueError, KeyError, RecursionError):
        raise AccessTokenError(AccessTokenErrorReason.MALFORMED) from None
    secret = secret_of(issuer) if isinstance(issuer, str) else None
    if not secret:
        raise AccessTokenError(AccessTokenErrorReason.UNKNOWN_KEY)
    try:
        _jws.decode_complete(token, secret, algorithms=[_ALGORITHM])
    except jwt.PyJWTError:
        raise AccessTokenError(AccessTokenErrorReason.BAD_SIGNATURE) from None
    verified: dict[str, Any] = claims
    return verified


def _check_times(claims: dict[str, Any], now: float) -> None:
    if _instant(claims.get("exp")) + LEEWAY_S < now:
        raise AccessTokenError(AccessTokenErrorReason.EXPIRED)
    if _instant(claims.get("nbf", 0)) - LEEWAY_S > now:
        raise AccessTokenError(AccessTokenErrorReason.NOT_YET_VALID)


def _instant(value: object) -> float:
    """Seconds since 1970. JSON also has truth values, numbers of any size, and, as Python reads it, infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _FAR_FUTURE:
        raise AccessTokenError(AccessTokenErrorReason.INVALID_CLAIMS)
    return value


def _claim(claims: dict[str, Any], name: str, kind: type, default: Any) -> Any:  # noqa: ANN401 (JSON)
    """A claim of the right type; absent and null are the default."""
    value = claims.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise AccessTokenError(AccessTokenErrorReason.INVALID_CLAIMS)
    return value


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


_NAMES = {grant.name: _camel_case(grant.name) for grant in fields(VideoGrants)}
_TEXT = ("room", "destination_room")


def _to_json(grants: VideoGrants) -> dict[str, Any]:
    values = {_NAMES[name]: getattr(grants, name) for name in _NAMES}
    return {name: value for name, value in values.items() if value is not None}


def _from_json(video: dict[str, Any]) -> VideoGrants:
    values: dict[str, Any] = {"room_join": False}
    for name, key in _NAMES.items():
        if name == "can_publish_sources":
            sources = _claim(video, key, list, None)
            value = None if sources is None else tuple(sources)
        else:
            value = _claim(video, key, str if name in _TEXT else bool, None)
        if value is not None:
            values[name] = value
    if not all(isinstance(source, str) for source in values.get("can_publish_sources", ())):
        raise AccessTokenError(AccessTokenErrorReason.INVALID_CLAIMS)
    return VideoGrants(**values)
