"""The two signalling paths, and the query parameters with which a client begins or resumes a session on them."""

from __future__ import annotations

__all__ = [
    "LEGACY_PATH",
    "PATH",
    "Profile",
    "join_parameters",
    "legacy_join_parameters",
    "legacy_resume_parameters",
    "resume_parameters",
]

import platform
from dataclasses import field
from typing import TYPE_CHECKING

from .._sansio.records import dataclass
from .._sansio.signal.messages import Capability, ClientInfo, JoinRequest
from .._version import __version__
from .._wire.signal import encode_join_request

if TYPE_CHECKING:
    from .._sansio.signal.messages import Offer

PATH = "/rtc/v1"
"""One peer connection for both directions, and the offer in the request."""

LEGACY_PATH = "/rtc"
"""Two peer connections; servers that do not know the other."""

_CLIENT_INFO = ClientInfo(
    sdk=9,  # PYTHON: servers negotiate SCTP without checksums with SDKs they know
    version=__version__,
    protocol=17,
    client_protocol=2,
    os=platform.system().lower(),
    capabilities=(Capability.COMPRESSION_DEFLATE_RAW,),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a client wants to be known by from the start, over what its token says; empty means that it does not."""

    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


def join_parameters(offer: Offer, profile: Profile, *, auto_subscribe: bool) -> dict[str, str]:
    """The query of ``PATH`` that begins a session."""
    request = JoinRequest(
        _CLIENT_INFO,
        auto_subscribe=auto_subscribe,
        publisher_offer=offer,
        metadata=profile.metadata,
        attributes=profile.attributes,
    )
    return {"join_request": encode_join_request(request)}


def resume_parameters(participant_sid: str, *, auto_subscribe: bool) -> dict[str, str]:
    """The query of ``PATH`` that goes on with a session."""
    request = JoinRequest(_CLIENT_INFO, auto_subscribe=auto_subscribe, reconnect=True, participant_sid=participant_sid)
    return {"join_request": encode_join_request(request)}


def legacy_join_parameters(*, auto_subscribe: bool) -> dict[str, str]:
    """The query of ``LEGACY_PATH`` that begins a session."""
    return {
        "auto_subscribe": str(int(auto_subscribe)),
        "protocol": str(_CLIENT_INFO.protocol),
        "client_protocol": str(_CLIENT_INFO.client_protocol),
        "sdk": "python",
        "version": _CLIENT_INFO.version,
        "os": _CLIENT_INFO.os,
        "capabilities": ",".join(f"CAP_{Capability(number).name}" for number in _CLIENT_INFO.capabilities),
    }


def legacy_resume_parameters(participant_sid: str, *, auto_subscribe: bool) -> dict[str, str]:
    """The query of ``LEGACY_PATH`` that goes on with a session."""
    return legacy_join_parameters(auto_subscribe=auto_subscribe) | {"reconnect": "1", "sid": participant_sid}
