"""The three channels of a session on a real peer connection, with the server's end of it played by the test."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.support.connections import Connection, running
from trio_livekit._sansio.channels import ChannelClosed, ChannelOpened
from trio_livekit._sansio.channels.dcep import ACK, Open
from trio_livekit._sansio.channels.table import DataChannels
from trio_livekit._sansio.peer import Failed
from trio_livekit._sansio.sctp import Association
from trio_livekit._sansio.signal.messages import Answer, Trickle
from trio_livekit._session.labels import DATA_TRACK, LOSSY, RELIABLE
from trio_livekit._session.links import Links
from trio_livekit._session.paths import Paths
from trio_livekit._transport.peer import PeerConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("no_leaks")


class Bench:
    """Links, what they told, and the other end."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.progress: list[str] = []
        self.lost: list[str] = []
        self.is_ready = trio.Event()
        self.server: Connection
        self._told = trio.Event()
        self.links = Links(
            include_loopback=True,
            paths=Paths.ANY,
            ssl_context=None,
            on_message=self._on_message,
            on_lost=self._on_lost,
            on_ready=self.is_ready.set,
            on_path=lambda: None,
            on_candidate=self._on_candidate,
            on_progress=self._on_progress,
        )

    async def until(self, count: int, kept: list[tuple[str, bytes]] | list[str]) -> None:
        while len(kept) < count:
            self._told = trio.Event()
            await self._told.wait()

    def _on_message(self, label: str, data: bytes) -> None:
        self.messages.append((label, data))
        self._told.set()

    def _on_lost(self, text: str, is_error: bool) -> None:
        self.lost.append(text)
        self._told.set()

    def _on_progress(self, label: str) -> None:
        self.progress.append(label)
        self._told.set()

    def _on_candidate(self, trickle: Trickle) -> None:
        self.server.peer.add_remote_candidate(trickle.candidate)


@asynccontextmanager
async def linked() -> AsyncIterator[Bench]:
    """Links that are ready, and have a server."""
    bench = Bench()
    with trio.fail_after(20):
        async with running(PeerConfig(controlling=False)) as server, trio.open_nursery() as nursery:
            bench.server = server
            offer = await bench.links.prepare()
            answer = Answer(server.peer.accept_offer(offer.sdp), offer.id)
            await nursery.start(bench.links.run)
            bench.links.on_answer(answer)
            await bench.is_ready.wait()
            yield bench
            bench.links.close()


async def test_three_channels_and_what_they_promise() -> None:
    async with linked() as bench:
        for label in (RELIABLE, LOSSY, DATA_TRACK):
            await bench.server.opened(label)
        opened = [event for event in bench.server.events if isinstance(event, ChannelOpened)]
        assert {(e.label, e.ordered, e.max_retransmits, e.lifetime_ms, e.protocol) for e in opened} == {
            ("_reliable", True, None, None, ""),
            ("_lossy", False, 0, None, ""),
            ("_data_track", False, 0, None, ""),
        }
        assert len(opened) == 3
        for label in (RELIABLE, LOSSY, DATA_TRACK):
            bench.server.peer.send(await bench.server.opened(label), label.encode())
        await bench.until(3, bench.messages)
        assert set(bench.messages) == {(label, label.encode()) for label in (RELIABLE, LOSSY, DATA_TRACK)}


async def test_what_is_sent_as_soon_as_the_room_is_ready_arrives() -> None:
    """The channel of data tracks need not be open yet: what is sent on it follows its opening."""
    async with linked() as bench:
        packets = [bytes([number]) * 1000 for number in range(10)]
        bench.links.send(DATA_TRACK, packets, trio.current_time())
        channel_id = await bench.server.opened(DATA_TRACK)
        assert sorted(await bench.server.receive(10, channel_id)) == packets


async def test_links_are_ready_though_the_servers_answers_about_the_channels_are_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has acknowledged that we ask for them."""
    send = Association.send

    def send_all_but_answers(self: Association, stream_id: int, ppid: int, data: bytes, **how: Any) -> None:
        if data != ACK:
            send(self, stream_id, ppid, data, **how)

    monkeypatch.setattr(Association, "send", send_all_but_answers)
    async with linked() as bench:
        bench.links.send(RELIABLE, [b"x"], trio.current_time())
        assert await bench.server.receive(1, await bench.server.opened(RELIABLE)) == [b"x"]


async def test_channels_are_counted_and_watched_apart() -> None:
    async with linked() as bench:
        bench.links.watch_progress(DATA_TRACK, True)
        bench.links.send(DATA_TRACK, [bytes(5000)] * 3, trio.current_time())
        await bench.server.receive(3)
        await bench.until(1, bench.progress)
        assert set(bench.progress) == {DATA_TRACK}
        bench.links.watch_progress(DATA_TRACK, False)
        bench.links.watch_progress(LOSSY, True)
        bench.links.send(LOSSY, [b"x"], trio.current_time())
        del bench.progress[:]
        await bench.until(1, bench.progress)
        assert set(bench.progress) == {LOSSY}
        stats = bench.links.channel_stats()
        assert (stats[DATA_TRACK].messages_sent, stats[DATA_TRACK].bytes_sent) == (3, 15_000)
        assert (stats[LOSSY].messages_sent, stats[LOSSY].bytes_sent) == (1, 1)
        assert (stats[RELIABLE].messages_sent, stats[RELIABLE].bytes_sent) == (0, 0)


async def test_a_channel_with_another_name_is_not_listened_to() -> None:
    async with linked() as bench:
        channel_id = bench.server.peer.open_channel("another")
        await bench.server.opened("another")
        for _ in range(5):
            bench.server.peer.send(channel_id, bytes(60_000))
        bench.server.peer.send(await bench.server.opened(RELIABLE), b"after it")
        await bench.until(1, bench.messages)
        assert bench.messages == [(RELIABLE, b"after it")]
        assert set(bench.links.channel_stats()) == {RELIABLE, LOSSY, DATA_TRACK}
        bench.server.peer.close_channel(channel_id)
        await bench.server.expect(ChannelClosed)
        assert bench.lost == []


async def test_a_second_channel_of_the_server_s_is_listened_to_and_may_end() -> None:
    async with linked() as bench:
        ours = await bench.server.opened(DATA_TRACK)
        theirs = bench.server.peer.open_channel(DATA_TRACK, ordered=False, max_retransmits=0)
        await bench.server.until(lambda: bench.server.count(ChannelOpened) == 4)
        bench.server.peer.send(theirs, b"on theirs")
        bench.server.peer.send(ours, b"on ours")
        await bench.until(2, bench.messages)
        assert set(bench.messages) == {(DATA_TRACK, b"on theirs"), (DATA_TRACK, b"on ours")}
        bench.server.peer.close_channel(theirs)
        await bench.server.expect(ChannelClosed)
        bench.links.send(DATA_TRACK, [b"still on ours"], trio.current_time())
        assert await bench.server.receive(1, ours) == [b"still on ours"]
        assert bench.lost == []


@pytest.mark.parametrize("label", [RELIABLE, LOSSY])
async def test_a_server_that_closes_a_channel_ends_the_session(label: str) -> None:
    async with linked() as bench:
        bench.server.peer.close_channel(await bench.server.opened(label))
        await bench.until(1, bench.lost)
        assert bench.lost == [f"the server closed the {label} channel"]


@pytest.mark.parametrize("granted_first", [True, False])
@pytest.mark.parametrize("to_send", [True, False])
async def test_a_server_that_closes_the_channel_of_tracks_that_it_granted_ends_the_session(
    granted_first: bool, to_send: bool
) -> None:
    async with linked() as bench:
        channel_id = await bench.server.opened(DATA_TRACK)
        if granted_first:
            bench.links.use_data_tracks(to_send=to_send)
        bench.server.peer.close_channel(channel_id)
        await bench.server.expect(ChannelClosed)
        if not granted_first:
            bench.links.send(RELIABLE, [b"x"], trio.current_time())
            await bench.server.receive(1)
            assert bench.lost == []
            bench.links.use_data_tracks(to_send=to_send)
        await bench.until(1, bench.lost)
        bench.links.use_data_tracks(to_send=to_send)
        assert bench.lost == [f"the server closed the {DATA_TRACK} channel"]


async def test_a_server_that_closes_a_channel_instead_of_opening_it_ends_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def close(self: DataChannels, stream_id: int, open_: Open, now: float) -> None:
        accept(self, stream_id, open_, now)
        if open_.label == LOSSY:
            self.close(stream_id, now)

    def send_all_but_answers(self: Association, stream_id: int, ppid: int, data: bytes, **how: Any) -> None:
        if data != ACK:
            send(self, stream_id, ppid, data, **how)

    send = Association.send
    accept = DataChannels._accept
    monkeypatch.setattr(Association, "send", send_all_but_answers)
    monkeypatch.setattr(DataChannels, "_accept", close)
    async with linked() as bench:
        await bench.until(1, bench.lost)
        assert bench.lost == [f"the server closed the {LOSSY} channel"]


async def test_a_server_without_data_tracks_closes_their_channel() -> None:
    """Nothing is lost with it but what was sent on it, and nothing waits for that to leave."""
    async with linked() as bench:
        bench.server.peer.close_channel(await bench.server.opened(DATA_TRACK))
        await bench.server.expect(ChannelClosed)
        bench.links.send(DATA_TRACK, [b"for nobody"], trio.current_time())
        assert bench.links.buffered_amount(DATA_TRACK) == bench.links.unsent_amount(DATA_TRACK) == 0
        bench.links.send(RELIABLE, [b"x"], trio.current_time())
        assert await bench.server.receive(1) == [b"x"]
        assert bench.lost == []


async def test_closing_ends_all_of_it() -> None:
    async with linked() as bench:
        bench.links.watch_progress(DATA_TRACK, True)
        bench.links.close()
        bench.links.close()
        await bench.server.expect(Failed)
        bench.links.send(DATA_TRACK, [b"too late"], trio.current_time())
        bench.links.send(RELIABLE, [b"too late"], trio.current_time())
        assert bench.links.buffered_amount(DATA_TRACK) == 0
        assert (bench.messages, bench.progress, bench.lost) == ([], [], [])
