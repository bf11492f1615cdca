"""Subscribing with the server played by the test: silence, shared attempts, publishers that come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.session.fakes import Upstream
from trio_livekit._sansio.signal import messages as m
from trio_livekit._sansio.tracks.clock import MediaClock
from trio_livekit._sansio.tracks.packet import SINGLE, EncryptionInfo, Packet, encode
from trio_livekit._sansio.tracks.packetizer import Packetizer
from trio_livekit._session.subscribing import (
    Reader,
    RemoteTrack,
    Subscribing,
    TrackEvent,
    TrackPublished,
    TrackReassigned,
    TrackUnpublished,
)
from trio_livekit.errors import DisconnectReason, RoomDisconnected, SubscribeError, SubscribeErrorReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


class Bench:
    """Subscribing to the tracks of ``alice``, and what it asked for and told."""

    def __init__(self) -> None:
        self.upstream = Upstream()
        self.requests = self.upstream.requests
        self.told: list[TrackEvent] = []
        self.subscribing = Subscribing(self.upstream, self.told.append, self._reschedule)
        self._wake = trio.Event()

    def _reschedule(self, _deadline: float | None) -> None:
        self._wake.set()

    async def keep_time(self) -> None:
        while True:
            self.subscribing.handle_timeout(trio.current_time())
            self._wake = trio.Event()
            deadline = self.subscribing.next_timeout()
            with trio.move_on_at(trio.current_time() + 1e6 if deadline is None else deadline):
                await self._wake.wait()

    def lists(self, *sids: str, sid: str = "PA_1") -> None:
        """The server describes alice, with these tracks."""
        tracks = tuple(m.DataTrackInfo(1 + n, s, f"track {n}") for n, s in enumerate(sids))
        self.subscribing.on_participant(m.ParticipantInfo(sid, "alice", data_tracks=tracks))

    def published(self) -> RemoteTrack:
        return [event.track for event in self.told if isinstance(event, TrackPublished)][-1]

    def frame(self, handle: int, payload: bytes) -> None:
        for packet in Packetizer(handle, MediaClock(0, 0.0)).packetize(payload, 0.0, None):
            self.subscribing.on_packet(packet)


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    bench = Bench()
    nursery.start_soon(bench.keep_time)
    bench.lists("DTR_a")
    return bench


def asked(subscribe: bool, *sids: str) -> m.UpdateDataSubscription:
    return m.UpdateDataSubscription(tuple((sid, subscribe) for sid in sids))


@pytest.mark.parametrize("count", [1, 3, 8])
async def test_several_readers_are_one_request(bench: Bench, nursery: trio.Nursery, count: int) -> None:
    readers: list[Reader] = []

    async def read() -> None:
        readers.append(await bench.published().open_reader(4, 1))

    for _ in range(count):
        nursery.start_soon(read)
    await wait_all_tasks_blocked()
    assert bench.requests == [asked(True, "DTR_a")]
    assert readers == []
    bench.subscribing.on_handles({7: "DTR_a"})
    await wait_all_tasks_blocked()
    bench.frame(7, b"for all")
    assert [(await reader.get()).payload for reader in readers] == [b"for all"] * count
    for reader in readers:
        assert len(bench.requests) == 1
        reader.close()
        await wait_all_tasks_blocked()
    assert bench.requests[1:] == [asked(False, "DTR_a")]


async def test_subscriptions_of_one_moment_are_one_message(bench: Bench, nursery: trio.Nursery) -> None:
    sids = [f"DTR_{number}" for number in range(300)]
    bench.lists(*sids)
    tracks = [event.track for event in bench.told if isinstance(event, TrackPublished)]
    for track in tracks:
        nursery.start_soon(track.open_reader, 1, 1)
    await wait_all_tasks_blocked()
    (request,) = bench.requests
    assert isinstance(request, m.UpdateDataSubscription)
    assert {sid for sid, _ in request.updates} == set(sids)
    nursery.cancel_scope.cancel()


async def test_while_there_is_no_room_requests_gather_in_one_message(bench: Bench, nursery: trio.Nursery) -> None:
    bench.upstream.full = True
    bench.lists("DTR_a", "DTR_b")
    for track in [event.track for event in bench.told if isinstance(event, TrackPublished)]:
        nursery.start_soon(track.open_reader, 1, 1)
        await wait_all_tasks_blocked()
    assert bench.requests == []
    bench.upstream.full = False
    bench.subscribing.on_room()
    await wait_all_tasks_blocked()
    assert bench.requests == [m.UpdateDataSubscription((("DTR_a", True), ("DTR_b", True)))]
    nursery.cancel_scope.cancel()


async def test_silence_is_a_timeout_and_trying_again_is_a_fresh_start(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    for _ in range(2):
        with pytest.raises(SubscribeError) as error:
            await bench.published().open_reader(1, 1)
        assert error.value.reason is SubscribeErrorReason.TIMEOUT
    assert set(bench.requests) == {asked(True, "DTR_a")}  # repeated, and never taken back: servers deadlock on that

    async def answer() -> None:
        await trio.sleep(1)
        bench.subscribing.on_handles({7: "DTR_a"})

    nursery.start_soon(answer)
    reader = await bench.published().open_reader(1, 1)
    bench.frame(7, b"x")
    assert reader.get_nowait().payload == b"x"


async def test_all_who_wait_are_told_of_the_timeout(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    errors: list[SubscribeError] = []

    async def read() -> None:
        with pytest.raises(SubscribeError) as error:
            await bench.published().open_reader(1, 1)
        errors.append(error.value)

    async with trio.open_nursery() as readers:
        readers.start_soon(read)
        await trio.sleep(5)
        readers.start_soon(read)
    assert [error.reason for error in errors] == [SubscribeErrorReason.TIMEOUT] * 2
    assert errors[0] is not errors[1]


async def test_a_cancelled_subscribe_is_not_taken_back_before_it_is_established(
    bench: Bench, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(1):
        await bench.published().open_reader(1, 1)
    assert set(bench.requests) == {asked(True, "DTR_a")}
    bench.subscribing.on_handles({7: "DTR_a"})
    await wait_all_tasks_blocked()
    assert bench.requests[-1] == asked(False, "DTR_a")


async def test_a_track_that_ends_while_it_is_being_subscribed(bench: Bench, nursery: trio.Nursery) -> None:
    track = bench.published()

    async def end() -> None:
        await wait_all_tasks_blocked()
        bench.lists()

    nursery.start_soon(end)
    with pytest.raises(SubscribeError) as error:
        await track.open_reader(1, 1)
    assert error.value.reason is SubscribeErrorReason.UNPUBLISHED
    with pytest.raises(SubscribeError):
        await track.open_reader(1, 1)
    assert bench.requests == [asked(True, "DTR_a")]
    assert bench.told[-1] == TrackUnpublished(track)


async def test_a_track_that_ends_while_it_is_being_read(bench: Bench, nursery: trio.Nursery) -> None:
    bench.subscribing.on_handles({7: "DTR_a"})  # it is subscribed already: no answer will come
    reader = await bench.published().open_reader(4, 1)
    bench.frame(7, b"last")
    bench.lists()
    assert (await reader.get()).payload == b"last"
    with pytest.raises(trio.EndOfChannel):
        await reader.get()
    reader.close()
    await wait_all_tasks_blocked()
    assert bench.requests == []


async def test_repetition_tells_nothing_new(bench: Bench) -> None:
    for _ in range(3):
        bench.lists("DTR_a")
    assert len(bench.told) == 1


@pytest.mark.parametrize("read_before", [True, False])
async def test_a_publisher_that_comes_back_keeps_its_tracks_and_readers(
    bench: Bench, nursery: trio.Nursery, read_before: bool
) -> None:
    track = bench.published()
    bench.subscribing.on_handles({7: "DTR_a"})
    reader = await track.open_reader(4, 1) if read_before else None
    bench.lists("DTR_new", sid="PA_2")
    await wait_all_tasks_blocked()
    assert bench.told == [TrackPublished(track), TrackReassigned(track)]
    assert track.sid == "DTR_new"
    if reader is None:
        assert bench.requests == []
        return
    assert bench.requests == [asked(True, "DTR_new")]
    bench.subscribing.on_handles({9: "DTR_new"})
    bench.frame(7, b"old")
    bench.frame(9, b"new")
    assert (await reader.get()).payload == b"new"


async def test_the_end_of_the_session(bench: Bench, nursery: trio.Nursery) -> None:
    bench.lists("DTR_a", "DTR_b")
    track, other = (event.track for event in bench.told if isinstance(event, TrackPublished))
    bench.subscribing.on_handles({7: "DTR_a"})
    reader = await track.open_reader(4, 1)
    bench.frame(7, b"last")
    errors: list[Exception] = []

    async def subscribe() -> None:
        with pytest.raises(RoomDisconnected) as error:
            await other.open_reader(1, 1)
        errors.append(error.value)

    nursery.start_soon(subscribe)
    await wait_all_tasks_blocked()
    lost = RoomDisconnected(DisconnectReason.ROOM_DELETED)
    bench.subscribing.close(lost)
    bench.subscribing.close(None)  # the first word counts
    await wait_all_tasks_blocked()
    assert (await reader.get()).payload == b"last"
    with pytest.raises(RoomDisconnected):
        await reader.get()
    with pytest.raises(RoomDisconnected):
        await track.open_reader(1, 1)
    assert len(errors) == 1
    assert errors[0] is not lost


async def test_what_the_server_says_while_the_room_is_being_left(bench: Bench) -> None:
    bench.subscribing.on_handles({7: "DTR_a"})
    reader = await bench.published().open_reader(1, 1)
    bench.subscribing.close(None)
    reader.close()
    assert bench.subscribing.next_timeout() is None  # what is left to be asked for is nobody's business
    told = len(bench.told)
    bench.lists("DTR_b")
    bench.lists()
    assert len(bench.told) == told


@pytest.mark.parametrize("encryption", [m.EncryptionType.GCM, m.EncryptionType.CUSTOM, m.EncryptionType(77)])
async def test_what_cannot_be_decrypted_is_told_of_and_not_subscribed_to(
    bench: Bench, encryption: m.EncryptionType
) -> None:
    """Also where only the way of encrypting is not known: other tracks in the same message are not the worse for it."""
    tracks = (m.DataTrackInfo(1, "DTR_x", "secret", encryption), m.DataTrackInfo(2, "DTR_y", "plain"))
    bench.subscribing.on_participant(m.ParticipantInfo("PA_2", "bob", data_tracks=tracks))
    secret, plain = (event.track for event in bench.told[-2:] if isinstance(event, TrackPublished))
    assert (secret.is_encrypted, plain.is_encrypted) == (True, False)
    with pytest.raises(SubscribeError) as refused:
        await secret.open_reader(1, 1)
    assert refused.value.reason is SubscribeErrorReason.ENCRYPTED
    assert bench.requests == []
    bench.subscribing.on_handles({7: "DTR_y"})
    await plain.open_reader(1, 1)


async def test_losses_are_counted(bench: Bench) -> None:
    bench.subscribing.on_handles({7: "DTR_a"})
    reader = await bench.published().open_reader(2, 1)
    packetizer = Packetizer(7, MediaClock(0, 0.0))
    for number in range(6):
        packets = packetizer.packetize(bytes(40_000), float(number), None)
        for packet in packets[1:] if number == 3 else packets:  # the fourth frame misses its first packet
            bench.subscribing.on_packet(packet)
    statistics = reader.statistics()
    assert statistics.frames_received == 5
    assert statistics.frames_displaced == 3
    assert statistics.frames_buffered == 2
    assert statistics.frames_lost == 1


async def test_a_plain_track_does_not_mind_what_looks_like_encryption(bench: Bench) -> None:
    """As does the SID of its publisher, which a server may put into a packet under the same tag."""
    bench.subscribing.on_handles({7: "DTR_a"})
    reader = await bench.published().open_reader(1, 1)
    bench.subscribing.on_packet(encode(Packet(SINGLE, 7, 0, 0, 0, None, EncryptionInfo(80, b"A_abcdefghij"), b"plain")))
    assert reader.get_nowait().payload == b"plain"


async def test_a_sid_that_two_participants_are_said_to_have(bench: Bench) -> None:
    tracks = (m.DataTrackInfo(1, "DTR_a", "track 0"),)
    for listed in (tracks, ()):
        bench.subscribing.on_participant(m.ParticipantInfo("PA_2", "bob", data_tracks=listed))
    bench.lists()
    assert [type(event) for event in bench.told] == [TrackPublished, TrackUnpublished]


async def test_packets_of_nobody_are_ignored(bench: Bench) -> None:
    bench.frame(7, b"before its handle is known")
    bench.subscribing.on_handles({7: "DTR_unknown"})
    bench.frame(7, b"of a track that is not known")
    for junk in (b"", b"\x00" * 11, b"\xff" * 40):
        bench.subscribing.on_packet(junk)
    assert bench.requests == []


# --- readers that give up, in every order -----------------------------------------------------------------------------


async def test_a_subscribe_that_is_cancelled_already_asks_for_nothing(bench: Bench) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.published().open_reader(1, 1)
    assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert bench.requests == []


async def test_one_of_two_who_wait_gives_up_and_then_the_other(bench: Bench, nursery: trio.Nursery) -> None:
    scopes = trio.CancelScope(), trio.CancelScope()

    async def read(scope: trio.CancelScope) -> None:
        with scope:
            await bench.published().open_reader(1, 1)

    for scope in scopes:
        nursery.start_soon(read, scope)
    for scope in scopes:
        await wait_all_tasks_blocked()
        scope.cancel()
    await wait_all_tasks_blocked()
    assert all(scope.cancelled_caught for scope in scopes)
    assert bench.requests == [asked(True, "DTR_a")]  # a wish is taken back only when it has been granted
    bench.subscribing.on_handles({7: "DTR_a"})
    await wait_all_tasks_blocked()
    assert bench.requests[1:] == [asked(False, "DTR_a")]


async def test_one_of_two_who_wait_gives_up_and_the_other_reads(bench: Bench, nursery: trio.Nursery) -> None:
    readers: list[Reader] = []

    async def read() -> None:
        readers.append(await bench.published().open_reader(1, 1))

    nursery.start_soon(read)
    with trio.move_on_after(0.01):
        await bench.published().open_reader(1, 1)
    bench.subscribing.on_handles({7: "DTR_a"})
    await wait_all_tasks_blocked()
    bench.frame(7, b"x")
    (reader,) = readers
    assert (await reader.get()).payload == b"x"
    assert bench.requests == [asked(True, "DTR_a")]


async def test_the_only_reader_gives_up_while_it_reads(bench: Bench, nursery: trio.Nursery) -> None:
    bench.subscribing.on_handles({7: "DTR_a"})
    ends: list[str] = []
    scope = trio.CancelScope()

    async def read() -> None:
        with scope:
            reader = await bench.published().open_reader(1, 1)
            try:
                await reader.get()
            except trio.Cancelled:
                ends.append("cancelled")
                raise
            finally:
                reader.close()

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    scope.cancel()
    await wait_all_tasks_blocked()
    assert ends == ["cancelled"]
    assert scope.cancelled_caught
    assert bench.requests == [asked(False, "DTR_a")]
    bench.subscribing.close(None)
    await wait_all_tasks_blocked()
    assert bench.requests == [asked(False, "DTR_a")]


async def test_the_publisher_leaves(bench: Bench, nursery: trio.Nursery) -> None:
    """Who waits for a track of its is told, who reads has the end, who gave up hears nothing; nothing is asked for."""
    bench.lists("DTR_a", "DTR_b", "DTR_c")
    pending, active, given_up = (event.track for event in bench.told if isinstance(event, TrackPublished))
    bench.subscribing.on_handles({8: "DTR_b", 9: "DTR_c"})
    reader = await active.open_reader(1, 1)
    (await given_up.open_reader(1, 1)).close()
    reasons: list[SubscribeErrorReason] = []

    async def subscribe() -> None:
        with pytest.raises(SubscribeError) as error:
            await pending.open_reader(1, 1)
        reasons.append(error.value.reason)

    nursery.start_soon(subscribe)
    await wait_all_tasks_blocked()
    updates = [update for request in bench.requests for update in request.updates]  # type: ignore[union-attr]
    assert sorted(updates) == [("DTR_a", True), ("DTR_c", False)]
    gone = m.ParticipantInfo("PA_1", "alice", state=m.ParticipantState.DISCONNECTED)
    bench.subscribing.on_participant_left(gone)
    await wait_all_tasks_blocked()
    assert reasons == [SubscribeErrorReason.UNPUBLISHED]
    with pytest.raises(trio.EndOfChannel):
        await reader.get()
    reader.close()
    await wait_all_tasks_blocked()
    assert [update for request in bench.requests for update in request.updates] == updates  # type: ignore[union-attr]
    assert {event.track for event in bench.told if isinstance(event, TrackUnpublished)} == {pending, active, given_up}


async def test_a_track_that_ends_before_the_reader_learns_that_it_has_it(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The answer and the end come in one step of the network, before the task that waits runs again."""
    track = bench.published()
    outcome: list[str] = []

    async def read() -> None:
        try:
            reader = await track.open_reader(1, 1)
            await reader.get()
        except (SubscribeError, trio.EndOfChannel) as error:
            outcome.append(type(error).__name__)

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    bench.subscribing.on_handles({7: "DTR_a"})
    bench.lists()
    await trio.sleep(5)
    assert outcome == ["EndOfChannel"]
    assert bench.requests == [asked(True, "DTR_a")]


async def test_a_reader_that_is_closed_after_its_track_has_a_new_sid(bench: Bench) -> None:
    bench.subscribing.on_handles({7: "DTR_a"})
    reader = await bench.published().open_reader(1, 1)
    bench.lists("DTR_new", sid="PA_2")
    await wait_all_tasks_blocked()
    bench.subscribing.on_handles({9: "DTR_new"})
    reader.close()
    await wait_all_tasks_blocked()
    assert bench.requests == [asked(True, "DTR_new"), asked(False, "DTR_new")]


async def test_a_subscribe_that_is_cancelled_after_its_track_has_a_new_sid(bench: Bench, nursery: trio.Nursery) -> None:
    scope = trio.CancelScope()

    async def read() -> None:
        with scope:
            await bench.published().open_reader(1, 1)

    nursery.start_soon(read)
    await wait_all_tasks_blocked()
    bench.lists("DTR_new", sid="PA_2")
    await wait_all_tasks_blocked()
    scope.cancel()
    await wait_all_tasks_blocked()
    bench.subscribing.on_handles({9: "DTR_new"})
    await wait_all_tasks_blocked()
    assert bench.requests[-1] == asked(False, "DTR_new")
    assert asked(False, "DTR_a") not in bench.requests


async def test_a_publisher_that_leaves_after_its_last_reader(bench: Bench) -> None:
    bench.subscribing.on_handles({7: "DTR_a"})
    track = bench.published()
    reader = await track.open_reader(1, 1)
    reader.close()
    await wait_all_tasks_blocked()
    bench.lists()
    reader.close()
    bench.subscribing.close(None)
    await wait_all_tasks_blocked()
    assert bench.requests == [asked(False, "DTR_a")]  # once, whatever comes after it
    assert bench.told == [TrackPublished(track), TrackUnpublished(track)]


@pytest.mark.parametrize(("first", "then", "delivered"), [(1, None, [1]), (3, None, [0, 1]), (1, 3, [0, 1])])
async def test_so_many_frames_are_put_together_at_once(
    bench: Bench, first: int, then: int | None, delivered: list[int]
) -> None:
    """Two frames of two packets each, interleaved; the latest reader says how many frames are kept."""
    bench.subscribing.on_handles({7: "DTR_a"})
    reader = await bench.published().open_reader(4, first)
    if then is not None:
        await bench.published().open_reader(4, then)
    packetizer = Packetizer(7, MediaClock(0, 0.0))
    frames = [packetizer.packetize(bytes([number]) * 20_000, 0.0, None) for number in range(2)]
    for packets in zip(*frames, strict=True):
        for packet in packets:
            bench.subscribing.on_packet(packet)
    assert [reader.get_nowait().payload[0] for _ in delivered] == delivered
    with pytest.raises(trio.WouldBlock):
        reader.get_nowait()
