"""What the suites of LiveKit's own clients and server assert of data tracks, and which tests here assert it.

A row is one behaviour, in the order of those suites: packets, frames into packets, packets into frames, publishing,
subscribing, and end to end. It names the tests that would fail without it. Where this client differs on purpose, the
row says how. Tests that run against both servers are named once: their fixtures run them on either.
"""

from __future__ import annotations

import re
from functools import cache
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
SCHEMA = "sansio/tracks/test_schema.py"
KEY = "sansio/encryption/test_key.py"
WIRE = "wire/test_data_tracks.py"
LINKS = "session/test_links.py"
PUBLISHING = "session/test_publishing.py"
SUBSCRIBING = "session/test_subscribing.py"
DEFINITIONS = "session/test_schemas.py"
TRACKS = "api/test_data_tracks.py"
SCHEMAS = "api/test_data_track_schemas.py"
ENCRYPTION = "api/test_encryption.py"
RECONNECT = "api/test_reconnect.py"
OWN = "api/test_own_participant.py"

PACKETS: dict[str, tuple[str, ...]] = {
    "a random packet comes back from its bytes": (f"{PACKET}::test_round_trip",),
    "a final packet with both extensions: 25 bytes, 7 words, 1 pad byte, header 40, 1064 in all; its bytes": (
        f"{PACKET}::test_final_with_both_extensions_byte_for_byte",
        f"{PACKET}::test_sizes_of_extension_blocks",
    ),
    "a single packet with handle 101: its 22 bytes": (f"{PACKET}::test_single_byte_for_byte",),
    "a start packet with encryption only: 64 bytes, 4 words, three pad bytes": (
        f"{PACKET}::test_start_with_encryption_only",
    ),
    "a buffer too small for header or payload (encoding makes its own; what may be too small is the MTU)": (
        f"{PACKETIZER}::test_vector",
    ),
    "11 and 5 bytes are too short": (f"{PACKET}::test_vector", f"{PACKET}::test_a_header_cut_anywhere"),
    "extensions announced, and nothing after the header": (f"{PACKET}::test_vector",),
    "extensions announced, and their block longer than the message": (f"{PACKET}::test_vector",),
    "version 1": (f"{PACKET}::test_vector",),
    "a base header of a final packet, and no payload": (f"{PACKET}::test_vector",),
    "a block of padding only, of 0, 1 and 24 words": (f"{PACKET}::test_a_block_of_padding_only",),
    "the extension of encryption, with three pad bytes": (
        f"{PACKET}::test_vector",
        f"{PACKET}::test_captured_packets_decode_and_encode_to_the_same_bytes",
    ),
    "the extension of a timestamp": (f"{PACKET}::test_vector",),
    "a known extension that is longer: its first bytes": (f"{PACKET}::test_vector",),
    "a known extension that is shorter: as if it were absent": (f"{PACKET}::test_vector",),
    "an unknown extension is skipped": (f"{PACKET}::test_vector",),
    "a block cut by one byte": (f"{PACKET}::test_a_block_cut_by_one_byte_is_refused",),
    "arbitrary bytes never crash": (
        f"{PACKET}::test_any_bytes_decode_or_raise_decode_error",
        f"{PACKET}::test_any_extension_block",
        f"{PACKET}::test_a_packet_cut_short_is_refused_or_loses_only_payload",
    ),
    "the clock at its epoch is at its base": (
        f"{CLOCK}::test_vector",
        f"{CLOCK}::test_before_it_started_it_stands_at_its_base",
    ),
    "the clock repeats its last value when time goes back (and goes on after hours of silence)": (
        f"{CLOCK}::test_never_goes_back",
        f"{CLOCK}::test_goes_on_after_half_a_turn_of_silence",
    ),
    "handle 0 is reserved, 65536 too large, others are good": (
        f"{PACKET}::test_vector",
        f"{PACKET}::test_a_handle_has_16_bits",
        f"{SUBSCRIPTIONS}::test_a_handle_is_what_a_packet_can_carry",
        f"{CATALOGUE}::test_nonsense_hides_only_itself",
        f"{PUBLICATIONS}::test_handles_come_round_again_when_all_have_been_used",
    ),
    "chunks of 1, 128 and 333 bytes at most: so many, all full but the last, none of nothing": (
        f"{PACKETIZER}::test_chunks_are_full_but_for_the_last",
    ),
    "the server's packets, without extension, with one, and with padding": (
        f"{PACKET}::test_a_server_s_packet_without_extension",
        f"{PACKET}::test_the_participant_sid_that_servers_may_add",
    ),
    "the server's extension of a participant's SID (which clients know under that tag as encryption)": (
        f"{PACKET}::test_the_participant_sid_that_servers_may_add",
        f"{SUBSCRIBING}::test_a_plain_track_does_not_mind_what_looks_like_encryption",
    ),
    "an extension is replaced": (f"{PACKET}::test_replacing_an_extension",),
    "a short header, a truncated extension, one that is not there": (
        f"{PACKET}::test_a_header_cut_anywhere",
        f"{PACKET}::test_truncated_extensions",
        f"{PACKET}::test_a_packet_without_the_extension_that_is_looked_for",
    ),
    "what the server forwards, under another handle": (
        f"{PACKET}::test_what_the_server_forwards_still_decodes",
        f"{PACKET}::test_rewriting_the_handle_changes_nothing_else",
        "server/test_forwarding.py::test_each_subscriber_gets_the_packet_under_its_own_handle",
        "server/test_forwarding.py::test_extensions_pass_unchanged",
        "server/test_forwarding.py::test_what_is_no_packet_of_a_track_is_dropped_and_counted",
    ),
}

FRAMES_INTO_PACKETS: dict[str, tuple[str, ...]] = {
    "the first of one is single; of ten the first is start, the fifth inter, the last final": (
        f"{PACKETIZER}::test_where_a_packet_stands_in_its_frame",
    ),
    "128, 20480 and 40960 bytes: markers, frame 0, sequence from 0, extensions on all": (
        f"{PACKETIZER}::test_vector",
        f"{PACKETIZER}::test_packets_hold_the_frame_in_order",
        f"{PACKETIZER}::test_numbers_run_on_from_frame_to_frame_and_wrap",
    ),
    "no payload makes no packets (and is refused)": (
        f"{PACKETIZER}::test_vector",
        f"{PACKETIZER}::test_a_refused_frame_leaves_no_trace",
        f"{TRACKS}::test_frames_that_cannot_be_sent_are_refused_and_counted",
    ),
    "300 bytes in packets of 100: 88, 88, 88, 36, sequence 0 to 3, one timestamp": (
        f"{PACKETIZER}::test_frame_of_300_bytes_in_packets_of_100",
    ),
    "32000 bytes with a timestamp: three packets, no encryption": (
        f"{PACKETIZER}::test_vector",
        f"{PACKETIZER}::test_packets_hold_the_frame_in_order",
    ),
    "a single packet of 1024 bytes makes a frame of 1024": (f"{DEPACKETIZER}::test_a_packet_of_1024_bytes_is_a_frame",),
    "5 bytes are single; 24000 are a start of 15988 and a final of 8012": (
        f"{PACKETIZER}::test_small_and_large_frames_of_the_default_size",
    ),
    "with encryption: the request says so, the payload is another, its extension is there": (
        f"{ENCRYPTION}::test_frames_of_all_sizes_arrive",
        f"{ENCRYPTION}::test_what_travels_is_not_what_was_pushed",
        f"{KEY}::test_vector",
        f"{KEY}::test_captured_packets_are_opened",
    ),
}

PACKETS_INTO_FRAMES: dict[str, tuple[str, ...]] = {
    "single": (f"{DEPACKETIZER}::test_vector",),
    "several, with 0, 8 and 126 packets between": (f"{DEPACKETIZER}::test_frames_of_many_packets",),
    "interrupted: names the old frame and the new one": (f"{DEPACKETIZER}::test_vector",),
    "incomplete: received 2, expected 4": (f"{DEPACKETIZER}::test_vector",),
    "unknown frame": (f"{DEPACKETIZER}::test_vector",),
    "the buffer is full at 128": (f"{DEPACKETIZER}::test_vector",),
    "ten frames in a row; two": (f"{DEPACKETIZER}::test_frames_of_many_packets", f"{DEPACKETIZER}::test_vector"),
    "a sequence number twice: the latest payload": (f"{DEPACKETIZER}::test_vector",),
    "packets between in any order": (
        f"{DEPACKETIZER}::test_vector",
        f"{DEPACKETIZER}::test_any_order_after_the_start",
    ),
    "goes on after an unexpected final packet": (
        f"{DEPACKETIZER}::test_vector",
        f"{DEPACKETIZER}::test_any_packets_against_the_model",
    ),
    "two at once, completed out of order": (f"{DEPACKETIZER}::test_vector",),
    "a third start at capacity 2 drops the oldest": (f"{DEPACKETIZER}::test_vector",),
    "a single at capacity 2 drops the oldest, and is a frame itself": (f"{DEPACKETIZER}::test_vector",),
    "ten starts at capacity 5: 5 frames, 5 unknown": (
        f"{DEPACKETIZER}::test_ten_starts_at_capacity_five_keep_the_last_five",
    ),
    "late packets of a frame that was dropped are unknown, and others complete": (
        f"{DEPACKETIZER}::test_ten_starts_at_capacity_five_keep_the_last_five",
        f"{DEPACKETIZER}::test_any_packets_against_the_model",
    ),
    "three interleaved frames stay apart": (
        f"{DEPACKETIZER}::test_three_interleaved_frames_stay_apart",
        f"{DEPACKETIZER}::test_interleaved_frames_never_mix",
    ),
    "the capacity changes between packets": (
        f"{DEPACKETIZER}::test_capacity_may_grow_and_shrink_between_packets",
        f"{DEPACKETIZER}::test_a_capacity_of_zero_is_one",
    ),
    "a partial frame outlives an early final packet (this client's own, where it is asked for)": (
        f"{DEPACKETIZER}::test_final_that_overtook",
    ),
}

PUBLISHING_TRACKS: dict[str, tuple[str, ...]] = {
    "published: the request has the name and no encryption; name and SID; 10 frames of 256 bytes are 10 packets": (
        f"{PUBLISHING}::test_a_track_from_its_request_to_its_end",
    ),
    "given up: an unpublish request with that handle (when its block is left, not by the garbage collector)": (
        f"{PUBLISHING}::test_a_track_from_its_request_to_its_end",
        f"{TRACKS}::test_a_publisher_that_is_cancelled_unpublishes",
    ),
    "refused: the caller is told": (f"{PUBLISHING}::test_every_refusal_has_a_type",),
    "cancelled before the answer, which then says yes: unpublished": (
        f"{PUBLISHING}::test_cancelled_while_the_answer_is_awaited",
        f"{PUBLICATIONS}::test_before_the_answer",
        f"{PUBLICATIONS}::test_forgotten_altogether",
    ),
    "cancelled midway: unpublished, and cancelled": (f"{PUBLISHING}::test_cancelled_while_the_answer_is_awaited",),
    "cancelled before it began: nothing is asked for": (
        f"{PUBLISHING}::test_a_publish_that_is_cancelled_already_asks_for_nothing",
    ),
    "published, unpublished, published: is_published each time, and another handle": (
        f"{PUBLISHING}::test_a_track_from_its_request_to_its_end",
        f"{PUBLICATIONS}::test_publish_unpublish_publish_takes_a_new_handle",
        f"{TRACKS}::test_a_name_is_free_again_at_once",
    ),
    "with encryption": (
        f"{ENCRYPTION}::test_frames_of_all_sizes_arrive",
        f"{ENCRYPTION}::test_what_travels_is_not_what_was_pushed",
    ),
    "unpublish is sent, ends with the answer, and leaves nothing": (
        f"{PUBLISHING}::test_leaving_waits_for_the_confirmation",
        f"{PUBLISHING}::test_a_track_from_its_request_to_its_end",
        f"{PUBLICATIONS}::test_unpublish_is_sent_once_and_is_quiet_after_that",
    ),
    "a new session: the same handle and name; still published; pushing fails; then a new SID, and pushing works": (
        f"{PUBLISHING}::test_a_new_session_under_a_track",
        f"{PUBLICATIONS}::test_everything_is_published_again_under_its_handle",
        f"{RECONNECT}::test_pushing_while_there_is_no_session",
    ),
    "a new session that refuses it ends it (where others leave it published for ever)": (
        f"{PUBLISHING}::test_a_server_that_does_not_take_a_track_again",
        f"{PUBLICATIONS}::test_a_refusal_ends_the_track",
    ),
    "the server takes it away without a word of it (which others miss)": (
        f"{PUBLISHING}::test_the_server_takes_a_track_away",
        f"{TRACKS}::test_a_track_that_the_server_takes_away_cancels_its_block",
    ),
    "a second yes changes nothing (others forget the track)": (f"{PUBLICATIONS}::test_a_second_grant_changes_nothing",),
    "what is published can be asked for: two of three, one of which is pending": (
        f"{PUBLISHING}::test_what_is_published_leaves_out_what_is_pending",
    ),
    "the session ends: who is pending is told that it is disconnected, what is published ends": (
        f"{PUBLISHING}::test_the_session_ends_under_tracks_in_every_state",
    ),
    "it ends within a second (at once: there is no task to end)": (
        f"{PUBLISHING}::test_the_session_ends_under_tracks_in_every_state",
        f"{PUBLISHING}::test_leaving_does_not_wait_long",
    ),
    "flush of one packet, of several, of a batch: not before every packet has left": (
        f"{PUBLISHING}::test_flush_waits_until_every_packet_has_left",
        f"{TRACKS}::test_flushing_waits_until_all_has_left",
    ),
    "flush with nothing in flight, and when all has left already": (
        f"{PUBLISHING}::test_flush_with_nothing_in_flight",
    ),
    "flush ends when what it waits for is given up": (f"{PUBLISHING}::test_flush_ends_with_what_it_waits_for",),
    "flush does not wait for what comes after it": (f"{PUBLISHING}::test_flush_waits_for_what_was_accepted_before_it",),
    "whether anything is in flight is told only when it changes": (
        f"{PUBLISHING}::test_flush_waits_until_every_packet_has_left",
        f"{PUBLISHING}::test_flush_with_nothing_in_flight",
    ),
    "conversions: encryption in the request; the handle to unpublish": (
        f"{WIRE}::test_publishing",
        f"{WIRE}::test_unpublishing",
    ),
    "conversions: the answer, with schema and encoding": (
        f"{WIRE}::test_what_the_server_answers",
        f"{WIRE}::test_numbers_have_the_vendor_s_names",
    ),
    "conversions: an encoding that is missing, unknown, or one's own": (
        f"{WIRE}::test_encodings_that_are_missing_new_or_one_s_own",
    ),
    "conversions: a refusal has its handle": (f"{WIRE}::test_a_refusal_names_its_handle",),
    "conversions: what a resumed session lists keeps its encryption": (f"{WIRE}::test_what_a_resumed_session_lists",),
    "schemas and encodings that go together, and that do not": (
        f"{SCHEMA}::test_every_pair",
        f"{SCHEMAS}::test_what_does_not_go_together_is_refused_before_the_server_is_asked",
    ),
    "the send queue: an empty frame never gets there": (
        f"{TRACKS}::test_frames_that_cannot_be_sent_are_refused_and_counted",
    ),
    "the send queue: a frame of 13 packets is kept whole (a newer one is refused, where others evict the older)": (
        f"{QUEUE}::test_a_queue_of_one_frame_keeps_it_whole",
        f"{QUEUE}::test_the_newest_frame_of_a_full_track_is_refused_and_others_are_not",
        f"{QUEUE}::test_every_frame_leaves_whole_and_in_order_or_is_counted",
    ),
    "the send queue: who waits is woken": (
        f"{PUBLISHING}::test_what_is_queued_leaves_when_the_channel_drains",
        f"{TRACKS}::test_a_full_queue_refuses_the_newest_and_send_waits_for_room",
    ),
    "channels: three, with their labels, order and reliability": (
        f"{LINKS}::test_three_channels_and_what_they_promise",
    ),
    "channels: each tells of its own progress": (f"{LINKS}::test_channels_are_counted_and_watched_apart",),
    "channels: those that the server opens are known by their labels": (
        f"{LINKS}::test_a_second_channel_of_the_server_s_is_listened_to_and_may_end",
        "api/test_connect.py::test_an_older_server_with_two_peer_connections",
    ),
    "channels: others are not listened to": (f"{LINKS}::test_a_channel_with_another_name_is_not_listened_to",),
    "channels: all are closed together": (f"{LINKS}::test_closing_ends_all_of_it",),
    "channels: one that the server closes": (
        f"{LINKS}::test_a_server_that_closes_a_channel_ends_the_session",
        f"{LINKS}::test_a_server_without_data_tracks_closes_their_channel",
    ),
    "channels: a new one takes over those who wait for room (others tell them to try again)": (
        f"{PUBLISHING}::test_a_new_session_under_a_track",
    ),
    "channels: what goes through data tracks does not count as lossy packets": (
        f"{LINKS}::test_channels_are_counted_and_watched_apart",
    ),
    "channels: the first frame finds its channel (there is one before a room is entered)": (
        f"{LINKS}::test_what_is_sent_as_soon_as_the_room_is_ready_arrives",
    ),
}

SUBSCRIBING_TO_TRACKS: dict[str, tuple[str, ...]] = {
    "a list with a track: it is told of; a list without it: that is told, whoever waits for it hears, it is over": (
        f"{CATALOGUE}::test_publish_and_unpublish",
        f"{TRACKS}::test_whoever_waits_for_the_end_of_a_track_hears_of_it",
        f"{TRACKS}::test_each_track_is_announced_once_and_ended_once",
    ),
    "the same list three times: told once": (
        f"{SUBSCRIBING}::test_repetition_tells_nothing_new",
        f"{CATALOGUE}::test_repetition_changes_nothing",
    ),
    "another SID, without readers: no event, the new SID": (
        f"{SUBSCRIBING}::test_a_publisher_that_comes_back_keeps_its_tracks_and_readers",
    ),
    "another SID, with readers: subscribed again, still published, frames of the new handle reach them": (
        f"{SUBSCRIBING}::test_a_publisher_that_comes_back_keeps_its_tracks_and_readers",
    ),
    "packets under the old handle are dropped": (
        f"{SUBSCRIBING}::test_a_publisher_that_comes_back_keeps_its_tracks_and_readers",
        f"{SUBSCRIPTIONS}::test_a_new_handle_replaces_the_old_one",
    ),
    "giving up after another SID, reading and waiting: it is the new one that is unsubscribed": (
        f"{SUBSCRIBING}::test_a_reader_that_is_closed_after_its_track_has_a_new_sid",
        f"{SUBSCRIBING}::test_a_subscribe_that_is_cancelled_after_its_track_has_a_new_sid",
    ),
    "subscribed with its SID, and the frame of one packet delivered": (
        f"{SUBSCRIBING}::test_several_readers_are_one_request",
        f"{SUBSCRIPTIONS}::test_subscribe_and_receive",
    ),
    "subscribed with encryption": (f"{ENCRYPTION}::test_several_tracks_and_readers_under_one_key",),
    "3 and 8 readers: one request, and all have the frame": (
        f"{SUBSCRIBING}::test_several_readers_are_one_request",
        f"{TRACKS}::test_several_readers_all_get_every_frame",
    ),
    "a track that is not known is an error (a track is an object here: it has ended)": (
        f"{SUBSCRIBING}::test_a_track_that_ends_while_it_is_being_subscribed",
        f"{TRACKS}::test_unpublishing_ends_the_reader_normally",
    ),
    "unpublished while pending: who waits fails, and it is told": (
        f"{SUBSCRIBING}::test_a_track_that_ends_while_it_is_being_subscribed",
    ),
    "unpublished while it is read: the reader has its end, and it is told": (
        f"{SUBSCRIBING}::test_a_track_that_ends_while_it_is_being_read",
        f"{SUBSCRIBING}::test_the_publisher_leaves",
    ),
    "all readers close: unsubscribed, once": (f"{SUBSCRIBING}::test_several_readers_are_one_request",),
    "the only reader gives up: cancelled, unsubscribed, and quiet after that": (
        f"{SUBSCRIBING}::test_the_only_reader_gives_up_while_it_reads",
    ),
    "one of two gives up: the other waits on, and nothing is unsubscribed": (
        f"{SUBSCRIBING}::test_one_of_two_who_wait_gives_up_and_the_other_reads",
    ),
    "cancelled before it began: cancelled (others subscribe and unsubscribe, which a server may not survive)": (
        f"{SUBSCRIBING}::test_a_subscribe_that_is_cancelled_already_asks_for_nothing",
    ),
    "two who wait give up (unsubscribed when it is established, not before: a server may not survive that)": (
        f"{SUBSCRIBING}::test_one_of_two_who_wait_gives_up_and_then_the_other",
        f"{SUBSCRIBING}::test_a_cancelled_subscribe_is_not_taken_back_before_it_is_established",
    ),
    "the publisher leaves: pending, read, and after giving up (nothing is unsubscribed: it is gone)": (
        f"{SUBSCRIBING}::test_the_publisher_leaves",
        f"{SUBSCRIPTIONS}::test_unpublished_ends_it_and_sends_nothing",
        f"{TRACKS}::test_a_publisher_that_leaves_ends_its_readers_normally",
    ),
    "unpublished, or the room left, after giving up: quiet, and the end of the track is told": (
        f"{SUBSCRIBING}::test_a_publisher_that_leaves_after_its_last_reader",
        f"{SUBSCRIPTIONS}::test_unpublished_after_the_last_reader_left_is_quiet",
    ),
    "unpublished between its handle and its reader": (
        f"{SUBSCRIBING}::test_a_track_that_ends_before_the_reader_learns_that_it_has_it",
    ),
    "giving up after the session has ended does nothing": (
        f"{SUBSCRIBING}::test_what_the_server_says_while_the_room_is_being_left",
        f"{SUBSCRIBING}::test_the_end_of_the_session",
    ),
    "a subscribe that is given up is seen to fail exactly once (it is cancelled; nothing is left to fail)": (
        f"{SUBSCRIBING}::test_a_cancelled_subscribe_is_not_taken_back_before_it_is_established",
        f"{TRACKS}::test_a_cancelled_subscribe_is_forgotten_and_can_be_repeated",
    ),
    "a negative answer never comes: silence is a timeout": (
        f"{SUBSCRIBING}::test_silence_is_a_timeout_and_trying_again_is_a_fresh_start",
        f"{SUBSCRIPTIONS}::test_pending_is_repeated_and_then_times_out_without_unsubscribing",
    ),
    "three partial frames, from the start or set later: two interleaved frames are delivered in order": (
        f"{SUBSCRIBING}::test_so_many_frames_are_put_together_at_once",
    ),
    "one partial frame: only the second of two interleaved ones (the default here is more, and both)": (
        f"{SUBSCRIBING}::test_so_many_frames_are_put_together_at_once",
        f"{DEPACKETIZER}::test_the_default_lets_frames_overlap",
    ),
    "what runs for a track ends with it, and with its last reader, who unsubscribes": (
        f"{SUBSCRIBING}::test_a_track_that_ends_while_it_is_being_read",
        f"{SUBSCRIBING}::test_several_readers_are_one_request",
    ),
    "conversions: the map of handles, the tracks of participants": (
        f"{WIRE}::test_handles_of_a_subscriber",
        f"{WIRE}::test_the_tracks_of_participants",
        f"{WIRE}::test_subscribing",
    ),
}

END_TO_END: dict[str, tuple[str, ...]] = {
    "8192 and 196608 bytes: payload, no timestamp, identity, name, no encryption": (
        f"{TRACKS}::test_a_frame_without_a_timestamp_and_what_is_known_of_its_track",
    ),
    "256 tracks one after the other, then 196608 bytes on each": (f"{TRACKS}::test_256_tracks",),
    "without the grant: not allowed": (f"{TRACKS}::test_publishing_without_the_grant_is_refused",),
    "a name that is taken": (f"{TRACKS}::test_a_name_that_is_taken_is_refused_and_the_first_track_lives_on",),
    "schema and encoding on both sides, well known and one's own": (f"{SCHEMAS}::test_both_ends_see_it",),
    "196608 bytes under a shared key": (f"{ENCRYPTION}::test_frames_of_all_sizes_arrive",),
    "unpublished after a while: who waits for that hears it then": (
        f"{TRACKS}::test_whoever_waits_for_the_end_of_a_track_hears_of_it",
    ),
    "subscribed ten times, with a frame each time": (f"{TRACKS}::test_subscribing_again_and_again",),
    "a timestamp of now is less than a second old": (
        f"{TRACKS}::test_a_stamped_frame_tells_its_age",
        f"{TRACKS}::test_user_timestamps_arrive_as_they_are",
    ),
    "the subscriber's signalling, or session, is lost: its stream goes on": (
        f"{RECONNECT}::test_frames_flow_while_signalling_is_lost",
        f"{RECONNECT}::test_another_session_under_the_same_blocks",
    ),
    "the publisher's signalling is lost: still published, and pushing works": (
        f"{RECONNECT}::test_frames_flow_while_signalling_is_lost",
    ),
    "the publisher's session is lost: still published, a new SID, and pushing works": (
        f"{RECONNECT}::test_another_session_under_the_same_blocks",
        f"{RECONNECT}::test_losing_the_peer_connection",
    ),
    "schemas of 60000 bytes, defined and got, in three encodings": (f"{SCHEMAS}::test_a_definition_of_60000_bytes",),
    "a schema over the limit": (f"{SCHEMAS}::test_definitions_that_are_refused",),
    "a schema of 60000 bytes twice (a server replaces a smaller one)": (
        f"{SCHEMAS}::test_defining_again_replaces_where_there_is_room_for_both",
    ),
    "a schema that nobody defined": (f"{SCHEMAS}::test_what_nobody_defined_is_not_found",),
    "schemas on a server that keeps none, that does not answer, and in a session that ends": (
        f"{SCHEMAS}::test_a_server_that_keeps_no_definitions",
        f"{DEFINITIONS}::test_a_server_that_does_not_answer",
        f"{DEFINITIONS}::test_the_session_ends_while_an_answer_is_awaited",
    ),
    "schemas outlive a session": (
        f"{SCHEMAS}::test_definitions_outlive_a_session",
        f"{DEFINITIONS}::test_another_session_is_told_what_is_defined",
    ),
    "5 frames of 64 bytes with timestamps; the stream ends when it is unpublished; the SID of the event": (
        f"{TRACKS}::test_frames_with_timestamps_from_the_announcement_to_the_end",
    ),
    "subscribed by the server: two tracks, for who is there and who comes later, with packets": (
        f"{TRACKS}::test_a_server_that_subscribes_by_itself",
        "server/test_requests.py::test_auto_subscription_takes_what_is_there_and_what_comes",
    ),
    "gone when their publisher leaves, and back with it": (
        f"{TRACKS}::test_a_server_that_subscribes_by_itself",
        f"{TRACKS}::test_a_publisher_that_leaves_and_joins_again_brings_its_track_again",
    ),
    "no subscription without permission": (f"{OWN}::test_a_client_that_may_not_subscribe",),
    "who may not have a track any more loses it; a recorder keeps it": (
        f"{OWN}::test_who_may_not_have_a_track_any_more_loses_it_and_the_others_read_on",
    ),
}

TABLE = {
    "packets": PACKETS,
    "frames into packets": FRAMES_INTO_PACKETS,
    "packets into frames": PACKETS_INTO_FRAMES,
    "publishing": PUBLISHING_TRACKS,
    "subscribing": SUBSCRIBING_TO_TRACKS,
    "end to end": END_TO_END,
}


@cache
def _tests_in(path: str) -> frozenset[str]:
    source = (TESTS / path).read_text(encoding="utf-8")
    return frozenset(re.findall(r"^\s*(?:async )?def (test_\w+)\(", source, re.MULTILINE))


@pytest.mark.parametrize("part", TABLE)
def test_every_row_names_tests_that_exist(part: str) -> None:
    for row, tests in TABLE[part].items():
        assert tests, row
        for path, name in (test.split("::") for test in tests):
            assert name in _tests_in(path), f"{row}: {path} has no {name}"
