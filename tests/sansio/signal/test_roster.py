"""Who is in the room, from updates that are merged, repeated, late, or about people never heard of."""

from __future__ import annotations

from dataclasses import replace

from trio_livekit._sansio.signal.messages import DisconnectReason, ParticipantInfo, ParticipantState
from trio_livekit._sansio.signal.roster import Changed, Joined, Left, Roster, SelfChanged

ME = ParticipantInfo("PA_me", "me", version=1)
ANN = ParticipantInfo("PA_ann", "ann", state=ParticipantState.ACTIVE, version=3)
BOB = ParticipantInfo("PA_bob", "bob", state=ParticipantState.ACTIVE, version=1)


def gone(info: ParticipantInfo, reason: DisconnectReason = DisconnectReason.CLIENT_INITIATED) -> ParticipantInfo:
    return replace(info, state=ParticipantState.DISCONNECTED, disconnect_reason=reason)


def test_those_who_are_there_on_joining() -> None:
    roster = Roster(ME, [ANN, gone(BOB)])
    assert list(roster) == [ANN]
    assert roster.get("ann") is ANN
    assert roster.get("bob") is None
    assert roster.get("me") is None


def test_coming_changing_and_going() -> None:
    roster = Roster(ME)
    renamed = replace(ANN, name="Ann", version=4)
    assert roster.apply([ANN]) == [Joined(ANN)]
    assert roster.apply([renamed]) == [Changed(ANN, renamed)]
    assert roster.apply([gone(renamed)]) == [Left(renamed, DisconnectReason.CLIENT_INITIATED)]
    assert list(roster) == []


def test_repetition_changes_nothing_and_equal_versions_count() -> None:
    roster = Roster(ME, [ANN])
    assert roster.apply([ANN, ANN]) == []
    same_version = replace(ANN, metadata="new")
    assert roster.apply([same_version]) == [Changed(ANN, same_version)]


def test_what_is_older_is_ignored() -> None:
    roster = Roster(ME, [ANN])
    assert roster.apply([replace(ANN, name="old", version=2), replace(ME, name="old", version=0)]) == []
    assert roster.get("ann") is ANN
    assert roster.local is ME


def test_the_end_of_somebody_never_seen_is_ignored() -> None:
    roster = Roster(ME, [ANN])
    refused = gone(replace(BOB, sid="PA_refused"), DisconnectReason.JOIN_FAILURE)
    assert roster.apply([refused]) == []
    late = gone(replace(ANN, sid="PA_older"))
    assert roster.apply([late]) == []
    assert roster.get("ann") is ANN


def test_a_new_sid_is_a_new_session_of_the_same_identity() -> None:
    roster = Roster(ME, [ANN])
    again = replace(ANN, sid="PA_ann2", version=0)
    assert roster.apply([again]) == [Left(ANN, DisconnectReason.UNKNOWN_REASON), Joined(again)]
    assert roster.apply([gone(ANN)]) == []
    assert roster.get("ann") is again


def test_oneself() -> None:
    roster = Roster(ME)
    renamed = replace(ME, name="Me", version=2)
    assert roster.apply([renamed]) == [SelfChanged(ME, renamed)]
    assert roster.local is renamed
    assert roster.apply([gone(renamed), replace(renamed, sid="PA_other_session", name="not me")]) == []
    assert list(roster) == []


def test_a_session_before_ours_is_nobody_else() -> None:
    roster = Roster(ME)
    before = replace(ME, sid="PA_before")
    assert roster.replace(ME, [before, ANN]) == [SelfChanged(ME, ME), Joined(ANN)]
    assert list(roster) == [ANN]
    assert roster.apply([gone(before)]) == []


def test_a_complete_list_says_who_left() -> None:
    roster = Roster(ME, [ANN, BOB])
    events = roster.replace(ME, [BOB])
    assert Left(ANN, DisconnectReason.UNKNOWN_REASON) in events
    assert list(roster) == [BOB]
    assert roster.retain({"PA_nobody"}) == [Left(BOB, DisconnectReason.UNKNOWN_REASON)]
