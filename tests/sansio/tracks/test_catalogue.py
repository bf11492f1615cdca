"""What the others publish, from full lists."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.signal.messages import DataTrackInfo, EncryptionType
from trio_livekit._sansio.tracks.catalogue import Catalogue, TrackPublished, TrackReassigned, TrackUnpublished

LIDAR = DataTrackInfo(1, "DTR_lidar", "lidar")
POSE = DataTrackInfo(2, "DTR_pose", "pose")


def test_publish_and_unpublish() -> None:
    catalogue = Catalogue()
    assert catalogue.update([("robot", [LIDAR])]) == [TrackPublished("robot", LIDAR)]
    assert catalogue.tracks("robot") == (LIDAR,)
    assert catalogue.update([("robot", [])]) == [TrackUnpublished("robot", LIDAR)]
    assert catalogue.tracks("robot") == ()


def test_repetition_changes_nothing() -> None:
    catalogue = Catalogue()
    events = [event for _ in range(3) for event in catalogue.update([("robot", [LIDAR, POSE])])]
    assert events == [TrackPublished("robot", LIDAR), TrackPublished("robot", POSE)]


def test_only_those_in_the_message_are_touched() -> None:
    catalogue = Catalogue()
    catalogue.update([("robot", [LIDAR]), ("arm", [POSE])])
    assert catalogue.update([("robot", [])]) == [TrackUnpublished("robot", LIDAR)]
    assert catalogue.tracks("arm") == (POSE,)


def test_a_sid_is_of_one_participant() -> None:
    catalogue = Catalogue()
    assert catalogue.update([("robot", [LIDAR]), ("arm", [LIDAR, POSE])]) == [
        TrackPublished("robot", LIDAR),
        TrackPublished("arm", POSE),
    ]
    assert catalogue.ignored == 1
    assert catalogue.update([("arm", [])]) == [TrackUnpublished("arm", POSE)]
    assert catalogue.update([("robot", [])]) == [TrackUnpublished("robot", LIDAR)]
    assert catalogue.update([("arm", [LIDAR])]) == [TrackPublished("arm", LIDAR)]


def test_publications_come_before_unpublications() -> None:
    catalogue = Catalogue()
    catalogue.update([("robot", [LIDAR])])
    assert catalogue.update([("robot", []), ("arm", [POSE])]) == [
        TrackPublished("arm", POSE),
        TrackUnpublished("robot", LIDAR),
    ]


def test_a_new_sid_for_the_same_track() -> None:
    catalogue = Catalogue()
    catalogue.update([("robot", [LIDAR, POSE])])
    moved = replace(LIDAR, sid="DTR_again")
    assert catalogue.update([("robot", [moved, POSE])]) == [TrackReassigned("robot", "DTR_lidar", moved)]
    assert set(catalogue.tracks("robot")) == {moved, POSE}


@pytest.mark.parametrize(
    "other",
    [
        DataTrackInfo(3, "DTR_new", "lidar"),
        DataTrackInfo(1, "DTR_new", "radar"),
        DataTrackInfo(1, "DTR_new", "lidar", EncryptionType.GCM),
    ],
)
def test_another_track_in_its_place(other: DataTrackInfo) -> None:
    catalogue = Catalogue()
    catalogue.update([("robot", [LIDAR])])
    assert catalogue.update([("robot", [other])]) == [
        TrackPublished("robot", other),
        TrackUnpublished("robot", LIDAR),
    ]


def test_a_new_sid_while_the_old_one_is_still_listed_is_another_track() -> None:
    catalogue = Catalogue()
    catalogue.update([("robot", [LIDAR])])
    other = replace(LIDAR, sid="DTR_second")
    assert catalogue.update([("robot", [LIDAR, other])]) == [TrackPublished("robot", other)]
    assert set(catalogue.update([("robot", [])])) == {
        TrackUnpublished("robot", LIDAR),
        TrackUnpublished("robot", other),
    }


def test_the_same_track_of_somebody_else_is_another_track() -> None:
    catalogue = Catalogue()
    catalogue.update([("robot", [LIDAR])])
    other = replace(LIDAR, sid="DTR_new")
    assert catalogue.update([("robot", []), ("arm", [other])]) == [
        TrackPublished("arm", other),
        TrackUnpublished("robot", LIDAR),
    ]


@pytest.mark.parametrize(
    "nonsense",
    [
        DataTrackInfo(1, "TR_media", "lidar"),
        DataTrackInfo(1, "", "lidar"),
        DataTrackInfo(0, "DTR_x", "lidar"),
        DataTrackInfo(65536, "DTR_x", "lidar"),
        LIDAR,
    ],
)
def test_nonsense_hides_only_itself(nonsense: DataTrackInfo) -> None:
    catalogue = Catalogue()
    assert catalogue.update([("robot", [LIDAR, nonsense, POSE])]) == [
        TrackPublished("robot", LIDAR),
        TrackPublished("robot", POSE),
    ]
    assert catalogue.ignored == 1


@pytest.mark.parametrize("encryption", [EncryptionType.CUSTOM, EncryptionType(9)])
def test_an_encryption_that_we_do_not_know_does_not_hide_the_track(encryption: EncryptionType) -> None:
    track = replace(LIDAR, encryption=encryption)
    assert Catalogue().update([("robot", [track])]) == [TrackPublished("robot", track)]


infos = st.builds(
    DataTrackInfo,
    pub_handle=st.integers(0, 4),
    sid=st.sampled_from(["DTR_1", "DTR_2", "DTR_3", "DTR_4", "TR_5"]),
    name=st.sampled_from("ab"),
)
messages = st.lists(st.tuples(st.sampled_from(["robot", "arm"]), st.lists(infos, max_size=5)), max_size=3)


@given(st.lists(messages, max_size=8))
def test_events_tell_the_whole_story(story: list[list[tuple[str, list[DataTrackInfo]]]]) -> None:
    """Whoever only follows the events has the same picture as the catalogue."""
    catalogue = Catalogue()
    picture: set[tuple[str, str]] = set()
    for message in story:
        for event in catalogue.update(message):
            match event:
                case TrackPublished(identity, info):
                    assert (identity, info.sid) not in picture
                    picture.add((identity, info.sid))
                case TrackReassigned(identity, old_sid, info):
                    picture.remove((identity, old_sid))
                    picture.add((identity, info.sid))
                case TrackUnpublished(identity, info):
                    picture.remove((identity, info.sid))
        assert len({sid for _, sid in picture}) == len(picture)
        assert picture == {(who, info.sid) for who in ("robot", "arm") for info in catalogue.tracks(who)}
