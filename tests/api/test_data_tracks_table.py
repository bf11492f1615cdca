"""What the suites of other clients assert of data tracks, and which tests here assert it.

The rows are behaviours, by the layer that has them; each names the tests that would fail without it. Where this client
differs on purpose, the row says how. Tests of both servers are named once: their fixtures run them on either. Left out
is what is about the insides of another client.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

PACKET = "sansio/tracks/test_packet.py"
PACKETIZER = "sansio/tracks/test_packetizer.py"
DEPACKETIZER = "sansio/tracks/test_depacketizer.py"
CLOCK = "sansio/tracks/test_clock.py"
QUEUE = "sansio/tracks/test_send_queue.py"
PUBLICATIONS = "sansio/tracks/test_publications.py"
SUBSCRIPTIONS = "sansio/tracks/test_subscriptions.py"
CATALOGUE = "sansio/tracks/test_catalogue.py"
PUBLISHING = "session/test_publishing.py"
SUBSCRIBING = "session/test_subscribing.py"
TRACKS = "api/test_data_tracks.py"
SCHEMAS = "api/test_data_track_schemas.py"
ENCRYPTION = "api/test_encryption.py"
RECONNECT = "api/test_reconnect.py"
OWN = "api/test_own_participant.py"

ROWS: dict[str, tuple[str, ...]] = {
    # --- packets ------------------------------------------------------------------------------------------------------
    "any packet comes back from its bytes": (f"{PACKET}::test_round_trip",),
    "final packet with both extensions, its bytes and sizes": (
        f"{PACKET}::test_final_with_both_extensions_byte_for_byte",
        f"{PACKET}::test_sizes_of_extension_blocks",
    ),
    "single packet, its bytes": (f"{PACKET}::test_single_byte_for_byte",),
    "start packet with encryption only": (f"{PACKET}::test_start_with_encryption_only",),
    "an MTU too small for the header (encoding returns bytes: there is no buffer to be too small)": (
        f"{PACKETIZER}::test_vector",
    ),
    "short, overrun and other versions; base header; long, short and unknown extensions; handle 0": (
        f"{PACKET}::test_vector",
    ),
    "a block of padding only": (f"{PACKET}::test_a_block_of_padding_only",),
    "encryption and timestamp extensions": (
        f"{PACKET}::test_vector",
        f"{PACKET}::test_captured_packets_decode_and_encode_to_the_same_bytes",
    ),
    "a block cut by one byte": (f"{PACKET}::test_a_block_cut_by_one_byte_is_refused",),
    "arbitrary bytes never crash": (
        f"{PACKET}::test_any_bytes_decode_or_raise_decode_error",
        f"{PACKET}::test_any_extension_block",
    ),
    "the clock at its base, and time that goes back": (
        f"{CLOCK}::test_vector",
        f"{CLOCK}::test_never_goes_back",
        f"{CLOCK}::test_before_it_started_it_stands_at_its_base",
    ),
    "handles are 1 to 65535": (f"{PUBLICATIONS}::test_handles_come_round_again_when_all_have_been_used",),
    "chunks: so many, all full but the last": (f"{PACKETIZER}::test_packets_hold_the_frame_in_order",),
    "the server rewrites the handle and keeps extensions": (
        f"{PACKET}::test_what_the_server_forwards_still_decodes",
        "server/test_forwarding.py::test_extensions_pass_unchanged",
        "server/test_forwarding.py::test_what_is_no_packet_of_a_track_is_dropped_and_counted",
    ),
    # --- frames into packets ------------------------------------------------------------------------------------------
    "markers, sequence and frame numbers, extensions on all packets": (
        f"{PACKETIZER}::test_vector",
        f"{PACKETIZER}::test_packets_hold_the_frame_in_order",
    ),
    "300 bytes in packets of 100": (f"{PACKETIZER}::test_frame_of_300_bytes_in_packets_of_100",),
    "32000 bytes with a timestamp": (f"{PACKETIZER}::test_vector",),
    "one packet of 1024 makes a frame": (
        f"{DEPACKETIZER}::test_vector",
        f"{TRACKS}::test_frames_of_all_sizes_arrive_whole",
    ),
    "5 and 24000 bytes": (f"{PACKETIZER}::test_vector",),
    "with encryption: said when publishing, payload changed, extension there": (
        f"{ENCRYPTION}::test_frames_of_all_sizes_arrive",
        f"{ENCRYPTION}::test_what_travels_is_not_what_was_pushed",
    ),
    # --- packets into frames ------------------------------------------------------------------------------------------
    "0, 8 and 126 packets between; frames in a row": (f"{DEPACKETIZER}::test_frames_of_many_packets",),
    "interrupted, incomplete, unknown, full, duplicates, out of order, evictions": (
        f"{DEPACKETIZER}::test_vector",
        f"{DEPACKETIZER}::test_any_packets_against_the_model",
    ),
    "10 starts at capacity 5": (f"{DEPACKETIZER}::test_ten_starts_at_capacity_five_keep_the_last_five",),
    "three interleaved frames": (f"{DEPACKETIZER}::test_three_interleaved_frames_stay_apart",),
    "capacity changed between packets": (f"{DEPACKETIZER}::test_capacity_may_grow_and_shrink_between_packets",),
    # --- publishing ---------------------------------------------------------------------------------------------------
    "publish: request, answer, name and SID; leaving the block unpublishes": (
        f"{PUBLICATIONS}::test_publish",
        f"{PUBLISHING}::test_leaving_waits_for_the_confirmation",
        f"{TRACKS}::test_leaving_the_block_sends_what_was_accepted_first",
    ),
    "publish refused": (f"{PUBLISHING}::test_every_refusal_has_a_type",),
    "publish cancelled midway": (f"{PUBLISHING}::test_cancelled_while_the_answer_is_awaited",),
    "publish cancelled before it began": (f"{PUBLISHING}::test_a_publish_that_is_cancelled_already_asks_for_nothing",),
    "publish, unpublish, publish: another handle": (
        f"{PUBLICATIONS}::test_publish_unpublish_publish_takes_a_new_handle",
        f"{TRACKS}::test_a_name_is_free_again_at_once",
    ),
    "unpublish": (f"{PUBLICATIONS}::test_unpublish_is_sent_once_and_is_quiet_after_that",),
    "republished after a full reconnect: same handle, new SID, pushing refused meanwhile": (
        f"{PUBLICATIONS}::test_everything_is_published_again_under_its_handle",
        f"{RECONNECT}::test_pushing_while_there_is_no_session",
        f"{RECONNECT}::test_another_session_under_the_same_blocks",
    ),
    "what is published can be asked for (as statistics, by name)": (
        "api/test_stats.py::test_what_went_through_a_room",
    ),
    "the session ends with one pending and one published": (
        f"{PUBLISHING}::test_a_session_that_ends_while_the_answer_is_awaited",
        f"{PUBLISHING}::test_the_session_ends_under_a_track",
    ),
    "flush": (
        f"{PUBLISHING}::test_flush_waits_for_what_was_accepted_before_it",
        f"{TRACKS}::test_a_full_queue_refuses_the_newest_and_send_waits_for_room",
    ),
    "requests and responses on the wire": (
        "wire/test_signal_round_trips.py::test_requests",
        "wire/test_signal_round_trips.py::test_responses",
    ),
    "schemas and encodings that do not go together": (
        "sansio/tracks/test_schema.py::test_every_pair",
        f"{SCHEMAS}::test_what_does_not_go_together_is_refused_before_the_server_is_asked",
    ),
    "the send queue: frames are kept whole (the newest is refused, where others evict the oldest)": (
        f"{QUEUE}::test_every_frame_leaves_whole_and_in_order_or_is_counted",
        f"{QUEUE}::test_the_newest_frame_of_a_full_track_is_refused_and_others_are_not",
        f"{TRACKS}::test_frames_that_cannot_be_sent_are_refused_and_counted",
    ),
    "three channels, known by their labels, counted apart": (
        "api/test_stats.py::test_what_went_through_a_room",
        "api/test_connect.py::test_an_older_server_with_two_peer_connections",
    ),
    # --- subscribing --------------------------------------------------------------------------------------------------
    "a list with a track and then without": (
        f"{CATALOGUE}::test_publish_and_unpublish",
        f"{TRACKS}::test_whoever_waits_for_the_end_of_a_track_hears_of_it",
    ),
    "the same list three times": (f"{SUBSCRIBING}::test_repetition_tells_nothing_new",),
    "another SID, with and without readers; packets under the old handle": (
        f"{SUBSCRIBING}::test_a_publisher_that_comes_back_keeps_its_tracks_and_readers",
    ),
    "giving up after another SID": (
        f"{SUBSCRIBING}::test_a_reader_that_is_closed_after_its_track_has_a_new_sid",
        f"{SUBSCRIBING}::test_a_subscribe_that_is_cancelled_after_its_track_has_a_new_sid",
    ),
    "subscribe and one packet; several readers; the last one unsubscribes, once": (
        f"{SUBSCRIBING}::test_several_readers_are_one_request",
        f"{TRACKS}::test_several_readers_all_get_every_frame",
    ),
    "subscribe with encryption": (f"{ENCRYPTION}::test_several_tracks_and_readers_under_one_key",),
    "an unknown track is an error (a track is an object here: it has ended)": (
        f"{TRACKS}::test_unpublishing_ends_the_reader_normally",
    ),
    "unpublished while pending": (f"{SUBSCRIBING}::test_a_track_that_ends_while_it_is_being_subscribed",),
    "unpublished while it is read": (f"{SUBSCRIBING}::test_a_track_that_ends_while_it_is_being_read",),
    "the only reader gives up; what comes after it is quiet": (
        f"{SUBSCRIBING}::test_a_publisher_that_leaves_after_its_last_reader",
        f"{TRACKS}::test_a_closed_subscription_says_so",
    ),
    "one of two gives up": (f"{SUBSCRIBING}::test_one_of_two_who_wait_gives_up_and_the_other_reads",),
    "cancelled before it began (others subscribe and unsubscribe)": (
        f"{SUBSCRIBING}::test_a_subscribe_that_is_cancelled_already_asks_for_nothing",
    ),
    "both who wait give up (unsubscribed when it is established, as servers deadlock otherwise)": (
        f"{SUBSCRIBING}::test_one_of_two_who_wait_gives_up_and_then_the_other",
        f"{SUBSCRIBING}::test_a_cancelled_subscribe_is_not_taken_back_before_it_is_established",
    ),
    "the publisher leaves: pending, active, and after giving up": (
        f"{SUBSCRIPTIONS}::test_unpublished_ends_it_and_sends_nothing",
        f"{SUBSCRIPTIONS}::test_unpublished_after_the_last_reader_left_is_quiet",
        f"{TRACKS}::test_a_publisher_that_leaves_ends_its_readers_normally",
    ),
    "unpublished between the handle and the reader": (
        f"{SUBSCRIBING}::test_a_track_that_ends_before_the_reader_learns_that_it_has_it",
    ),
    "closing after the session has ended": (
        f"{SUBSCRIBING}::test_what_the_server_says_while_the_room_is_being_left",
        f"{SUBSCRIBING}::test_the_end_of_the_session",
    ),
    "so many frames at once, from the start and changed later": (
        f"{SUBSCRIBING}::test_so_many_frames_are_put_together_at_once",
        f"{SUBSCRIPTIONS}::test_the_depacketizer_is_the_callers",
    ),
    "the default (others complete only the second of two interleaved frames; here both)": (
        f"{DEPACKETIZER}::test_the_default_lets_frames_overlap",
    ),
    # --- end to end ---------------------------------------------------------------------------------------------------
    "8192 and 196608 bytes; no timestamp; identity, name and SID": (
        f"{TRACKS}::test_a_frame_without_a_timestamp_and_what_is_known_of_its_track",
    ),
    "256 tracks, then 196608 bytes": (f"{TRACKS}::test_256_tracks",),
    "publishing without the grant": (f"{TRACKS}::test_publishing_without_the_grant_is_refused",),
    "a name that is taken": (f"{TRACKS}::test_a_name_that_is_taken_is_refused_and_the_first_track_lives_on",),
    "schema and encoding on both sides": (f"{SCHEMAS}::test_both_ends_see_it",),
    "definitions of schemas: 60000 bytes, three encodings": (f"{SCHEMAS}::test_a_definition_of_60000_bytes",),
    "over the limit; twice; never defined": (
        f"{SCHEMAS}::test_definitions_that_are_refused",
        f"{SCHEMAS}::test_defining_again_replaces_where_there_is_room_for_both",
        f"{SCHEMAS}::test_what_nobody_defined_is_not_found",
    ),
    "196608 bytes under a shared key": (f"{ENCRYPTION}::test_frames_of_all_sizes_arrive",),
    "whoever waits for the end of a track hears of it": (
        f"{TRACKS}::test_whoever_waits_for_the_end_of_a_track_hears_of_it",
    ),
    "subscribing ten times": (f"{TRACKS}::test_subscribing_again_and_again",),
    "timestamps and the age of a frame": (
        f"{TRACKS}::test_a_stamped_frame_tells_its_age",
        f"{TRACKS}::test_user_timestamps_arrive_as_they_are",
    ),
    "the subscriber's connection is lost": (
        f"{RECONNECT}::test_frames_flow_while_signalling_is_lost",
        f"{RECONNECT}::test_another_session_under_the_same_blocks",
    ),
    "the publisher's connection is lost": (
        f"{RECONNECT}::test_frames_flow_while_signalling_is_lost",
        f"{RECONNECT}::test_losing_the_peer_connection",
    ),
    "the stream ends when the track is unpublished": (f"{TRACKS}::test_unpublishing_ends_the_reader_normally",),
    "tracks seen by those there and those who come later": (
        f"{TRACKS}::test_tracks_that_are_there_already_are_seen_on_joining",
        "server/test_requests.py::test_auto_subscription_takes_what_is_there_and_what_comes",
    ),
    "gone when the publisher leaves, back when it joins again": (
        f"{TRACKS}::test_a_publisher_that_leaves_and_joins_again_brings_its_track_again",
    ),
    "no subscription without permission": (f"{OWN}::test_a_client_that_may_not_subscribe",),
    "who may not have a track any more loses it, and others read on": (
        f"{OWN}::test_who_may_not_have_a_track_any_more_loses_it_and_the_others_read_on",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_names_tests_that_exist(row: str) -> None:
    assert ROWS[row]
    for path, name in (test.split("::") for test in ROWS[row]):
        assert re.search(rf"^\s*(?:async )?def {name}\(", (TESTS / path).read_text(), re.MULTILINE), f"{path}::{name}"
