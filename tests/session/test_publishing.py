"""Publishing on links that remember: refusals, timeouts, queues and ends that a server cannot be made to show."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from tests.session.fakes import TrackLinks, Upstream
from trio_livekit._sansio.signal import messages as m
from trio_livekit._sansio.tracks.packet import decode
from trio_livekit._session.publishing import Publication, Publishing
from trio_livekit.data_tracks import LocalDataTrack
from trio_livekit.errors import PublishError, PublishErrorReason, PushError, PushErrorReason

if TYPE_CHECKING:
    from trio.testing import MockClock


class Bench:
    """Publishing, with the server played by the test."""

    def __init__(self) -> None:
        self.upstream = Upstream()
        self.requests = self.upstream.requests
        self.links = TrackLinks()
        self.publishing = Publishing(self.upstream, self.links, lambda _: None)  # type: ignore[arg-type]

    async def keep_time(self) -> None:
        while True:
            self.publishing.handle_timeout(trio.current_time())
            await trio.sleep(0.001 if self.publishing.next_timeout() is None else 0.05)

    def grant(self, handle: int = 1, name: str = "track", sid: str = "") -> None:
        info = m.DataTrackInfo(handle, sid or f"DTR_{handle}", name)
        self.publishing.on_response(m.DataTrackPublished(info))
        self.publishing.on_own_tracks((*self.publishing.published(),))

    def confirm_unpublished(self, handle: int = 1) -> None:
        self.publishing.on_response(m.DataTrackUnpublished(m.DataTrackInfo(handle, f"DTR_{handle}", "track")))

    async def publish(
        self, nursery: trio.Nursery, outcome: list[object], handle: int = 1, name: str = "track"
    ) -> tuple[Publication, trio.CancelScope]:
        """A task with a granted track; what its block ends with goes to ``outcome``."""
        opened: list[Publication] = []
        scope = trio.CancelScope()

        async def block() -> None:
            try:
                with scope:
                    async with self.publishing.publish(name) as publication:
                        opened.append(publication)
                        await trio.sleep_forever()
                outcome.append("cancelled")
            except PublishError as error:
                outcome.append(error)

        nursery.start_soon(block)
        await wait_all_tasks_blocked()
        self.grant(handle, name)
        await wait_all_tasks_blocked()
        return opened[0], scope


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def refused(bench: Bench, reason: m.RequestReason, message: str) -> PublishError:
    async def refuse() -> None:
        await wait_all_tasks_blocked()
        bench.publishing.on_response(m.RequestResponse(0, reason, message, 1, None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(PublishError) as error:
            async with bench.publishing.publish("track"):
                pytest.fail("entered")
    assert bench.requests == [m.PublishDataTrack(1, "track")]  # nothing to take back
    return error.value


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        (m.RequestReason.NOT_ALLOWED, PublishErrorReason.NOT_ALLOWED),
        (m.RequestReason.DUPLICATE_NAME, PublishErrorReason.DUPLICATE_NAME),
        (m.RequestReason.INVALID_NAME, PublishErrorReason.INVALID_NAME),
        (m.RequestReason.LIMIT_EXCEEDED, PublishErrorReason.LIMIT_REACHED),
        (m.RequestReason.INVALID_REQUEST, PublishErrorReason.UNKNOWN),
        (m.RequestReason.DUPLICATE_HANDLE, PublishErrorReason.UNKNOWN),
        (m.RequestReason(77), PublishErrorReason.UNKNOWN),
    ],
)
async def test_every_refusal_has_a_type(bench: Bench, reason: m.RequestReason, meaning: PublishErrorReason) -> None:
    error = await refused(bench, reason, "the server's words")
    assert (error.reason, error.code, error.server_message) == (meaning, int(reason), "the server's words")
    if meaning is PublishErrorReason.UNKNOWN:
        assert "the server's words" in str(error)
        assert str(int(reason)) in str(error)


async def test_a_server_that_does_not_answer(bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    nursery.start_soon(bench.keep_time)
    with pytest.raises(PublishError) as error:
        async with bench.publishing.publish("track"):
            pytest.fail("entered")
    assert error.value.reason is PublishErrorReason.TIMEOUT
    assert 10 <= autojump_clock.current_time() < 13
    assert bench.requests == [m.PublishDataTrack(1, "track"), m.UnpublishDataTrack(1)]


async def test_a_session_that_ends_while_the_answer_is_awaited(bench: Bench) -> None:
    async def end() -> None:
        await wait_all_tasks_blocked()
        bench.publishing.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        with pytest.raises(PublishError) as error:
            async with bench.publishing.publish("track"):
                pytest.fail("entered")
    assert error.value.reason is PublishErrorReason.DISCONNECTED


async def test_publishing_in_a_session_that_has_ended(bench: Bench) -> None:
    bench.publishing.close()
    with pytest.raises(PublishError) as error:
        async with bench.publishing.publish("track"):
            pytest.fail("entered")
    assert error.value.reason is PublishErrorReason.DISCONNECTED
    assert bench.requests == []


async def test_cancelled_while_the_answer_is_awaited(bench: Bench, autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                await wait_all_tasks_blocked()
                scope.cancel()

            nursery.start_soon(cancel)
            async with bench.publishing.publish("track"):
                pytest.fail("entered")
    assert scope.cancelled_caught
    assert bench.requests == [m.PublishDataTrack(1, "track"), m.UnpublishDataTrack(1)]
    bench.grant()  # which comes late, and is behind the request that takes it back
    assert len(bench.requests) == 2


async def test_a_request_that_was_never_sent_is_not_taken_back(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """More than 32 requests are not in flight at once; the 33rd is given up without waiting for the server."""
    outcome: list[object] = []
    scopes = [trio.CancelScope() for _ in range(33)]

    async def block(scope: trio.CancelScope) -> None:
        with scope, suppress(PublishError):
            async with bench.publishing.publish("track"):
                pass
        outcome.append(scope.cancelled_caught)

    for scope in scopes:
        nursery.start_soon(block, scope)
        await wait_all_tasks_blocked()
    assert len(bench.requests) == 32
    before = trio.current_time()
    scopes[-1].cancel()
    await wait_all_tasks_blocked()
    assert outcome == [True]
    assert trio.current_time() == before
    assert len(bench.requests) == 32
    nursery.cancel_scope.cancel()


async def test_leaving_waits_for_the_confirmation(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    outcome: list[object] = []
    publication, scope = await bench.publish(nursery, outcome)
    scope.cancel()
    await wait_all_tasks_blocked()
    assert outcome == []
    assert not publication.is_published
    assert bench.requests[-1] == m.UnpublishDataTrack(1)
    bench.confirm_unpublished()
    await wait_all_tasks_blocked()
    assert outcome == ["cancelled"]


async def test_leaving_does_not_wait_long(bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    outcome: list[object] = []
    _, scope = await bench.publish(nursery, outcome)
    scope.cancel()
    await trio.sleep(1.1)
    assert outcome == ["cancelled"]


async def test_the_server_takes_a_track_away(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    publication, _ = await bench.publish(nursery, outcome)
    bench.publishing.on_own_tracks(())
    publication.push(b"until the block has heard, frames are dropped", None)
    assert publication.statistics().frames_dropped == 1
    assert bench.links.sent == []
    await wait_all_tasks_blocked()
    (error,) = outcome
    assert isinstance(error, PublishError)
    assert error.reason is PublishErrorReason.UNPUBLISHED
    with pytest.raises(PushError) as push_error:
        publication.push(b"x", None)
    assert push_error.value.reason is PushErrorReason.UNPUBLISHED
    assert bench.requests == [m.PublishDataTrack(1, "track")]


async def test_the_session_ends_under_a_track(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    await bench.publish(nursery, outcome)
    bench.publishing.close()
    bench.publishing.close()
    await wait_all_tasks_blocked()
    (error,) = outcome
    assert isinstance(error, PublishError)
    assert error.reason is PublishErrorReason.DISCONNECTED
    assert len(bench.requests) == 1


async def test_frames_while_the_peer_connection_is_lost(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    publication, scope = await bench.publish(nursery, outcome)
    bench.links.unsent = 1 << 20
    for _ in range(3):
        publication.push(b"queued", None)
    bench.publishing.on_links_lost()
    publication.push(b"dropped", None)
    statistics = publication.statistics()
    assert (statistics.frames_dropped, statistics.frames_queued, statistics.frames_pushed) == (4, 0, 4)

    with trio.move_on_after(0.01) as sending:
        await LocalDataTrack(publication).send(b"waits")
    assert sending.cancelled_caught
    assert publication.statistics().frames_pushed == 4
    bench.publishing.close()
    scope.cancel()


async def test_what_is_queued_leaves_when_the_channel_drains(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    publication, scope = await bench.publish(nursery, outcome)
    bench.links.unsent = 1 << 20
    for number in range(16):
        publication.push(bytes([number]), None)
    with pytest.raises(PushError) as error:
        publication.push(b"one more", None)
    assert error.value.reason is PushErrorReason.QUEUE_FULL
    assert bench.links.sent == []
    assert publication.statistics().frames_queued == 16

    assert bench.links.watching
    bench.links.unsent = 0
    bench.publishing.on_progress()
    assert [packet[-1] for packet in bench.links.sent] == list(range(16))
    statistics = publication.statistics()
    assert (statistics.frames_pushed, statistics.frames_sent, statistics.frames_refused) == (17, 16, 1)
    bench.publishing.close()
    scope.cancel()


async def test_a_large_frame_leaves_packet_by_packet(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    outcome: list[object] = []
    nursery.start_soon(bench.publishing.keep_pace)
    publication, scope = await bench.publish(nursery, outcome)
    start = trio.current_time()
    for number in range(2):
        publication.push(bytes([number]) * 60_000, None)
    assert len(bench.links.sent) == 1
    with trio.fail_after(1):
        await publication.wait_flushed()
    assert [packet[-1] for packet in bench.links.sent] == [0] * 4 + [1] * 4
    assert trio.current_time() - start >= 0.016
    bench.publishing.close()
    scope.cancel()


async def test_a_track_from_its_request_to_its_end(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    publication, scope = await bench.publish(nursery, outcome)
    track = LocalDataTrack(publication)
    assert bench.requests == [m.PublishDataTrack(1, "track", m.EncryptionType.NONE, None, None)]
    assert (track.name, track.sid, track.encryption) == ("track", "DTR_1", m.EncryptionType.NONE)
    assert track.is_published
    for number in range(10):
        track.try_push(bytes([number]) * 256)
    packets = [decode(message) for message in bench.links.sent]
    assert [(packet.handle, packet.payload) for packet in packets] == [(1, bytes([n]) * 256) for n in range(10)]
    scope.cancel()
    await wait_all_tasks_blocked()
    assert bench.requests[1:] == [m.UnpublishDataTrack(1)]
    assert not track.is_published
    bench.confirm_unpublished()
    await wait_all_tasks_blocked()
    assert outcome == ["cancelled"]
    assert bench.publishing.published() == []

    again, scope = await bench.publish(nursery, outcome, handle=2)
    assert again.is_published
    assert not track.is_published
    bench.publishing.close()


async def test_what_is_published_leaves_out_what_is_pending(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    await bench.publish(nursery, outcome, 1, "one")
    await bench.publish(nursery, outcome, 2, "two")

    async def pend() -> None:
        with suppress(PublishError):
            async with bench.publishing.publish("three"):
                pytest.fail("entered")

    nursery.start_soon(pend)
    await wait_all_tasks_blocked()
    one, two = m.DataTrackInfo(1, "DTR_1", "one"), m.DataTrackInfo(2, "DTR_2", "two")
    assert bench.publishing.published() == [one, two]
    assert sorted(bench.publishing.stats()) == ["one", "three", "two"]
    bench.publishing.close()


async def test_the_session_ends_under_tracks_in_every_state(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """One that is pending, one that sends, one that is flushed and one that is being left: all end at once."""
    outcome: list[object] = []
    sending, _ = await bench.publish(nursery, outcome, 1, "sends")
    flushing, _ = await bench.publish(nursery, outcome, 2, "flushes")
    _, leaving = await bench.publish(nursery, outcome, 3, "leaves")
    ends: list[object] = []

    async def pend() -> None:
        with pytest.raises(PublishError) as error:
            async with bench.publishing.publish("pending"):
                pytest.fail("entered")
        ends.append(error.value.reason)

    async def send() -> None:
        with suppress(PushError):  # the frame is dropped and counted until the block of the track has ended
            await LocalDataTrack(sending).send(b"one too many")
        ends.append("sent")

    async def flush() -> None:
        await LocalDataTrack(flushing).flush()
        ends.append("flushed")

    bench.links.unsent = 1 << 20
    for _ in range(16):
        sending.push(b"x", None)
    flushing.push(b"x", None)
    leaving.cancel()
    for task in (pend, send, flush):
        nursery.start_soon(task)
    await wait_all_tasks_blocked()
    assert (outcome, ends) == ([], [])
    before = trio.current_time()
    bench.publishing.close()
    await wait_all_tasks_blocked()
    assert trio.current_time() == before
    assert "cancelled" in outcome
    assert [error.reason for error in outcome if isinstance(error, PublishError)] == [
        PublishErrorReason.DISCONNECTED
    ] * 2
    assert set(ends) == {PublishErrorReason.DISCONNECTED, "sent", "flushed"}
    assert sending.statistics().frames_sent == 0


async def test_a_new_session_under_a_track(bench: Bench, nursery: trio.Nursery) -> None:
    """The same handle and name are asked for again. Meanwhile it is published, but takes nothing, and senders wait."""
    outcome: list[object] = []
    publication, scope = await bench.publish(nursery, outcome)
    track = LocalDataTrack(publication)
    bench.links.unsent = 1 << 20
    for _ in range(16):
        track.try_push(b"dropped with its connection")
    sent = trio.Event()

    async def send() -> None:
        await track.send(b"waits")
        sent.set()

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    bench.publishing.on_session_lost()
    await wait_all_tasks_blocked()
    assert track.is_published
    with pytest.raises(PushError) as error:
        track.try_push(b"refused")
    assert error.value.reason is PushErrorReason.NOT_CONNECTED
    assert not sent.is_set()

    old, bench.links = bench.links, TrackLinks()
    bench.publishing.on_connected(bench.links)  # type: ignore[arg-type]
    assert bench.requests == [m.PublishDataTrack(1, "track")] * 2
    await wait_all_tasks_blocked()
    assert not sent.is_set()
    bench.grant(sid="DTR_new")
    await wait_all_tasks_blocked()
    assert sent.is_set()
    track.try_push(b"and then this")
    assert track.sid == "DTR_new"
    assert [decode(message).payload for message in bench.links.sent] == [b"waits", b"and then this"]
    assert old.sent == []
    statistics = track.statistics()
    assert (statistics.frames_dropped, statistics.frames_refused, statistics.frames_sent) == (16, 1, 2)
    bench.publishing.close()
    scope.cancel()


async def test_a_server_that_does_not_take_a_track_again(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    publication, _ = await bench.publish(nursery, outcome)
    bench.publishing.on_session_lost()
    bench.publishing.on_connected(bench.links)  # type: ignore[arg-type]
    bench.publishing.on_response(m.RequestResponse(0, m.RequestReason.NOT_ALLOWED, "not any more", 1, None))
    await wait_all_tasks_blocked()
    (error,) = outcome
    assert isinstance(error, PublishError)
    assert (error.reason, error.server_message) == (PublishErrorReason.NOT_ALLOWED, "not any more")
    assert not publication.is_published


# --- flush ------------------------------------------------------------------------------------------------------------


class Flush:
    """A task that flushes a track."""

    def __init__(self, nursery: trio.Nursery, publication: Publication) -> None:
        self._publication = publication
        self.is_done = False
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        await LocalDataTrack(self._publication).flush()
        self.is_done = True


async def test_flush_with_nothing_in_flight(bench: Bench, nursery: trio.Nursery) -> None:
    publication, scope = await bench.publish(nursery, [])
    with assert_checkpoints():
        await LocalDataTrack(publication).flush()
    publication.push(b"sent, and gone already", None)
    with assert_checkpoints():
        await LocalDataTrack(publication).flush()
    assert bench.links.watch_changes == []  # nobody needs to be told of anything
    bench.publishing.close()
    scope.cancel()


@pytest.mark.parametrize("sizes", [(5,), (40_000,), (5, 40_000, 16_500, 5, 1)], ids=str)
async def test_flush_waits_until_every_packet_has_left(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock, sizes: tuple[int, ...]
) -> None:
    """A frame of one packet, one of several, and a batch."""
    nursery.start_soon(bench.publishing.keep_pace)
    publication, scope = await bench.publish(nursery, [])
    bench.links.unsent = 1 << 20
    for size in sizes:
        publication.push(bytes(size), None, counted=False)
    flush = Flush(nursery, publication)
    await trio.sleep(1)
    assert (bench.links.sent, flush.is_done) == ([], False)
    bench.links.unsent = 0
    bench.links.buffered = 1 << 20
    bench.publishing.on_progress()
    await trio.sleep(1)  # all of it is given to the channel, in its pace
    assert sum(len(decode(message).payload) for message in bench.links.sent) == sum(sizes)
    assert not flush.is_done
    for bench.links.buffered in (2000, 1):
        bench.publishing.on_progress()
        await wait_all_tasks_blocked()
        assert not flush.is_done
    bench.links.buffered = 0
    bench.publishing.on_progress()
    await wait_all_tasks_blocked()
    assert flush.is_done
    bench.publishing.on_progress()
    # The channel is looked at from when something waits here till nothing does, and then till the flush is over.
    assert bench.links.watch_changes == [True, False] * 2
    bench.publishing.close()
    scope.cancel()


@pytest.mark.parametrize("queued", [True, False])
@pytest.mark.parametrize("reset", ["links", "session", "end"])
async def test_flush_ends_with_what_it_waits_for(bench: Bench, nursery: trio.Nursery, queued: bool, reset: str) -> None:
    publication, scope = await bench.publish(nursery, [])
    bench.links.unsent, bench.links.buffered = (1 << 20) * queued, 1 << 20
    publication.push(b"x", None)
    flushes = [Flush(nursery, publication) for _ in range(2)]
    await wait_all_tasks_blocked()
    assert not any(flush.is_done for flush in flushes)
    if reset == "links":
        bench.publishing.on_links_lost()
    elif reset == "session":
        bench.publishing.on_session_lost()
    else:
        bench.publishing.close()
    await wait_all_tasks_blocked()
    assert all(flush.is_done for flush in flushes)
    bench.publishing.close()
    scope.cancel()


async def test_flush_waits_for_what_was_accepted_before_it(bench: Bench, nursery: trio.Nursery) -> None:
    outcome: list[object] = []
    publication, scope = await bench.publish(nursery, outcome)
    flushed = trio.Event()

    async def flush() -> None:
        await publication.wait_flushed()
        flushed.set()

    publication.push(b"in the channel", None)
    bench.links.buffered = size = len(bench.links.sent[0])
    nursery.start_soon(flush)
    await wait_all_tasks_blocked()
    assert bench.links.watching
    publication.push(b"accepted later", None)
    bench.links.buffered = len(bench.links.sent[1])  # of which nothing has left, while all before it has
    assert bench.links.buffered <= size
    bench.publishing.on_progress()
    await wait_all_tasks_blocked()
    assert flushed.is_set()
    bench.publishing.on_progress()
    assert not bench.links.watching
    bench.publishing.close()
    scope.cancel()


async def test_a_name_is_free_when_its_block_has_ended(bench: Bench, autojump_clock: MockClock) -> None:
    """Who publishes under it while the frames of that block still leave waits, and is not told that it is taken."""

    async def publish(name: str, handle: int, frame: bytes) -> None:
        with suppress(PublishError):  # as the room is left in the end
            async with bench.publishing.publish(name) as publication:
                assert publication.handle == handle
                publication.push(frame, None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish, "track", 1, b"x")
        await wait_all_tasks_blocked()
        bench.links.unsent = bench.links.buffered = 1 << 20
        bench.grant(1)
        await wait_all_tasks_blocked()
        nursery.start_soon(publish, "track", 3, b"y")
        await wait_all_tasks_blocked()
        nursery.start_soon(publish, "other", 2, b"z")
        await wait_all_tasks_blocked()
        assert bench.requests == [m.PublishDataTrack(1, "track"), m.PublishDataTrack(2, "other")]
        bench.links.unsent = bench.links.buffered = 0
        bench.publishing.on_progress()
        await wait_all_tasks_blocked()
        assert bench.requests[2:] == [m.UnpublishDataTrack(1), m.PublishDataTrack(3, "track")]
        assert autojump_clock.current_time() == 0  # not by waiting for a second
        bench.publishing.close()


async def test_a_publish_that_is_cancelled_already_asks_for_nothing(bench: Bench) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with bench.publishing.publish("track"):
            pytest.fail("entered")
    assert scope.cancelled_caught
    assert bench.requests == []


async def test_while_there_is_no_room_tracks_wait_and_what_is_given_up_is_never_asked_for(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench.upstream.full = True
    nursery.start_soon(bench.keep_time)

    async def publish() -> None:
        async with bench.publishing.publish("track"):
            pytest.fail("entered")

    nursery.start_soon(publish)
    await wait_all_tasks_blocked()
    with trio.move_on_after(60):  # which is no time for an answer
        async with bench.publishing.publish("given up"):
            pytest.fail("entered")
    assert bench.requests == []
    bench.upstream.full = False
    bench.publishing.on_room()
    assert bench.requests == [m.PublishDataTrack(1, "track")]
    nursery.cancel_scope.cancel()
