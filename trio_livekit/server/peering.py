"""One peer connection of one client, as the server sees it: descriptions, candidates, and channels by label."""

from __future__ import annotations

__all__ = ["CHANNELS", "PeerLink", "PeerOwner"]

from typing import TYPE_CHECKING, Protocol

from .._sansio.channels import BufferedAmountLow, ChannelClosed, ChannelOpened, MessageReceived
from .._sansio.peer import Connected, Failed
from .._sansio.sdp import SessionDescription
from .._transport.peer import PeerConnection
from ..errors import DecodeError
from .forwarding import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._sansio.peer import PeerEvent
    from .._transport.peer import PeerConfig

CHANNELS: tuple[tuple[str, bool, int | None], ...] = (
    ("_reliable", True, None),
    ("_lossy", False, 0),
    ("_data_track", False, 0),
)
"""Label, ordered, and retransmissions of the channels that a server opens where it is the one to offer."""

_EARLY_CANDIDATES = 64
"""Candidates kept until there is a description to go with them."""


class PeerOwner(Protocol):
    """Whose peer connection it is."""

    def receiver(self, label: str) -> Callable[[bytes], None]:
        """What is to be done with the messages of a channel."""

    def on_channel_opened(self, link: PeerLink, label: str, channel_id: int) -> None: ...

    def on_channel_closed(self, link: PeerLink, channel_id: int) -> None: ...

    def on_channel_drained(self, link: PeerLink, channel_id: int) -> None: ...

    def on_connected(self, link: PeerLink) -> None: ...

    def on_failed(self, link: PeerLink) -> None: ...


class PeerLink:
    """Drives a ``PeerConnection``, and sorts what comes out of it."""

    def __init__(self, owner: PeerOwner, config: PeerConfig) -> None:
        self.peer = PeerConnection(config, self._on_event)
        self.fingerprints: list[str] = []
        """Of the client's certificate: they tell whether an offer is for this connection or for a new one."""

        self.uplink = Uplink(self.peer.consume)
        self.closed = False
        self._ufrag = ""
        self._answer = ""
        self._owner = owner
        self._receivers: dict[int, Callable[[bytes], None]] = {}
        self._early: list[str] | None = []

    async def gather(self) -> None:
        """Bind its sockets; they are closed again if this does not return."""
        try:
            await self.peer.gather()
        except BaseException:
            self.close()
            raise

    def accept_offer(self, sdp: str) -> str:
        """Take the client's offer and return the answer.

        Further offers of the same connection get the same one, unless they restart ICE. Raises ``DecodeError``.
        """
        description = SessionDescription.parse(sdp)
        if not self._answer:
            self.fingerprints, self._ufrag = description.fingerprints, description.ufrag
            self._answer = self.peer.accept_offer(sdp)
            self._described()
        elif self.closed:
            raise DecodeError("the offer is for a connection that is over")
        elif description.ufrag != self._ufrag:
            self._ufrag, self._answer = description.ufrag, self.peer.accept_restart(sdp)
        return self._answer

    def apply_answer(self, sdp: str) -> None:
        """Take the client's answer, and open the channels; a second answer is ignored. Raises ``DecodeError``."""
        if self._early is None:
            return
        self.peer.apply_answer(sdp)
        self._described()
        for label, ordered, max_retransmits in CHANNELS:
            try:
                channel_id = self.peer.open_channel(label, ordered=ordered, max_retransmits=max_retransmits)
            except ValueError as exc:
                raise DecodeError(f"the client takes no message in which a channel could be opened: {exc}") from exc
            # Clients send on the channels that they opened themselves.
            self._receivers[channel_id] = self._counted(_ignore) if max_retransmits is None else _ignore

    def add_candidate(self, line: str) -> None:
        """A candidate of the client's, which may come before its description."""
        if self._early is None:
            self.peer.add_remote_candidate(line)
        elif len(self._early) < _EARLY_CANDIDATES:
            self._early.append(line)

    def close(self) -> None:
        """End it at once; nothing more comes out of it."""
        self.closed = True
        self.peer.close()

    def _described(self) -> None:
        early, self._early = self._early or [], None
        for line in early:
            self.peer.add_remote_candidate(line)

    def _counted(self, receiver: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """The receiver of a reliable channel: its messages occupy the window until they are dealt with."""
        took = self.uplink.took

        def receive(data: bytes) -> None:
            receiver(data)
            took(len(data))

        return receive

    def _on_event(self, event: PeerEvent) -> None:
        if self.closed:
            return
        if type(event) is MessageReceived:
            receiver = self._receivers.get(event.channel_id)
            if receiver is not None:
                receiver(event.data)
        elif type(event) is ChannelOpened:
            receiver = self._owner.receiver(event.label)
            if event.max_retransmits is None and event.lifetime_ms is None:
                receiver = self._counted(receiver)
            self._receivers.setdefault(event.channel_id, receiver)
            self._owner.on_channel_opened(self, event.label, event.channel_id)
        elif type(event) is ChannelClosed:
            self._receivers.pop(event.channel_id, None)
            self._owner.on_channel_closed(self, event.channel_id)
        elif type(event) is BufferedAmountLow:
            self._owner.on_channel_drained(self, event.channel_id)
        elif type(event) is Connected:
            self._owner.on_connected(self)
        elif type(event) is Failed:
            self.close()
            self._owner.on_failed(self)


def _ignore(data: bytes) -> None:
    pass
