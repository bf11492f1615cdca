"""Access tokens: what is in them, and that nothing else is accepted."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit.errors import AccessTokenError, AccessTokenErrorReason
from trio_livekit.tokens import VideoGrants, access_token, verify_token

KEY, SECRET = "APIkey", "0123456789abcdef0123456789abcdef"
SECRETS = {KEY: SECRET, "devkey": "secret", "empty": ""}
NOW = 1_700_000_000.0

GOOD: dict[str, Any] = {
    "iss": KEY,
    "sub": "robot",
    "nbf": NOW,
    "exp": NOW + 100,
    "video": {"roomJoin": True, "room": "lab"},
}


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: Any, secret: str = SECRET, header: Any = None, digest: str = "sha256") -> str:
    """A token made by hand, so that it can be wrong in any way."""
    text = f"{segment({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{segment(claims)}"
    return f"{text}.{segment(hmac.new(secret.encode(), text.encode(), digest).digest())}"


def reason_of(token: str, now: float = NOW) -> AccessTokenErrorReason:
    with pytest.raises(AccessTokenError) as caught:
        verify_token(token, SECRETS.get, now=now)
    error = caught.value
    assert str(error) == error.reason.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    return error.reason


def test_round_trip() -> None:
    token = access_token(
        KEY,
        SECRET,
        identity="robot",
        room="lab",
        name="Robot",
        ttl_s=50,
        grants=VideoGrants(can_publish=False, can_publish_sources=("camera",), hidden=True),
        metadata="m",
        attributes={"a": "1"},
        kind="agent",
        now=NOW,
    )
    claims = verify_token(token, SECRETS.get, now=NOW)
    assert (claims.api_key, claims.identity, claims.name, claims.kind) == (KEY, "robot", "Robot", "agent")
    assert (claims.metadata, dict(claims.attributes), claims.expires_at) == ("m", {"a": "1"}, NOW + 50)
    assert claims.video == VideoGrants(room="lab", can_publish=False, can_publish_sources=("camera",), hidden=True)


def test_what_is_in_a_token() -> None:
    token = access_token(KEY, SECRET, identity="robot", room="lab", now=NOW)
    decoded = jwt.decode_complete(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert decoded["header"] == {"alg": "HS256", "typ": "JWT"}
    assert decoded["payload"] == {
        "iss": KEY,
        "sub": "robot",
        "nbf": NOW,
        "exp": NOW + 6 * 3600,
        "video": {"roomJoin": True, "room": "lab"},
    }


def test_grants_are_named_as_livekit_names_them() -> None:
    grants = VideoGrants(
        can_subscribe=False,
        can_publish_data=True,
        can_update_own_metadata=True,
        ingress_admin=True,
        destination_room="x",
    )
    token = access_token(KEY, SECRET, identity="robot", room="lab", grants=grants, now=NOW)
    payload = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert payload["video"] == {
        "roomJoin": True,
        "room": "lab",
        "canSubscribe": False,
        "canPublishData": True,
        "canUpdateOwnMetadata": True,
        "ingressAdmin": True,
        "destinationRoom": "x",
    }


def test_the_clock_of_the_system_is_the_default() -> None:
    token = access_token(KEY, SECRET, identity="robot", room="lab")
    assert verify_token(token, SECRETS.get).identity == "robot"


@pytest.mark.parametrize("missing", ["api_key", "api_secret", "identity", "room"])
def test_what_a_token_needs(missing: str) -> None:
    needed = {"api_key": KEY, "api_secret": SECRET, "identity": "robot", "room": "lab"}
    with pytest.raises(ValueError, match="needs"):
        access_token(**(needed | {missing: ""}))


def test_grants_for_another_room() -> None:
    with pytest.raises(ValueError, match="another room"):
        access_token(KEY, SECRET, identity="robot", room="lab", grants=VideoGrants(room="cellar"))


def test_the_short_secret_of_a_development_server_works_without_warning() -> None:
    token = access_token("devkey", "secret", identity="robot", room="lab", now=NOW)
    assert verify_token(token, SECRETS.get, now=NOW).api_key == "devkey"


def test_a_token_made_by_another_library() -> None:
    token = jwt.encode(GOOD, SECRET, algorithm="HS256")
    assert verify_token(token, SECRETS.get, now=NOW).video == VideoGrants(room="lab")


def test_grants_that_are_absent_permit_nothing_by_themselves() -> None:
    video = verify_token(signed({**GOOD, "video": None}), SECRETS.get, now=NOW).video
    assert video.room_join is False
    assert video.can_publish is None


def test_the_identity_may_stand_in_jti() -> None:
    claims = {**GOOD, "sub": "", "jti": "robot"}
    assert verify_token(signed(claims), SECRETS.get, now=NOW).identity == "robot"


@pytest.mark.parametrize(
    ("changes", "now", "reason"),
    [
        ({}, NOW + 159, None),
        ({}, NOW + 161, AccessTokenErrorReason.EXPIRED),
        ({"exp": NOW - 59}, NOW, None),
        ({"exp": NOW - 61}, NOW, AccessTokenErrorReason.EXPIRED),
        ({"nbf": NOW + 59}, NOW, None),
        ({"nbf": NOW + 61}, NOW, AccessTokenErrorReason.NOT_YET_VALID),
        ({"exp": None}, NOW, AccessTokenErrorReason.INVALID_CLAIMS),
        ({"exp": str(NOW)}, NOW, AccessTokenErrorReason.INVALID_CLAIMS),
        ({"exp": True}, NOW, AccessTokenErrorReason.INVALID_CLAIMS),
        ({"exp": float("inf")}, NOW, AccessTokenErrorReason.INVALID_CLAIMS),
        ({"exp": 10**400}, NOW, AccessTokenErrorReason.INVALID_CLAIMS),
        ({"nbf": float("nan")}, NOW, AccessTokenErrorReason.INVALID_CLAIMS),
        ({"nbf": None}, NOW, AccessTokenErrorReason.INVALID_CLAIMS),
    ],
)
def test_times(changes: dict[str, Any], now: float, reason: AccessTokenErrorReason | None) -> None:
    token = signed({**GOOD, **changes})
    if reason is None:
        assert verify_token(token, SECRETS.get, now=now).identity == "robot"
    else:
        assert reason_of(token, now) is reason


def test_no_expiry_at_all() -> None:
    claims = {key: value for key, value in GOOD.items() if key != "exp"}
    assert reason_of(signed(claims)) is AccessTokenErrorReason.INVALID_CLAIMS


def test_nbf_may_be_absent() -> None:
    claims = {key: value for key, value in GOOD.items() if key != "nbf"}
    assert verify_token(signed(claims), SECRETS.get, now=NOW).identity == "robot"


class TestForgeries:
    @pytest.mark.parametrize("algorithm", ["none", "None", "", None, "HS384", "HS512", "RS256", "hs256", ["HS256"]])
    def test_algorithms(self, algorithm: Any) -> None:
        expected = (AccessTokenErrorReason.UNSUPPORTED_ALGORITHM, AccessTokenErrorReason.MALFORMED)
        header = {"alg": algorithm, "typ": "JWT"}
        assert reason_of(signed(GOOD, header=header)) in expected
        assert reason_of(f"{segment(header)}.{segment(GOOD)}.") in expected

    def test_sha_384_under_the_name_of_hs256(self) -> None:
        assert reason_of(signed(GOOD, digest="sha384")) is AccessTokenErrorReason.BAD_SIGNATURE

    def test_no_signature(self) -> None:
        token = signed(GOOD)
        assert reason_of(token.rpartition(".")[0] + ".") is AccessTokenErrorReason.BAD_SIGNATURE
        assert reason_of(token.rpartition(".")[0]) is AccessTokenErrorReason.MALFORMED

    def test_a_public_key_as_the_secret(self) -> None:
        public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        with pytest.raises(AccessTokenError) as caught:
            verify_token(signed(GOOD, secret=pem), {KEY: pem}.get, now=NOW)
        assert caught.value.reason is AccessTokenErrorReason.BAD_SIGNATURE

    @pytest.mark.parametrize("kid", ["../../dev/null", "devkey", "' OR 1=1 --", 5])
    def test_headers_do_not_choose_the_key(self, kid: Any) -> None:
        header = {
            "alg": "HS256",
            "kid": kid,
            "jku": "https://example.org",
            "jwk": {"kty": "oct", "k": segment(b"mine")},
        }
        assert reason_of(signed(GOOD, secret="secret", header=header)) in (
            AccessTokenErrorReason.BAD_SIGNATURE,
            AccessTokenErrorReason.MALFORMED,
        )

    def test_the_secret_of_another_key(self) -> None:
        assert reason_of(signed(GOOD, secret="secret")) is AccessTokenErrorReason.BAD_SIGNATURE

    @pytest.mark.parametrize("issuer", ["nobody", "empty", "", None, 7, ["APIkey"]])
    def test_issuers(self, issuer: Any) -> None:
        secret = SECRETS.get(issuer, "") if isinstance(issuer, str) else ""
        assert reason_of(signed({**GOOD, "iss": issuer}, secret=secret)) is AccessTokenErrorReason.UNKNOWN_KEY

    def test_a_changed_claim(self) -> None:
        head, _, signature = signed(GOOD).split(".")
        forged = f"{head}.{segment({**GOOD, 'sub': 'boss'})}.{signature}"
        assert reason_of(forged) is AccessTokenErrorReason.BAD_SIGNATURE

    def test_a_huge_token(self) -> None:
        assert reason_of(signed({**GOOD, "metadata": "x" * 1_000_000})) is AccessTokenErrorReason.MALFORMED

    @pytest.mark.parametrize("depth", [1000, 40_000])
    def test_a_deep_token(self, depth: int) -> None:
        assert reason_of(signed(b"[" * depth)) is AccessTokenErrorReason.MALFORMED
        assert reason_of(signed(GOOD, header=b"[" * depth)) is AccessTokenErrorReason.MALFORMED


@pytest.mark.parametrize("claims", [[], "text", 5, None, {}, b"\xff\xfe", b"{", {**GOOD, "name": "\ud800"}])
def test_payloads_that_are_no_claims(claims: Any) -> None:
    assert reason_of(signed(claims)) in (AccessTokenErrorReason.MALFORMED, AccessTokenErrorReason.UNKNOWN_KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": 5},
        {"name": []},
        {"attributes": {"a": 1}},
        {"attributes": "a"},
        {"video": []},
        {"video": {"roomJoin": "yes"}},
        {"video": {"room": 5}},
        {"video": {"canPublishSources": "camera"}},
        {"video": {"canPublishSources": [5]}},
    ],
)
def test_claims_of_the_wrong_type(changes: dict[str, Any]) -> None:
    assert reason_of(signed({**GOOD, **changes})) is AccessTokenErrorReason.INVALID_CLAIMS


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda raw: f"{segment(raw)}.{segment(raw)}.{segment(raw)}"))
def test_any_text(token: str) -> None:
    reason_of(token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "jti", "exp", "nbf", "name", "kind", "metadata", "attributes", "video"]), json_values
    )
)
def test_any_claims_with_a_good_signature(claims: dict[str, Any]) -> None:
    try:
        verify_token(signed({"iss": KEY, **claims}), SECRETS.get, now=NOW)
    except AccessTokenError as error:
        assert error.reason in (  # noqa: PT017
            AccessTokenErrorReason.INVALID_CLAIMS,
            AccessTokenErrorReason.EXPIRED,
            AccessTokenErrorReason.NOT_YET_VALID,
        )


def test_nothing_of_a_token_is_in_the_traceback_of_a_refusal() -> None:
    token = signed(GOOD, secret="not the secret")
    with pytest.raises(AccessTokenError) as caught:
        verify_token(token, SECRETS.get, now=NOW)
    assert token not in repr(caught.value)
    assert SECRET not in repr(caught.value) + str(caught.value)
