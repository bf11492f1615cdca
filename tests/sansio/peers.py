"""Two whole stacks, ICE to data channels, joined by a scripted link in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_livekit._sansio.channels import ChannelOpened, MessageReceived
from trio_livekit._sansio.dtls import Fingerprint, Role
from trio_livekit._sansio.ice.candidate import Candidate
from trio_livekit._sansio.peer import Connected, Peer, RemoteDescription
from trio_livekit._transport.certificate import generate_certificate
from trio_livekit.testing.pair import LinkModel, Pair, seeded_random_bytes

if TYPE_CHECKING:
    from trio_livekit._sansio.sctp import Config as SctpConfig
    from trio_livekit._sansio.types import Address

A: Address = ("198.51.100.1", 5001)
B: Address = ("198.51.100.2", 5002)
STRANGER: Address = ("203.0.113.66", 666)

CERTIFICATES = (generate_certificate(), generate_certificate())


class End:
    """A ``Peer`` with one socket, as a core with the common surface."""

    def __init__(
        self, local: Address, remote: Address, *, controlling: bool, seed: int, sctp: SctpConfig | None = None
    ) -> None:
        self.local, self.remote = local, remote
        certificate = CERTIFICATES[not controlling]
        self.peer = Peer(
            controlling=controlling, certificate=certificate, random_bytes=seeded_random_bytes(seed), sctp_config=sctp
        )
        self.fingerprint = certificate.fingerprint()
        self.peer.ice.add_local_candidate(Candidate.local_host(local), 0.0)
        self.elsewhere: list[tuple[Address, bytes]] = []
        """What the peer wanted to send to anybody but the other end."""

    def start(self, other: End, role: Role, now: float, *, fingerprint: Fingerprint | None = None) -> None:
        """Learn the other side's description."""
        ice = other.peer.ice
        fingerprints = (fingerprint or other.fingerprint,)
        self.peer.start(role, RemoteDescription(ice.ufrag, ice.password, fingerprints), now)
        self.peer.ice.add_remote_candidate(Candidate.local_host(other.local), now)
        self.peer.ice.end_of_candidates(now)

    def move_remote(self) -> None:
        """From now on the other end is seen at another port, and what is sent to the old one goes nowhere."""
        self.remote = (self.remote[0], self.remote[1] + 1)

    def receive_datagram(self, data: bytes, now: float) -> None:
        self.peer.receive_datagrams([(data, self.remote)], self.local, "udp", now)

    def receive_from(self, source: Address, data: bytes, now: float) -> None:
        self.peer.receive_datagrams([(data, source)], self.local, "udp", now)

    def handle_timeout(self, now: float) -> None:
        self.peer.handle_timeout(now)

    def datagrams_to_send(self, now: float) -> list[bytes]:
        ours: list[bytes] = []
        for path, datagrams in self.peer.datagrams_to_send(now):
            assert path.local == self.local
            if path.remote == self.remote:
                ours += datagrams
            else:
                self.elsewhere += [(path.remote, data) for data in datagrams]
        return ours

    def next_timeout(self) -> float | None:
        return self.peer.next_timeout()

    def poll_events(self) -> list[Any]:
        return self.peer.poll_events()


def make_pair(
    link: LinkModel | None = None, *, back: LinkModel | None = None, seed: int = 1, start: bool = True,
    client: str = "b", sctp: SctpConfig | None = None,
) -> Pair[End, End]:  # fmt: skip
    """``a`` offers and controls; ``client`` opens the DTLS handshake."""
    a = End(A, B, controlling=True, seed=2 * seed, sctp=sctp)
    b = End(B, A, controlling=False, seed=2 * seed + 1, sctp=sctp)
    pair = Pair(a, b, link=link, back=back, seed=seed)
    if start:
        b.start(a, Role.CLIENT if client == "b" else Role.SERVER, pair.now)
        a.start(b, Role.SERVER if client == "b" else Role.CLIENT, pair.now)
    return pair


def connected(pair: Pair[End, End]) -> bool:
    return Connected() in pair.a_events and Connected() in pair.b_events


def connect(pair: Pair[End, End], timeout_s: float = 60.0) -> Pair[End, End]:
    """Run until both ends are up."""
    pair.run_until(lambda: connected(pair), timeout_s)
    return pair


def open_channel(pair: Pair[End, End], label: str = "data", **options: Any) -> int:
    """Open a channel from ``a``, and run until both ends have it open."""
    channel_id = pair.a.peer.open_channel(label, now=pair.now, **options)
    pair.run_until(lambda: {channel_id} <= opened(pair.a_events) & opened(pair.b_events))
    return channel_id


def opened(events: list[Any]) -> set[int]:
    return {event.channel_id for event in events if isinstance(event, ChannelOpened)}


def messages(events: list[Any], channel_id: int | None = None) -> list[bytes]:
    """What arrived, in order."""
    received = [event for event in events if isinstance(event, MessageReceived)]
    return [event.data for event in received if channel_id in (None, event.channel_id)]


def kinds(events: list[Any]) -> list[type]:
    """The classes of what happened, without the messages."""
    return [type(event) for event in events if not isinstance(event, MessageReceived)]
