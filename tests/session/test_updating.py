"""Requests about oneself whose answers a server cannot be made to withhold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.session.fakes import Upstream
from trio_livekit._sansio.signal import messages as m
from trio_livekit._session.inquiries import Inquiries
from trio_livekit._session.updating import TrackSubscriptionPermission, Updating
from trio_livekit.errors import UpdateError, UpdateErrorReason

if TYPE_CHECKING:
    from trio.testing import MockClock


class Bench:
    def __init__(self) -> None:
        self.upstream = Upstream()
        self.requests = self.upstream.requests
        self.tracks: list[m.DataTrackInfo] = []
        self.inquiries = Inquiries(self.upstream)
        self.updating = Updating(self.upstream, self.inquiries, lambda: self.tracks)

    def answer(self, number: int, reason: m.RequestReason = m.RequestReason.OK, text: str = "") -> None:
        self.inquiries.on_answer(m.RequestResponse(number, reason, text))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_no_answer(bench: Bench, autojump_clock: MockClock) -> None:
    started = trio.current_time()
    with pytest.raises(UpdateError) as error:
        await bench.updating.update(name="x")
    assert error.value.reason is UpdateErrorReason.TIMEOUT
    assert trio.current_time() - started == pytest.approx(5.0)
    bench.answer(1)  # too late, and that is no error


async def test_time_without_a_connection_does_not_count(bench: Bench, autojump_clock: MockClock) -> None:
    async def lose_and_regain() -> None:
        await trio.sleep(4)
        bench.inquiries.on_signal_lost()
        await trio.sleep(60)
        bench.inquiries.on_connected()
        await trio.sleep(4)
        bench.answer(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose_and_regain)
        await bench.updating.update(name="x")
    assert bench.requests == [m.UpdateMetadata(1, name="x")] * 2


async def test_answers_are_told_apart(bench: Bench) -> None:
    outcome: dict[str, object] = {}

    async def update(name: str) -> None:
        try:
            await bench.updating.update(name=name)
            outcome[name] = "made"
        except UpdateError as error:
            outcome[name] = error.reason, error.code, error.server_message

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(update, name)
            await wait_all_tasks_blocked()
        numbers = {
            request.name: request.request_id for request in bench.requests if isinstance(request, m.UpdateMetadata)
        }
        bench.answer(numbers["c"], m.RequestReason.UNCLASSIFIED_ERROR, "what?")
        bench.answer(numbers["b"], m.RequestReason.NOT_ALLOWED)
        bench.answer(numbers["a"])
        bench.answer(numbers["a"], m.RequestReason.NOT_ALLOWED)
        bench.answer(99)
    assert outcome == {
        "a": "made",
        "b": (UpdateErrorReason.NOT_ALLOWED, 2, ""),
        "c": (UpdateErrorReason.UNKNOWN, 6, "what?"),
    }


async def test_a_cancelled_request_is_forgotten(bench: Bench) -> None:
    with trio.move_on_after(0):
        await bench.updating.update(name="x")
    with trio.move_on_after(0.001):
        await bench.updating.update(name="y")
    bench.inquiries.on_connected()
    assert bench.requests == [m.UpdateMetadata(1, name="y")]


def test_permissions_by_name(bench: Bench) -> None:
    bench.updating.permit((TrackSubscriptionPermission("bob", ("a", "b")), TrackSubscriptionPermission("carol")))
    carol = m.TrackPermission(participant_identity="carol", all_tracks=True)
    assert bench.requests == [m.SubscriptionPermission(False, (m.TrackPermission(participant_identity="bob"), carol))]
    bench.tracks = [m.DataTrackInfo(1, "DTR_b", "b"), m.DataTrackInfo(2, "DTR_x", "x")]
    bench.updating.on_track_published("b")
    bench.updating.on_track_published("x")
    bob = m.TrackPermission(participant_identity="bob", track_sids=("DTR_b",))
    assert bench.requests[1:] == [m.SubscriptionPermission(False, (bob, carol))]
    bench.updating.permit(None)
    assert bench.requests[2:] == [m.SubscriptionPermission(True)]


async def test_while_there_is_no_room_requests_wait_and_of_permissions_the_last_is_said(
    bench: Bench, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench.upstream.full = True
    outcome: list[str] = []

    async def update() -> None:
        await bench.updating.update(name="x")
        outcome.append("made")

    async def give_up() -> None:
        with trio.move_on_after(1):
            await bench.updating.update(name="never asked for")

    nursery.start_soon(update)
    nursery.start_soon(give_up)
    for identity in ("a", "b", "c"):
        bench.updating.permit((TrackSubscriptionPermission(identity),))
    await trio.sleep(60)  # which is no time for an answer
    assert bench.requests == []
    bench.upstream.full = False
    bench.updating.on_room()
    bench.inquiries.on_room()
    said, asked = bench.requests
    assert isinstance(said, m.SubscriptionPermission)
    assert [permission.participant_identity for permission in said.track_permissions] == ["c"]
    assert isinstance(asked, m.UpdateMetadata)
    assert asked.name == "x"
    bench.answer(asked.request_id)
    await wait_all_tasks_blocked()
    assert outcome == ["made"]
    bench.updating.on_room()
    bench.inquiries.on_room()
    assert len(bench.requests) == 2
