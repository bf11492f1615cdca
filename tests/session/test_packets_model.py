"""A sender, a receiver, and a server in between that forgets: whatever happens, every packet arrives once, in order.

The channel to the server is a list. The server takes from its front what it has received, keeps the rules of a LiveKit
server for repeats, and passes on. Acknowledgements come later than that, or never, and sessions are lost in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_livekit._sansio.packets import messages as p
from trio_livekit._sansio.signal.messages import ParticipantInfo
from trio_livekit._session.labels import RELIABLE
from trio_livekit._session.packets import Packets
from trio_livekit._wire.data import decode_packet, encode_packet

if TYPE_CHECKING:
    from trio_livekit._session.receipts import Receipt

NONCES = 5  # that the server remembers; few, so that its memory is not what saves us
BEN = ParticipantInfo("PA_ben", "ben")


class Channel:
    """To the server: messages that it has not received, and bytes that it has not acknowledged."""

    def __init__(self) -> None:
        self.under_way: list[bytes] = []
        self.unacknowledged: list[int] = []  # sizes, of these and of those received
        self.is_full = False

    def send(self, label: str, messages: list[bytes], _now: float) -> None:
        assert label == RELIABLE
        self.under_way += messages
        self.unacknowledged += map(len, messages)

    def acknowledge(self, count: int) -> None:
        """Some of what was received."""
        received = len(self.unacknowledged) - len(self.under_way)
        del self.unacknowledged[: min(count, received)]

    def buffered_amount(self, _label: str) -> int:
        return sum(self.unacknowledged)

    def expired_count(self, _label: str) -> int:
        return 0

    def unsent_amount(self, _label: str) -> int:
        return 1_000_000 if self.is_full else 0

    def watch_progress(self, label: str, watch: bool) -> None:
        pass

    def consume(self, size: int) -> None:
        pass


@dataclass
class Session:
    sid: str
    channel: Channel
    last_sequence: int = 0


class World:
    def __init__(self) -> None:
        self.session = Session("PA_ann_0", Channel())
        self.sender = Packets(self.session.channel, lambda _: None, lambda _: None)  # type: ignore[arg-type]
        self.sender.on_participant(BEN, is_new=False)
        self.receiver = Packets(Channel(), lambda _: None, lambda _: None)  # type: ignore[arg-type]
        self.receiver.incoming.route((p.UserPacket,), self._arrive)
        self.sessions = 1
        self.nonces: list[bytes] = []
        self.sent: list[bytes] = []
        self.receipts: list[Receipt] = []
        self.arrived: list[bytes] = []
        self.passed_on: set[bytes] = set()

    def _arrive(self, packet: p.DataPacket, _size: int) -> bool:
        assert isinstance(packet.value, p.UserPacket)
        self.arrived.append(packet.value.payload)
        return True

    def send(self, count: int) -> None:
        for _ in range(count):
            payload = len(self.sent).to_bytes(2, "big")
            value = p.UserPacket(payload, "", payload.rjust(16))
            self.receipts.append(self.sender.send_reliable_nowait(value, on_full_reconnect="resend"))
            self.sent.append(payload)

    def receive(self, count: int) -> None:
        """What the server does with messages."""
        for message in self.session.channel.under_way[:count]:
            del self.session.channel.under_way[0]
            packet = decode_packet(message)
            assert packet is not None
            assert isinstance(packet.value, p.UserPacket)
            assert packet.sequence > self.session.last_sequence  # numbers never go back
            self.session.last_sequence = packet.sequence
            if packet.value.nonce in self.nonces:
                continue
            self.nonces = [*self.nonces, packet.value.nonce][-NONCES:]
            stamped = replace(packet, participant_identity="ann", participant_sid=self.session.sid)
            self.passed_on.add(packet.value.payload)
            self.receiver.incoming.on_message(RELIABLE, encode_packet(stamped))

    def acknowledge(self, count: int) -> None:
        self.session.channel.acknowledge(count)
        self.sender.on_progress()

    def fill(self, _count: int) -> None:
        """The network takes no more."""
        self.session.channel.is_full = True

    def drain(self, _count: int) -> None:
        """It does again."""
        self.session.channel.is_full = False
        self.sender.on_progress()

    def resume(self, _count: int) -> None:
        self.sender.on_resumed(self.session.last_sequence)

    def lose(self, _count: int) -> None:
        """What is under way is gone, and its acknowledgements are."""
        self.sender.on_links_lost()
        self.sender.on_session_lost()

    def join(self, _count: int) -> None:
        """A session, unless there is one."""
        if self.sender._links is None:
            self.session = Session(f"PA_ann_{self.sessions}", Channel())
            self.sessions += 1
            self.sender.on_session_replaced(self.session.channel)  # type: ignore[arg-type]
            self.sender.on_connected(self.session.channel)  # type: ignore[arg-type]

    def nothing_is_claimed(self) -> None:
        """What is acknowledged has been passed on, and what has been passed on came in order and once."""
        for payload, receipt in zip(self.sent, self.receipts, strict=True):
            assert not receipt.is_acked or payload in self.passed_on
        assert self.arrived == self.sent[: len(self.arrived)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "receive", "acknowledge", "fill", "drain", "resume", "lose", "join"]),
        st.integers(1, 8),
    ),
    max_size=40,
)


async def play(steps: list[tuple[str, int]]) -> None:
    world = World()
    for name, count in steps:
        getattr(world, name)(count)
        world.nothing_is_claimed()
    world.join(0)
    world.drain(0)
    for _ in range(3):
        world.receive(1000)
        world.acknowledge(1000)
    assert world.arrived == world.sent
    assert all(receipt.is_acked for receipt in world.receipts)
    assert world.sender.statistics().reliable_waiting == 0
    await trio.lowlevel.checkpoint()


@given(STEPS)
@settings(max_examples=200)
def test_every_packet_arrives_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    trio.run(play, steps)
