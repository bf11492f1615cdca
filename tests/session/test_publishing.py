"""Publishing on links that remember: refusals, timeouts, queues and ends that a server cannot be made to show."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.session.fakes import FakeLinks
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.publishing import Publication, Publishing
from trio_livekit.data_tracks import LocalDataTrack
from trio_livekit.errors import PublishError, PublishErrorReason, PushError, PushErrorReason

if TYPE_CHECKING:
    from trio.testing import MockClock


class Bench:
    """Publishing, with the server played by the test."""

    def __init__(self) -> None:
        self.requests: list[m.Request] = []
        self.links = FakeLinks()
        self.publishing = Publishing(self.requests.append, self.links, lambda _: None)  # type: ignore[arg-type]

    async def keep_time(self) -> None:
        while True:
            self.publishing.handle_timeout(trio.current_time())
            await trio.sleep(0.001 if self.publishing.next_timeout() is None else 0.05)

    def grant(self, handle: int = 1, name: str = "track") -> None:
        info = m.DataTrackInfo(handle, f"DTR_{handle}", name)
        self.publishing.on_response(m.DataTrackPublished(info))
        self.publishing.on_own_tracks((info,))

    def confirm_unpublished(self, handle: int = 1) -> None:
        self.publishing.on_response(m.DataTrackUnpublished(m.DataTrackInfo(handle, f"DTR_{handle}", "track")))

    async def publish(self, nursery: trio.Nursery, outcome: list[object]) -> tuple[Publication, trio.CancelScope]:
        """A task with a granted track; what its block ends with goes to ``outcome``."""
        opened: list[Publication] = []
        scope = trio.CancelScope()

        async def block() -> None:
            try:
                with scope:
                    async with self.publishing.publish("track") as publication:
                        opened.append(publication)
                        await trio.sleep_forever()
                outcome.append("cancelled")
            except PublishError as error:
                outcome.append(error)

        nursery.start_soon(block)
        await wait_all_tasks_blocked()
        self.grant()
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


async def test_a_publish_that_is_cancelled_already_asks_for_nothing(bench: Bench) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with bench.publishing.publish("track"):
            pytest.fail("entered")
    assert scope.cancelled_caught
    assert bench.requests == []
