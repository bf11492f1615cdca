"""What a peer connection is to be like."""

from __future__ import annotations

__all__ = ["PeerConfig"]

from typing import TYPE_CHECKING

from .._sansio.records import dataclass
from .._sansio.sdp import Setup
from .datagrams import UdpEndpoint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from .._sansio.dtls import LocalCertificate
    from .._sansio.sctp import Config as SctpConfig
    from .._sansio.signal.messages import IceServer
    from .datagrams import DatagramEndpoint


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Settings of one peer connection; the defaults suit a client of a LiveKit server."""

    controlling: bool = True
    """The ICE role: whoever offers controls."""
    answer_setup: Setup = Setup.PASSIVE
    """The DTLS role when answering an ``actpass`` offer. Passive saves the round trip of a cookie exchange."""
    include_loopback: bool = False
    """Also gather loopback addresses: for a server on this machine."""
    hosts: tuple[str, ...] | None = None
    """Gather exactly these local IP addresses instead of asking the system."""
    udp: bool = True
    """False: connect over TCP, or through a relay, only."""
    bind: Callable[[str], DatagramEndpoint] = UdpEndpoint.bind
    """Makes the socket for a local address; a test may have a network of its own."""
    ice_servers: tuple[IceServer, ...] = ()
    """STUN servers are asked while gathering; TURN servers when nothing else has worked for half a second. A LiveKit
    server needs no STUN, for it learns our address from our checks."""
    relay_only: bool = False
    """Use TURN servers and nothing else."""
    ssl_context: ssl.SSLContext | None = None
    """For TURN over TLS; by default the system's certificates, and the name in the server's URL."""
    certificate: LocalCertificate | None = None
    sctp: SctpConfig | None = None
    name: str = "peer connection"
    """What tasks and log lines call this connection."""
