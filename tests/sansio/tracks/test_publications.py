"""Our own publications: every answer in every state, and random histories against a server that keeps the rules."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_livekit._sansio.signal.messages import (
    DataTrackInfo,
    DataTrackSchema,
    EncryptionType,
    FrameEncoding,
    PublishDataTrack,
    RequestReason,
    SchemaEncoding,
    UnpublishDataTrack,
)
from trio_livekit._sansio.tracks import publications as module
from trio_livekit._sansio.tracks.publications import (
    Publications,
    Published,
    Refused,
    Republishing,
    Unpublished,
)
from trio_livekit.errors import PublishError, PublishErrorReason


def info(handle: int, sid: str = "", name: str = "lidar") -> DataTrackInfo:
    return DataTrackInfo(handle, sid or f"DTR_{handle}", name)


def published(*names: str) -> Publications:
    """A core with these tracks up, under handles from 1."""
    core = Publications()
    for name in names or ("lidar",):
        handle = core.publish(name)
        core.poll_commands(0.0)
        core.on_published(info(handle, name=name))
    core.on_own_tracks(core.published())
    core.poll_events()
    return core


def test_publish() -> None:
    core = Publications()
    handle = core.publish("lidar", EncryptionType.GCM)
    assert core.poll_commands(1.0) == [PublishDataTrack(1, "lidar", EncryptionType.GCM)]
    assert core.poll_commands(1.0) == []
    assert core.published() == []
    core.on_published(info(handle))
    assert core.poll_events() == [Published(1, "DTR_1", "lidar")]
    assert core.poll_events() == []
    assert core.published() == [DataTrackInfo(1, "DTR_1", "lidar", EncryptionType.GCM)]
    assert core.next_timeout() is None


def test_what_is_said_of_a_track_is_said_again_to_every_session() -> None:
    core = Publications()
    schema = DataTrackSchema("Scan", SchemaEncoding.PROTOBUF)
    handle = core.publish("lidar", EncryptionType.GCM, FrameEncoding.PROTOBUF, schema)
    request = PublishDataTrack(handle, "lidar", EncryptionType.GCM, FrameEncoding.PROTOBUF, schema)
    assert core.poll_commands(0.0) == [request]
    core.on_published(info(handle))
    assert core.published() == [
        DataTrackInfo(handle, "DTR_1", "lidar", EncryptionType.GCM, FrameEncoding.PROTOBUF, schema)
    ]
    core.on_new_session()
    assert core.poll_commands(1.0) == [request]


@pytest.mark.parametrize("update_first", [True, False])
def test_the_answer_and_the_update_come_in_any_order(update_first: bool) -> None:
    core = Publications()
    core.publish("lidar")
    core.poll_commands(0.0)
    if update_first:
        core.on_own_tracks([info(1)])
        assert core.poll_events() == []
    core.on_published(info(1))
    if not update_first:
        core.on_own_tracks([])  # older than the grant: not a removal
    core.on_own_tracks([info(1)])
    assert core.poll_events() == [Published(1, "DTR_1", "lidar")]


def test_a_second_grant_changes_nothing() -> None:
    core = published()
    core.on_published(info(1))
    assert core.poll_events() == []
    assert core.published() == [info(1)]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (RequestReason.NOT_ALLOWED, PublishErrorReason.NOT_ALLOWED),
        (RequestReason.DUPLICATE_NAME, PublishErrorReason.DUPLICATE_NAME),
        (RequestReason.INVALID_NAME, PublishErrorReason.INVALID_NAME),
        (RequestReason.LIMIT_EXCEEDED, PublishErrorReason.LIMIT_REACHED),
        (RequestReason.INVALID_HANDLE, PublishErrorReason.UNKNOWN),
        (RequestReason.DUPLICATE_HANDLE, PublishErrorReason.UNKNOWN),
        (RequestReason.INVALID_REQUEST, PublishErrorReason.UNKNOWN),
        (RequestReason(77), PublishErrorReason.UNKNOWN),
    ],
)
def test_refusals_keep_the_number_and_the_words(reason: RequestReason, expected: PublishErrorReason) -> None:
    core = Publications()
    core.publish("lidar")
    core.poll_commands(0.0)
    core.on_refused(1, reason, "the server's words")
    assert core.poll_events() == [Refused(1, expected, int(reason), "the server's words")]
    assert core.next_timeout() is None
    assert core.publish("lidar") == 2  # a refused attempt burns its handle


@pytest.mark.parametrize("reason", [RequestReason.OK, RequestReason.QUEUED])
def test_ok_and_queued_are_not_answers_yet(reason: RequestReason) -> None:
    core = Publications()
    core.publish("lidar")
    core.poll_commands(0.0)
    core.on_refused(1, reason, "")
    core.on_published(info(1))
    assert core.poll_events() == [Published(1, "DTR_1", "lidar")]


def test_unpublish_is_sent_once_and_is_quiet_after_that() -> None:
    core = published()
    core.unpublish(1)
    core.unpublish(1)
    assert core.poll_events() == [Unpublished(1, by_server=False)]
    assert core.poll_commands(0.0) == [UnpublishDataTrack(1)]
    core.unpublish(1)
    core.on_unpublished(info(1))
    core.unpublish(1)
    assert core.poll_commands(0.0) == []
    assert core.poll_events() == []
    assert core.next_timeout() is None


def test_the_server_may_have_been_first() -> None:
    core = published()
    core.unpublish(1)
    core.poll_commands(0.0)
    core.on_own_tracks([])
    core.on_unpublish_refused(1)
    assert core.poll_events() == [Unpublished(1, by_server=False)]
    assert core.next_timeout() is None


@pytest.mark.parametrize("told", ["by the list", "by a message"])
def test_the_server_takes_a_track_away(told: str) -> None:
    core = published("a", "b")
    if told == "by the list":
        core.on_own_tracks([info(2, name="b")])
    else:
        core.on_unpublished(info(1, name="a"))
    assert core.poll_events() == [Unpublished(1, by_server=True)]
    assert core.published() == [info(2, name="b")]
    core.unpublish(1)
    assert core.poll_commands(0.0) == []


def test_taken_away_right_after_it_was_granted() -> None:
    core = Publications()
    core.publish("lidar")
    core.poll_commands(0.0)
    core.on_own_tracks([info(1)])
    core.on_published(info(1))
    core.on_own_tracks([])
    assert core.poll_events() == [Published(1, "DTR_1", "lidar"), Unpublished(1, by_server=True)]


def test_publish_unpublish_publish_takes_a_new_handle() -> None:
    core = published()
    core.unpublish(1)
    assert core.publish("lidar") == 2
    assert core.poll_commands(0.0) == [UnpublishDataTrack(1), PublishDataTrack(2, "lidar")]


class TestAbandoned:
    def test_before_the_request_left(self) -> None:
        core = Publications()
        core.unpublish(core.publish("lidar"))
        assert core.poll_commands(0.0) == []
        assert core.poll_events() == []

    def test_before_the_answer(self) -> None:
        core = Publications()
        handle = core.publish("lidar")
        core.poll_commands(0.0)
        core.unpublish(handle)
        assert core.poll_commands(0.0) == [UnpublishDataTrack(1)]
        core.on_published(info(1))  # was on its way; the request behind it undoes it
        core.on_unpublished(info(1))
        assert core.poll_commands(0.0) == []
        assert core.poll_events() == []

    def test_before_a_refusal(self) -> None:
        core = Publications()
        handle = core.publish("lidar")
        core.poll_commands(0.0)
        core.unpublish(handle)
        core.poll_commands(0.0)
        core.on_refused(handle, RequestReason.INVALID_NAME, "")
        core.on_unpublish_refused(handle)
        assert core.poll_events() == []
        assert core.next_timeout() is None

    def test_by_time(self) -> None:
        core = Publications()
        core.publish("lidar")
        core.poll_commands(5.0)
        assert core.next_timeout() == 15.0
        core.handle_timeout(14.9)
        assert core.poll_events() == []
        core.handle_timeout(15.0)
        assert core.poll_events() == [Refused(1, PublishErrorReason.TIMEOUT)]
        assert core.poll_commands(15.0) == [UnpublishDataTrack(1)]
        core.on_published(info(1))
        assert core.poll_events() == []
        core.handle_timeout(30.0)
        assert core.next_timeout() is None

    def test_forgotten_altogether(self) -> None:
        core = Publications()
        core.on_published(info(9))
        assert core.poll_commands(0.0) == [UnpublishDataTrack(9)]
        assert core.poll_events() == []


class TestNewSession:
    def test_everything_is_published_again_under_its_handle(self) -> None:
        core = published("a", "b")
        core.unpublish(core.publish("gone"))
        core.on_new_session()
        assert core.poll_events() == [Republishing(1), Republishing(2)]
        assert core.published() == []
        assert core.poll_commands(0.0) == [PublishDataTrack(1, "a"), PublishDataTrack(2, "b")]
        core.on_own_tracks([])  # the new session starts with none, which means nothing
        core.on_published(info(1, "DTR_new", "a"))
        assert core.poll_events() == [Published(1, "DTR_new", "a")]
        assert core.published() == [info(1, "DTR_new", "a")]

    def test_a_refusal_ends_the_track(self) -> None:
        core = published()
        core.on_new_session()
        core.poll_commands(0.0)
        core.on_refused(1, RequestReason.NOT_ALLOWED, "no")
        assert core.poll_events() == [Republishing(1), Refused(1, PublishErrorReason.NOT_ALLOWED, 2, "no")]

    def test_a_pending_request_is_repeated(self) -> None:
        core = Publications()
        core.publish("lidar")
        core.poll_commands(0.0)
        core.on_new_session()
        assert core.poll_events() == []
        assert core.poll_commands(0.0) == [PublishDataTrack(1, "lidar")]

    def test_what_was_leaving_is_gone(self) -> None:
        core = published()
        core.unpublish(1)
        core.on_new_session()
        assert core.poll_commands(0.0) == []

    @pytest.mark.parametrize("requested", [True, False])
    def test_unpublish_while_republishing(self, requested: bool) -> None:
        core = published()
        core.on_new_session()
        if requested:
            core.poll_commands(0.0)
        core.unpublish(1)
        assert core.poll_commands(0.0) == ([UnpublishDataTrack(1)] if requested else [])
        assert core.poll_events() == [Republishing(1), Unpublished(1, by_server=False)]

    def test_twice_before_it_came_up(self) -> None:
        core = published()
        core.on_new_session()
        core.poll_commands(0.0)
        core.on_new_session()
        assert core.poll_events() == [Republishing(1)]
        assert core.poll_commands(0.0) == [PublishDataTrack(1, "lidar")]


class TestResumed:
    def test_nothing_changes_for_what_is_still_there(self) -> None:
        core = published()
        core.on_signal_lost()
        core.on_resumed([info(1)])
        assert core.poll_events() == []
        assert core.poll_commands(0.0) == []

    def test_what_is_missing_was_taken_away(self) -> None:
        core = published()
        core.on_resumed([])
        assert core.poll_events() == [Unpublished(1, by_server=True)]

    def test_no_deadline_runs_while_the_signal_is_away(self) -> None:
        core = Publications()
        core.publish("lidar")
        core.poll_commands(0.0)
        core.on_signal_lost()
        assert core.next_timeout() is None
        core.handle_timeout(60.0)
        assert core.poll_events() == []

    def test_a_lost_answer_is_read_from_the_list(self) -> None:
        core = Publications()
        core.publish("lidar")
        core.poll_commands(0.0)
        core.on_resumed([info(1)])
        assert core.poll_events() == [Published(1, "DTR_1", "lidar")]
        assert core.poll_commands(0.0) == []

    def test_a_lost_request_is_repeated(self) -> None:
        core = Publications()
        core.publish("lidar")
        core.poll_commands(0.0)
        core.on_resumed([])
        assert core.poll_commands(60.0) == [PublishDataTrack(1, "lidar")]
        assert core.next_timeout() == 70.0

    def test_a_request_that_was_not_lost_after_all(self) -> None:
        core = Publications()
        core.publish("lidar")
        core.poll_commands(0.0)
        core.on_resumed([])
        core.poll_commands(0.0)
        core.on_refused(1, RequestReason.DUPLICATE_HANDLE, "")
        assert core.poll_events() == []
        core.on_own_tracks([info(1)])
        assert core.poll_events() == [Published(1, "DTR_1", "lidar")]

    def test_unpublish_of_a_request_that_may_have_arrived(self) -> None:
        core = Publications()
        core.publish("lidar")
        core.poll_commands(0.0)
        core.on_resumed([])
        core.unpublish(1)
        assert core.poll_commands(0.0) == [UnpublishDataTrack(1)]

    @pytest.mark.parametrize("still_there", [True, False])
    def test_a_lost_unpublish_is_repeated(self, still_there: bool) -> None:
        core = published()
        core.unpublish(1)
        core.poll_commands(0.0)
        core.on_resumed([info(1)] if still_there else [])
        assert core.poll_commands(0.0) == ([UnpublishDataTrack(1)] if still_there else [])

    def test_a_ghost_is_removed(self) -> None:
        core = Publications()
        core.on_resumed([info(5)])
        assert core.poll_commands(0.0) == [UnpublishDataTrack(5)]


def test_disconnected() -> None:
    core = published()
    core.publish("pending")
    core.on_disconnected()
    assert core.poll_events() == [Unpublished(1, by_server=False), Refused(2, PublishErrorReason.DISCONNECTED)]
    assert core.poll_commands(0.0) == []


def test_a_burst_goes_out_in_portions() -> None:
    core = Publications(max_in_flight=3)
    for index in range(5):
        core.publish(str(index))
    first = core.poll_commands(0.0)
    assert [command.pub_handle for command in first] == [1, 2, 3]
    core.on_published(info(2))
    core.on_refused(1, RequestReason.NOT_ALLOWED, "")
    assert [command.pub_handle for command in core.poll_commands(0.0)] == [4, 5]


def test_handles_come_round_again_when_all_have_been_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HANDLE", 3)
    core = published("a", "b")
    core.unpublish(core.publish("c"))
    assert core.publish("d") == 3
    core.on_own_tracks([info(2, name="b")])
    assert core.publish("e") == 1
    with pytest.raises(PublishError) as caught:
        core.publish("f")
    assert caught.value.reason is PublishErrorReason.LIMIT_REACHED


class Histories(RuleBasedStateMachine):
    """The core against a server that keeps the rules, over connections that break at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Publications(max_in_flight=2)
        self.now = 0.0
        self.to_server: deque[PublishDataTrack | UnpublishDataTrack] = deque()
        self.to_client: deque[tuple[str, object]] = deque()
        self.server: dict[int, DataTrackInfo] = {}
        self.sids = 0
        self.wanted: dict[int, str] = {}
        self.up: dict[int, str] = {}

    @rule(name=st.sampled_from("abc"))
    def publish(self, name: str) -> None:
        self.wanted[self.core.publish(name)] = name

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def unpublish(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(sorted(self.wanted)))
        del self.wanted[handle]
        self.core.unpublish(handle)

    @rule()
    def send(self) -> None:
        self.to_server.extend(self.core.poll_commands(self.now))

    @precondition(lambda self: self.to_server)
    @rule()
    def serve(self) -> None:
        request = self.to_server.popleft()
        handle = request.pub_handle
        if isinstance(request, UnpublishDataTrack):
            removed = self.server.pop(handle, None)
            if removed is None:
                self.to_client.append(("unpublish refused", handle))
            else:
                self.announce()
                self.to_client.append(("unpublished", removed))
        elif handle in self.server:
            self.to_client.append(("refused", (handle, RequestReason.DUPLICATE_HANDLE)))
        elif request.name in (track.name for track in self.server.values()):
            self.to_client.append(("refused", (handle, RequestReason.DUPLICATE_NAME)))
        else:
            self.sids += 1
            self.server[handle] = info(handle, f"DTR_{self.sids}", request.name)
            self.announce()
            self.to_client.append(("published", self.server[handle]))

    def announce(self) -> None:
        self.to_client.append(("own tracks", list(self.server.values())))

    @precondition(lambda self: self.server)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        del self.server[data.draw(st.sampled_from(sorted(self.server)))]
        self.announce()

    @precondition(lambda self: self.to_client)
    @rule()
    def hear(self) -> None:
        kind, value = self.to_client.popleft()
        match kind, value:
            case "published", DataTrackInfo():
                self.core.on_published(value)
            case "unpublished", DataTrackInfo():
                self.core.on_unpublished(value)
            case "refused", (handle, reason):
                self.core.on_refused(handle, reason, "")
            case "unpublish refused", int():
                self.core.on_unpublish_refused(value)
            case "own tracks", list():
                self.core.on_own_tracks(value)
        self.read()

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """The connection breaks: some requests still arrive, no answer does."""
        self.core.on_signal_lost()
        for _ in range(data.draw(st.integers(0, len(self.to_server)))):
            self.serve()
        self.to_server.clear()
        self.to_client.clear()
        self.core.on_resumed(list(self.server.values()))
        self.read()

    @rule()
    def rejoin(self) -> None:
        self.to_server.clear()
        self.to_client.clear()
        self.server.clear()
        self.core.on_new_session()
        self.read()

    @rule()
    def wait(self) -> None:
        self.now += 4.0
        self.core.handle_timeout(self.now)
        self.read()

    def read(self) -> None:
        for event in self.core.poll_events():
            match event:
                case Published(handle, sid):
                    assert handle in self.wanted
                    assert handle not in self.up
                    self.up[handle] = sid
                case Republishing(handle):
                    assert self.up.pop(handle, None) is not None
                case Refused(handle):
                    assert handle not in self.up
                    del self.wanted[handle]
                case Unpublished(handle, by_server):
                    self.up.pop(handle, None)
                    assert (handle in self.wanted) == by_server
                    self.wanted.pop(handle, None)

    @invariant()
    def what_is_up_is_what_the_core_says(self) -> None:
        self.read()
        assert {track.pub_handle: track.sid for track in self.core.published()} == self.up

    def teardown(self) -> None:
        """Left in peace, both ends agree, and nothing that nobody wants is left on the server."""
        for _ in range(100):
            self.send()
            while self.to_server:
                self.serve()
            while self.to_client:
                self.hear()
            deadline = self.core.next_timeout()
            if deadline is not None:
                self.now = deadline
                self.core.handle_timeout(self.now)
        self.read()
        assert {handle: track.sid for handle, track in self.server.items()} == self.up
        assert set(self.up) == set(self.wanted)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
