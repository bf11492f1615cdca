"""Data packets on links that remember: order, back-pressure, numbers, repeats and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.session.fakes import PacketLinks
from trio_livekit._sansio.packets import messages as p
from trio_livekit._sansio.packets.high_water import MIN_BYTES
from trio_livekit._sansio.signal.messages import ParticipantInfo, Permission
from trio_livekit._session import incoming_packets
from trio_livekit._session import packets as module
from trio_livekit._session.labels import LOSSY, RELIABLE
from trio_livekit._session.packet_events import ContinuityLost
from trio_livekit._session.packets import Packets
from trio_livekit._session.sealing import Verdict
from trio_livekit._wire.data import decode_packet, encode_packet
from trio_livekit.errors import (
    DeliveryError,
    DeliveryErrorReason,
    LiveKitError,
    PayloadTooLarge,
    PublishDataError,
    PublishDataErrorReason,
    TransportError,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_livekit._session.receipts import Receipt


class Bench:
    """Packets, with the session and the server played by the test."""

    def __init__(self) -> None:
        self.links = PacketLinks()
        self.announced: list[ContinuityLost] = []
        self.got: list[p.DataPacket] = []
        self.packets = Packets(self.links, lambda _: None, self.announced.append)  # type: ignore[arg-type]
        self.packets.incoming.route((p.UserPacket, p.RpcAck, p.StreamChunk), self.take)

    def take(self, packet: p.DataPacket, _size: int) -> bool:
        self.got.append(packet)
        return True

    def acknowledge(self) -> None:
        """The server has everything."""
        self.links.buffered.clear()
        self.links.unsent.clear()
        self.packets.on_progress()

    def deliver(self, value: p.Value, *, sequence: int = 0, lossy: bool = False, sid: str = "PA_ann") -> int:
        """A message of ann's arrives; returns its size."""
        data = encode_packet(p.DataPacket(value, "ann", sid, (), sequence))
        self.packets.incoming.on_message(LOSSY if lossy else RELIABLE, data)
        return len(data)

    def sent(self, label: str = RELIABLE) -> list[p.DataPacket]:
        packets = [decode_packet(data) for data in self.links.sent[label]]
        return [packet for packet in packets if packet is not None]

    def payloads(self, label: str = RELIABLE) -> list[bytes]:
        return [packet.value.payload for packet in self.sent(label) if isinstance(packet.value, p.UserPacket)]

    def restart(self, *present: ParticipantInfo) -> None:
        """The session is lost and replaced by another."""
        self.packets.on_session_lost()
        self.links = PacketLinks()
        self.packets.on_session_replaced(self.links)  # type: ignore[arg-type]
        for info in list(self.packets._present):
            if info not in {other.identity for other in present}:
                self.packets.on_participant_left(ParticipantInfo(self.packets._present[info], info))
        for info in present:
            self.packets.on_participant(info, is_new=True)
        self.packets.on_connected(self.links)  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def user(payload: bytes | str, nonce: bytes = b"") -> p.UserPacket:
    return p.UserPacket(payload.encode() if isinstance(payload, str) else payload, "topic", nonce)


ANN = ParticipantInfo("PA_ann", "ann")
BEN = ParticipantInfo("PA_ben", "ben")


# --- sending ----------------------------------------------------------------------------------------------------------


async def test_reliable_packets_are_numbered_from_one(bench: Bench) -> None:
    for number in range(300):
        await bench.packets.send_reliable(p.RpcAck(str(number)))
    assert [packet.sequence for packet in bench.sent()] == list(range(1, 301))
    assert [packet.value for packet in bench.sent()] == [p.RpcAck(str(number)) for number in range(300)]


async def test_a_receipt_is_settled_by_the_acknowledgement(bench: Bench) -> None:
    receipt = await bench.packets.send_reliable(user("x"), ["ann"])
    assert not receipt.is_acked
    assert bench.links.watching
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receipt.wait_acked)
        await wait_all_tasks_blocked()
        bench.acknowledge()
    assert receipt.is_acked
    await receipt.wait_acked()
    assert not bench.links.watching
    assert bench.sent()[0].destination_identities == ("ann",)


async def test_a_resume_acknowledges_as_well(bench: Bench) -> None:
    receipts = [await bench.packets.send_reliable(user(str(number))) for number in range(3)]
    bench.packets.on_resumed(2)
    assert [receipt.is_acked for receipt in receipts] == [True, True, False]
    assert bench.payloads() == [b"0", b"1", b"2"]  # the association lives: nothing is sent twice


async def fill(bench: Bench, size: int = 50_000) -> int:
    """Until a sender would have to wait; returns how many packets that took."""
    bench.links.stuck = True
    count = 0
    while bench.links.unsent[RELIABLE] < bench.packets._high_water.limit:
        await bench.packets.send_reliable(user(bytes(size)))
        count += 1
    return count


async def test_senders_wait_in_turn(bench: Bench) -> None:
    filled = await fill(bench)
    done: list[int] = []

    async def send(number: int) -> None:
        await bench.packets.send_reliable(user(str(number)))
        done.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(send, number)
            await wait_all_tasks_blocked()
        bench.packets.send_reliable_nowait(p.RpcAck("last"))
        assert done == []
        assert bench.packets.statistics().reliable_waiting == 6
        bench.acknowledge()
    assert bench.payloads()[filled:] == [str(number).encode() for number in range(5)]
    assert bench.sent()[-1].value == p.RpcAck("last")
    assert [packet.sequence for packet in bench.sent()] == list(range(1, filled + 7))


async def test_a_slow_network_is_noticed_before_anybody_has_to_wait(bench: Bench, autojump_clock: MockClock) -> None:
    """Else the queue of a fast one would fill first, which is a quarter of a minute on a slow one."""
    links = bench.links
    links.stuck = True
    for number in range(40):
        await bench.packets.send_reliable(user(f"{number:1000}"))
    assert bench.packets.statistics().reliable_waiting == 0
    for _ in range(5):
        await trio.sleep(0.1)
        for amounts in (links.buffered, links.unsent):
            amounts[RELIABLE] -= 1040
        bench.packets.on_progress()
    assert bench.packets._high_water.limit == MIN_BYTES


async def test_a_sender_that_is_cancelled_has_sent_nothing(bench: Bench) -> None:
    filled = await fill(bench)
    with trio.move_on_after(0.01) as scope:
        await bench.packets.send_reliable(user("cancelled"))
    assert scope.cancelled_caught
    bench.acknowledge()
    await bench.packets.send_reliable(user("sent"))
    assert bench.payloads()[filled:] == [b"sent"]


async def test_what_is_unacknowledged_is_bounded(bench: Bench) -> None:
    """The network takes everything, and nothing is acknowledged."""
    with trio.move_on_after(0.5) as scope:
        while True:
            await bench.packets.send_reliable(user(bytes(63_000)))
    assert scope.cancelled_caught
    assert 8 * 2**20 - 64_000 < bench.links.buffered[RELIABLE] <= 8 * 2**20


async def test_answers_are_bounded(bench: Bench) -> None:
    await fill(bench)
    for _ in range(module._CONTROL_PACKETS):
        bench.packets.send_reliable_nowait(p.RpcAck("x"))
    with pytest.raises(PublishDataError) as error:
        bench.packets.send_reliable_nowait(p.RpcAck("x"))
    assert error.value.reason is PublishDataErrorReason.QUEUE_FULL
    bench.acknowledge()
    bench.packets.send_reliable_nowait(p.RpcAck("x"))


async def test_too_large(bench: Bench) -> None:
    await bench.packets.send_reliable(user(bytes(63_900)))
    for size in (64_000, 1_000_000):
        with pytest.raises(PayloadTooLarge) as error:
            await bench.packets.send_reliable(user(bytes(size)))
        assert error.value.size > error.value.limit == 64_000
        with pytest.raises(PayloadTooLarge):
            bench.packets.send_lossy(user(bytes(size)))
    assert len(bench.sent()) == 1


async def test_not_permitted(bench: Bench) -> None:
    await fill(bench)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(PublishDataError) as error:
                await bench.packets.send_reliable(user("x"))
            assert error.value.reason is PublishDataErrorReason.NOT_ALLOWED

        nursery.start_soon(send)  # waits already
        await wait_all_tasks_blocked()
        bench.packets.on_permission(Permission(can_publish_data=False))
        bench.acknowledge()
        await send()
    with pytest.raises(PublishDataError):
        bench.packets.send_lossy(user("x"))


async def test_lossy_packets_never_wait(bench: Bench, autojump_clock: MockClock) -> None:
    bench.links.stuck = True
    for number in range(3000):
        bench.packets.send_lossy(user(str(number).ljust(100)))
    await trio.sleep(0.2)
    bench.packets.send_lossy(user("fresh"))
    await trio.sleep(0.2)
    bench.links.stuck = False
    bench.acknowledge()
    statistics = bench.packets.statistics()
    assert bench.payloads(LOSSY)[-1] == b"fresh"
    assert statistics.lossy_sent == len(bench.sent(LOSSY)) < 200
    assert statistics.lossy_dropped == 3001 - statistics.lossy_sent
    assert all(packet.sequence == 0 for packet in bench.sent(LOSSY))


async def test_lossy_packets_without_a_connection_are_dropped(bench: Bench) -> None:
    bench.packets.on_links_lost()
    bench.packets.send_lossy(user("x"))
    assert bench.packets.statistics().lossy_dropped == 1


# --- the session is replaced ------------------------------------------------------------------------------------------


async def test_what_may_not_have_arrived_is_sent_again(bench: Bench) -> None:
    bench.packets.on_participant(ANN, is_new=False)
    first = await bench.packets.send_reliable(user("arrived"), on_full_reconnect="resend")
    bench.acknowledge()
    second = await bench.packets.send_reliable(user("again", b"n" * 16), on_full_reconnect="resend")
    third = await bench.packets.send_reliable(p.StreamChunk("stream", 0, b""))
    async with trio.open_nursery() as nursery:
        bench.packets.on_links_lost()
        nursery.start_soon(bench.packets.send_reliable, user("waited"))
        await wait_all_tasks_blocked()
        bench.restart(ANN)
    assert [packet.value for packet in bench.sent()] == [user("again", b"n" * 16), user("waited")]
    assert [packet.sequence for packet in bench.sent()] == [1, 2]
    bench.acknowledge()
    assert first.is_acked
    assert second.is_acked
    with pytest.raises(DeliveryError) as error:
        await third.wait_acked()
    assert error.value.reason is DeliveryErrorReason.SESSION_REPLACED
    assert bench.packets.statistics().reliable_resent == 1


async def test_it_waits_for_those_it_was_for(bench: Bench, autojump_clock: MockClock) -> None:
    bench.packets.on_participant(ANN, is_new=False)
    bench.packets.on_participant(BEN, is_new=False)
    receipt = await bench.packets.send_reliable(user("again"), on_full_reconnect="resend")
    bench.restart()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.packets.send_reliable, user("behind it"))
        await trio.sleep(1)
        assert bench.sent() == []
        bench.packets.on_participant(ANN, is_new=True)
        assert bench.sent() == []
        bench.packets.on_participant(BEN, is_new=True)
    assert bench.payloads() == [b"again", b"behind it"]
    assert receipt.recipients_left == ()


async def test_it_does_not_wait_for_ever(bench: Bench, autojump_clock: MockClock) -> None:
    bench.packets.on_participant(ANN, is_new=False)
    bench.packets.on_participant(BEN, is_new=False)
    to_both = await bench.packets.send_reliable(user("to both"), on_full_reconnect="resend")
    to_ben = await bench.packets.send_reliable(user("to ben"), ["ben"], on_full_reconnect="resend")
    bench.restart(ANN)
    assert bench.packets.next_timeout() == trio.current_time() + 5
    await trio.sleep(5)
    bench.packets.handle_timeout(trio.current_time())
    assert bench.payloads() == [b"to both"]
    assert to_both.recipients_left == ("ben",)
    with pytest.raises(DeliveryError) as error:
        await to_ben.wait_acked()
    assert error.value.reason is DeliveryErrorReason.RECIPIENTS_GONE


async def test_it_does_not_wait_for_those_who_left_before(bench: Bench) -> None:
    for info in (ANN, BEN):
        bench.packets.on_participant(info, is_new=False)
    receipt = await bench.packets.send_reliable(user("x"), on_full_reconnect="resend")
    bench.packets.on_participant_left(BEN)
    bench.restart(ANN)
    assert bench.payloads() == [b"x"]
    assert receipt.recipients_left == ("ben",)


async def test_numbers_run_out(bench: Bench) -> None:
    bench.packets._outbox.next_sequence = module.MAX_SEQUENCE
    for _ in range(3):
        await bench.packets.send_reliable(user("x"))
    assert [packet.sequence for packet in bench.sent()] == [module.MAX_SEQUENCE, 0, 0]


async def test_losing_it_again_while_waiting(bench: Bench) -> None:
    bench.packets.on_participant(ANN, is_new=False)
    for number in range(3):
        await bench.packets.send_reliable(user(str(number)), on_full_reconnect="resend")
    bench.restart()
    assert bench.sent() == []
    bench.restart(ANN)
    assert bench.payloads() == [b"0", b"1", b"2"]
    bench.restart(ANN)
    assert bench.payloads() == [b"0", b"1", b"2"]


async def test_a_minute_is_enough(bench: Bench, autojump_clock: MockClock) -> None:
    connected = await bench.packets.send_reliable(user("x"))
    await trio.sleep(30)
    lost = await bench.packets.send_reliable(user("y"), on_full_reconnect="resend")
    for _ in range(2):
        deadline = bench.packets.next_timeout()
        assert deadline is not None
        await trio.sleep_until(deadline)
        bench.packets.handle_timeout(deadline)
        if not lost._error:
            bench.packets.on_session_lost()
    for receipt in (connected, lost):
        with pytest.raises(DeliveryError) as error:
            await receipt.wait_acked()
        assert error.value.reason is DeliveryErrorReason.EXPIRED
    assert bench.packets.next_timeout() is None


async def test_who_leaves_before_it_is_acknowledged_is_named(bench: Bench) -> None:
    bench.packets.on_participant(ANN, is_new=False)
    bench.packets.on_participant(BEN, is_new=False)
    first = await bench.packets.send_reliable(user("x"))
    bench.acknowledge()
    second = await bench.packets.send_reliable(user("x"))
    third = await bench.packets.send_reliable(user("x"), ["ann"])
    bench.packets.on_participant_left(BEN)
    assert [receipt.recipients_left for receipt in (first, second, third)] == [(), ("ben",), ()]


@pytest.mark.parametrize("error", [None, LiveKitError("lost")])
async def test_the_end(bench: Bench, error: LiveKitError | None) -> None:
    expected = trio.ClosedResourceError if error is None else LiveKitError
    receipt = await bench.packets.send_reliable(user("x"))
    await fill(bench)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(expected):
                await bench.packets.send_reliable(user("y"))

        async def wait() -> None:
            with pytest.raises(DeliveryError) as caught:
                await receipt.wait_acked()
            assert caught.value.reason is DeliveryErrorReason.DISCONNECTED

        nursery.start_soon(send)
        nursery.start_soon(wait)
        nursery.start_soon(bench.packets.drain)
        await wait_all_tasks_blocked()
        bench.packets.close(error)
    await send()
    await wait()
    with pytest.raises(expected):
        bench.packets.send_lossy(user("x"))
    with pytest.raises(expected):
        bench.packets.send_reliable_nowait(user("x"))


async def test_what_is_unsettled(bench: Bench, autojump_clock: MockClock) -> None:
    """What is not acknowledged; what is, for a second, for it may not be read; and nothing without a connection."""
    packets = bench.packets
    assert not packets.is_unsettled(trio.current_time())
    await packets.send_reliable(user("x"))
    await trio.sleep(5)
    assert packets.is_unsettled(trio.current_time())
    await packets.send_reliable(user("y"))
    bench.links.buffered[RELIABLE] = 0
    packets.on_progress()
    assert packets.is_unsettled(trio.current_time())
    await trio.sleep(1)
    assert not packets.is_unsettled(trio.current_time())
    await packets.send_reliable(user("z"))
    packets.on_links_lost()
    assert not packets.is_unsettled(trio.current_time())


async def test_a_sender_that_gives_up_is_not_waited_for(bench: Bench, nursery: trio.Nursery) -> None:
    bench.links.drained.set()
    bench.links.unsent[RELIABLE] = 1 << 30
    sending = trio.CancelScope()

    async def send() -> None:
        with sending:
            await bench.packets.send_reliable(user("x"))

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    with trio.fail_after(5):
        async with trio.open_nursery() as draining:
            draining.start_soon(bench.packets.drain)
            await wait_all_tasks_blocked()
            sending.cancel()


async def test_draining_a_connection_that_is_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drain() -> None:
        await trio.lowlevel.checkpoint()
        raise TransportError("the peer connection is over")

    monkeypatch.setattr(bench.links, "drain", drain)
    await bench.packets.drain()


async def test_draining_hands_over_what_waits_and_takes_nothing_more(bench: Bench) -> None:
    bench.links.stuck = True
    await fill(bench)
    async with trio.open_nursery() as nursery:
        receipts = [bench.packets.send_reliable_nowait(user("last"))]
        nursery.start_soon(bench.packets.drain)
        await wait_all_tasks_blocked()
        assert not bench.links.is_draining
        bench.links.unsent[RELIABLE] = 0
        bench.packets.on_progress()
        await wait_all_tasks_blocked()
        assert bench.links.is_draining
        sent = len(bench.links.sent[RELIABLE])
        late = bench.packets.send_reliable_nowait(user("too late"))
        assert len(bench.links.sent[RELIABLE]) == sent
        bench.links.buffered[RELIABLE] = 0
        bench.links.drained.set()
    assert [receipt.is_acked for receipt in receipts] == [True]
    bench.packets.close(None)
    with pytest.raises(trio.ClosedResourceError):  # it was never sent
        await late.wait_acked()


class Watcher:
    def __init__(self) -> None:
        self.told: list[object] = []

    def on_session_replaced(self) -> None:
        self.told.append("replaced")

    def on_participant(self, info: ParticipantInfo) -> None:
        self.told.append(("here", info.identity))

    def on_participant_left(self, info: ParticipantInfo) -> None:
        self.told.append(info.identity)

    def on_over(self, error: Exception) -> None:
        self.told.append(type(error))


async def test_watchers_are_told(bench: Bench) -> None:
    watcher = Watcher()
    bench.packets.watch(watcher)
    bench.packets.on_participant(ANN, is_new=False)
    bench.restart()
    bench.packets.close(None)
    bench.packets.close(None)
    assert watcher.told == [("here", "ann"), "replaced", "ann", trio.ClosedResourceError]


# --- receiving --------------------------------------------------------------------------------------------------------


async def test_repeats_are_dropped(bench: Bench) -> None:
    for sequence in (1, 2, 2, 1, 3):
        bench.deliver(user(str(sequence)), sequence=sequence)
    for nonce in (b"a", b"b", b"a"):
        bench.deliver(user(nonce, nonce * 16), sequence=0)
    bench.deliver(user("b", b"b" * 16), sequence=1, sid="PA_ann_again")
    assert [packet.value.payload for packet in bench.got] == [b"1", b"2", b"3", b"a", b"b"]
    assert bench.packets.statistics().repeats == 4


async def test_what_is_nobodys_is_dropped_and_counted(bench: Bench) -> None:
    bench.deliver(p.SipDtmf(1, "1"))
    bench.packets.incoming.on_message(RELIABLE, b"\xff\xff\xff")
    bench.packets.incoming.on_message(LOSSY, b"")
    bench.deliver(p.Encrypted(bytes(12), 0, b"?"))
    statistics = bench.packets.statistics()
    assert (statistics.unheeded, statistics.malformed, statistics.undecryptable) == (1, 1, 1)
    assert statistics.received == 0


async def test_what_is_held_occupies_the_window(bench: Bench) -> None:
    held: list[int] = []

    def hold(_packet: p.DataPacket, size: int) -> bool:
        held.append(size)
        return False

    bench.packets.incoming.route((p.StreamChunk,), hold)
    for _ in range(20):
        size = bench.deliver(p.StreamChunk("stream", 0, bytes(30_000)))
    bench.deliver(p.StreamChunk("stream", 0, b"lossy"), lossy=True)
    assert held == [*[size] * 20, 0]
    assert bench.links.consumed == 0
    for _ in range(20):
        bench.packets.incoming.consume(size)
    assert 20 * size - incoming_packets._CONSUME_BYTES < bench.links.consumed <= 20 * size


async def test_what_is_held_does_not_count_in_another_session(bench: Bench) -> None:
    bench.packets.incoming.route((p.StreamChunk,), lambda _packet, _size: False)
    chunk = p.StreamChunk("stream", 0, bytes(60_000))
    sizes = [bench.deliver(chunk) for _ in range(10)]
    bench.restart()
    sizes_now = [bench.deliver(chunk) for _ in range(10)]
    for size in sizes:
        bench.packets.incoming.consume(size)
    assert bench.links.consumed == 0
    for size in sizes_now:
        bench.packets.incoming.consume(size)
    assert bench.links.consumed > sum(sizes_now) - incoming_packets._CONSUME_BYTES


async def test_what_was_missed_while_away_is_told(bench: Bench) -> None:
    bench.packets.on_participant(ANN, is_new=False)
    bench.deliver(user("1"), sequence=1)
    bench.deliver(user("5"), sequence=5)  # the others may have been for others
    assert bench.announced == []
    bench.restart(ANN, BEN)
    bench.deliver(user("8"), sequence=8)
    bench.deliver(user("10"), sequence=10)
    assert bench.announced == [ContinuityLost("ann", 2)]


# --- end-to-end encryption --------------------------------------------------------------------------------------------


class Sealer:
    """Turns bytes around."""

    def __init__(self) -> None:
        self.error: LiveKitError | None = None
        self.admits_plaintext = False

    def seal(self, value: p.Encryptable) -> p.Encrypted:
        if self.error is not None:
            raise self.error
        assert isinstance(value, p.UserPacket)
        return p.Encrypted(bytes(12), 0, value.payload[::-1])

    def open(self, packet: p.DataPacket, _size: int) -> p.Encryptable | Verdict:
        value = packet.value
        assert isinstance(value, p.Encrypted)
        if b"?" in value.encrypted_value:
            return Verdict.DROPPED
        return Verdict.HELD if b"..." in value.encrypted_value else p.UserPacket(value.encrypted_value[::-1])

    def admits(self, packet: p.DataPacket) -> bool:
        assert packet.participant_identity == "ann"
        return self.admits_plaintext


@pytest.fixture
def sealed(bench: Bench) -> Bench:
    bench.packets.sealer = Sealer()
    return bench


async def test_packets_are_encrypted(sealed: Bench) -> None:
    await sealed.packets.send_reliable(user("abc"))
    await sealed.packets.send_reliable(p.SipDtmf(1, "1"))
    sealed.packets.send_lossy(user("def"))
    assert [packet.value for packet in sealed.sent()] == [p.Encrypted(bytes(12), 0, b"cba"), p.SipDtmf(1, "1")]
    assert [packet.value for packet in sealed.sent(LOSSY)] == [p.Encrypted(bytes(12), 0, b"fed")]
    with pytest.raises(PayloadTooLarge):
        await sealed.packets.send_reliable(user(bytes(63_950)))


async def test_packets_are_decrypted(sealed: Bench) -> None:
    sealed.deliver(p.Encrypted(bytes(12), 0, b"cba"))
    sealed.deliver(p.Encrypted(bytes(12), 0, b"?"))
    sealed.deliver(user("in the clear"))
    assert [(packet.value, packet.is_encrypted) for packet in sealed.got] == [(p.UserPacket(b"abc"), True)]
    statistics = sealed.packets.statistics()
    assert (statistics.undecryptable, statistics.plaintext_refused) == (1, 1)
    assert isinstance(sealed.packets.sealer, Sealer)
    sealed.packets.sealer.admits_plaintext = True
    sealed.deliver(user("in the clear"))
    assert not sealed.got[-1].is_encrypted


async def test_packets_that_are_held_occupy_the_receive_window(sealed: Bench) -> None:
    packet = p.DataPacket(p.Encrypted(bytes(12), 0, bytes(150_000) + b"..."), "ann")
    message = encode_packet(packet)
    for _ in range(2):
        sealed.packets.incoming.on_message(RELIABLE, message)
    assert sealed.got == []
    assert sealed.links.consumed == 0
    sealed.packets.incoming.on_opened(packet, len(message), p.UserPacket(b"late"))
    assert (sealed.got[-1].value, sealed.got[-1].is_encrypted) == (p.UserPacket(b"late"), True)
    assert sealed.links.consumed == 0  # it is told when it is worth a word
    sealed.packets.incoming.on_opened(packet, len(message), None)
    assert sealed.links.consumed == 2 * len(message)
    assert len(sealed.got) == 1
    assert sealed.packets.statistics().undecryptable == 1
    sealed.packets.close(None)
    sealed.packets.incoming.on_opened(packet, len(message), p.UserPacket(b"too late"))
    assert len(sealed.got) == 1


async def test_what_cannot_be_encrypted_is_not_sent(sealed: Bench) -> None:
    assert isinstance(sealed.packets.sealer, Sealer)
    sealed.packets.sealer.error = LiveKitError("no key")
    with pytest.raises(LiveKitError, match="no key"):
        await sealed.packets.send_reliable(user("secret"))
    with pytest.raises(LiveKitError, match="no key"):
        sealed.packets.send_lossy(user("secret"))
    assert sealed.links.sent == {}


async def test_a_receipt_survives_being_awaited_by_many(bench: Bench) -> None:
    receipt: Receipt = await bench.packets.send_reliable(user("x"))
    failed: list[DeliveryError] = []

    async def wait() -> None:
        with pytest.raises(DeliveryError) as error:
            await receipt.wait_acked()
        failed.append(error.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        bench.packets.on_session_lost()
    assert len(set(map(id, failed))) == 3
