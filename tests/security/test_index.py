"""Which tests stand for which clause of the table of known attacks (S1 to S35): none is missing, and each exists."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

INDEX: dict[str, dict[str, str]] = {
    "S1": {
        "memory grows by no more than 2 MB": "security/test_dtls.py::test_s1_a_flood_of_fragments_is_not_kept",
        "200,000 fragments: 256 KiB, 128 of them and 16 messages ahead are kept at most; the handshake completes":
            "security/test_dtls.py::test_s1_a_long_flood_does_not_end_the_handshake",
        "messages far ahead are dropped": "sansio/dtls/test_reassembly.py::test_old_and_far_messages_are_dropped",
        "early records are bounded": "security/test_dtls.py::test_s1_early_records_are_not_hoarded",
    },
    "S2": {
        "at every offset, 10,000 times, at little cost":
            "security/test_dtls.py::test_s2_zero_length_fragments_are_dropped",
        "many in one record": "security/test_dtls.py::test_s2_a_record_full_of_empty_fragments_ends",
    },
    "S3": {
        "other type, other length, offset and length past the end":
            "security/test_dtls.py::test_s3_a_forged_fragment_never_mixes_with_the_genuine_message",
        "other bytes where they overlap":
            "sansio/dtls/test_reassembly.py::test_overlapping_versions_of_a_message_never_mix",
    },
    "S4": {
        "verification left out": "security/test_dtls.py::test_s4_certificate_without_verification",
        "certificate left out": "security/test_dtls.py::test_s4_no_certificate_at_all",
        "corrupt, another key, truncated transcript, SHA-1, in both roles":
            "security/test_dtls.py::test_s4_wrong_signatures",
        "schemes that were not offered": "security/test_dtls.py::test_s4_schemes_that_were_not_offered_or_do_not_fit",
        "somebody else's certificate": "security/test_dtls.py::test_s4_right_certificate_wrong_owner",
        "in the wrong order": "security/test_dtls.py::test_s4_verification_before_the_certificate",
    },
    "S5": {
        "the nonce is epoch and number": "security/test_dtls.py::test_s5_the_explicit_nonce_is_the_record_number",
        "strictly increasing for a million records":
            "security/test_dtls.py::test_s5_the_nonces_of_a_million_records_only_go_up",
        "past 2^16 and 2^32": "security/test_dtls.py::test_s5_nonces_go_up_past_what_a_counter_could_be_too_short_for",
        "across repeated flights": "security/test_dtls.py::test_s5_repeated_flights_use_new_nonces",
        "refuses at the end": "security/test_dtls.py::test_s5_numbers_are_never_used_twice_even_at_the_end",
        "keys are not used again after a restart": "security/test_dtls.py::test_s5_every_session_has_its_own_keys",
    },
    "S6": {
        "every prefix and every value of every byte, as parsers see it":
            "security/test_dtls.py::test_s6_every_prefix_and_every_value_of_every_byte_of_every_message",
        "and as a handshake sees it": "security/test_dtls.py::test_s6_mutated_messages_inside_a_handshake_are_survived",
        "of all recorded datagrams": "fuzz/test_fuzz.py::test_every_prefix_and_some_bits_of_every_handshake_datagram",
    },
    "S7": {
        "before, during and after the handshake, from elsewhere; no answer":
            "security/test_peer.py::test_forged_datagrams_from_another_address_change_nothing",
        "from the peer's own address": "security/test_peer.py::test_forged_datagrams_from_the_peers_own_address_",
        "a genuine alert that forgeries drew from the server: nothing that we sent is lost":
            "api/test_reconnect.py::test_a_fatal_alert_in_the_midst_of_sending",
        "alerts while shaking hands": "security/test_peer.py::test_forged_alerts_from_the_peers_own_address_",
        "at every stage of a handshake": "security/test_dtls.py::test_s7_",
        "10,000 of them at a bounded number of calls each; the share of a processor is in `python -m tests.lab.floods`":
            "security/test_floods.py::test_s7_s34_what_a_stranger_sends_is_dropped_before_it_costs",
        "on a live connection":
            "security/test_floods.py::test_s7_s34_a_connection_carries_on_under_malformed_datagrams",
    },
    "S8": {
        "nothing in the clear counts": "security/test_dtls.py::test_s8_nothing_in_the_clear_counts_after_the_handshake",
        "failures are counted, and never answered":
            "security/test_dtls.py::test_s8_forgeries_are_counted_and_not_answered",
        "replays are delivered 0 times": "security/test_dtls.py::test_s8_a_replayed_record_is_delivered_once",
        "and whole sessions": "security/test_dtls.py::test_s8_a_whole_replayed_session_changes_nothing",
        "other epochs": "security/test_dtls.py::test_s8_a_future_epoch_does_not_move_the_window",
        "application data in the clear":
            "security/test_dtls.py::test_s8_application_data_of_epoch_0_is_never_delivered",
        "change of cipher at any time": "security/test_dtls.py::test_s8_change_cipher_spec_at_any_time_means_nothing",
        "Finished in the clear": "security/test_dtls.py::test_s8_finished_in_the_clear_is_not_finished",
    },
    "S9": {
        "one nibble; no byte of SCTP; named in the error":
            "security/test_peer.py::test_a_fingerprint_that_is_wrong_by_one_nibble",
        "missing": "security/test_peer.py::test_a_description_without_a_fingerprint_is_refused",
        "malformed": "security/test_peer.py::test_a_description_with_a_malformed_fingerprint_is_refused",
        "sha-1 and md5": "security/test_peer.py::test_a_fingerprint_by_a_hash_that_is_not_trusted",
        "at media level":
            "security/test_peer.py::test_a_fingerprint_at_media_level_overrides_one_of_the_session_and_is_checked",
        "other names, two of them; before Finished, as client":
            "security/test_dtls.py::test_s9_client_checks_before_its_finished",
        "and as server": "security/test_dtls.py::test_s9_server_checks_before_its_finished",
        "one right among several": "security/test_dtls.py::test_s9_one_right_fingerprint_among_several_is_enough",
        "none at all": "security/test_dtls.py::test_s9_without_fingerprints_nothing_is_sent_or_delivered",
    },
    "S10": {
        "version, key transport, CBC, NULL, compression, extended master secret, renegotiation info, as server":
            "security/test_dtls.py::test_s10_server_refuses_a_weaker_hello",
        "and as client": "security/test_dtls.py::test_s10_client_refuses_a_weaker_answer",
        "a curve that was not offered": "security/test_dtls.py::test_s10_a_group_that_was_not_offered",
        "points off the curve, and all zero": "security/test_dtls.py::test_s10_invalid_points",
        "renegotiation": "security/test_dtls.py::test_s10_no_renegotiation",
        "changes of the hellos": "security/test_dtls.py::test_s10_a_changed_hello_is_noticed_even_if_acceptable",
        "Finished that does not match": "security/test_dtls.py::test_s10_finished_must_match",
    },
    "S11": {
        "integrity wrong, missing, truncated; names; fingerprint; no answer, no state":
            "security/test_ice.py::test_s11_forged_requests_get_no_answer_and_change_nothing",
        "attributes behind the integrity": "security/test_ice.py::test_s11_nomination_behind_the_integrity_is_none",
        "role conflicts": "security/test_ice.py::test_s11_unauthenticated_role_conflicts_are_not_answered_with_487",
        "answers": "security/test_ice.py::test_s11_forged_answers_and_role_conflicts_are_ignored",
        "compared in constant time": "security/test_ice.py::test_s11_integrity_is_compared_in_constant_time",
        "unknown attributes":
            "security/test_ice.py::test_s11_requests_of_an_authentic_peer_with_unknown_attributes_get_420",
    },
    "S12": {
        "all prefixes": "security/test_ice.py::test_s12_every_prefix_and_every_attribute_length_of_every_message",
        "all lengths": "security/test_ice.py::test_s12_all_65536_lengths_of_the_two_attributes_that_hurt_others",
    },
    "S13": {
        "1,000 candidates: 32 kept, 100 pairs, 50 checks/s, 7 tries, 3 KB":
            "security/test_ice.py::test_s13_a_thousand_candidates_are_no_amplifier",
        "in a description": "security/test_peer.py::test_a_thousand_candidates_in_a_description_are_no_amplifier",
        "no names, no mDNS": "security/test_ice.py::test_s13_names_are_neither_resolved_nor_checked",
        "replayed checks": "security/test_ice.py::test_s13_a_replayed_request_makes_few_checks_and_fewer_bytes",
        "before the peer is known": "security/test_ice.py::test_s13_early_checks_send_nothing_before_the_peer_is_known",
        "of the next generation":
            "security/test_ice.py::test_s13_a_candidate_that_floods_the_waiting_room_of_another_generation_is_bounded",
        "genuine checks": "security/test_ice.py::test_s13_a_flood_of_genuine_requests_triggers_few_checks_per_pair",
    },
    "S14": {
        "30 s after the last answer, whatever is spoofed":
            "security/test_ice.py::test_s14_data_stops_within_thirty_seconds_of_the_last_answer_whatever_else_arrives",
        "authentic data is no consent": "security/test_ice.py::test_s14_even_authentic_data_does_not_replace_consent",
        "of a whole connection": "security/test_peer.py::test_nothing_is_sent_to_a_peer_that_stopped_answering_checks",
        "under spoofed datagrams": "security/test_peer.py::test_spoofed_datagrams_do_not_prolong_consent",
        "no answers after that": "security/test_ice.py::test_s14_a_failed_agent_answers_nobody",
    },
    "S15": {
        "8 KiB before DTLS and 16.5 KiB after, by the framer":
            "security/test_ice.py::test_s15_frames_over_the_cap_end_the_connection",
        "the connection is closed":
            "transport/test_tcp.py::test_a_frame_too_large_before_the_handshake_breaks_the_connection",
        "half a frame for 10 s, by the framer":
            "security/test_ice.py::test_s15_half_a_frame_for_ten_seconds_ends_the_connection",
        "the connection is closed then":
            "transport/test_tcp.py::test_a_frame_that_is_never_finished_breaks_the_connection",
        "length 0": "security/test_ice.py::test_s15_empty_frames_are_nothing",
        "memory of one frame": "security/test_ice.py::test_s15_memory_is_at_most_one_frame",
        "slow and honest": "security/test_ice.py::test_s15_a_slow_but_moving_stream_is_no_slow_loris",
    },
    "S16": {
        "wrong tags, T bits and reflection, in COOKIE-WAIT too":
            "security/test_sctp.py::test_s16_wrong_tags_and_reflected_farewells_are_dropped",
        "our own tag with the T bit":
            "security/test_sctp.py::test_s16_an_abort_with_our_tag_that_claims_reflection_is_dropped",
        "our own handshake": "security/test_sctp.py::test_s16_a_handshake_that_comes_back_to_its_sender_is_dropped",
        "ports": "security/test_sctp.py::test_s16_wrong_ports_are_dropped",
    },
    "S17": {
        "50 answers a second, for three seconds; no state":
            "security/test_sctp.py::test_s17_init_flood_is_answered_at_a_limited_rate_and_changes_nothing",
        "cookies with a bad MAC, or 60 s old": "security/test_sctp.py::test_s17_cookies_forged_stale_or_replayed",
        "a second valid cookie": "security/test_sctp.py::test_s17_a_second_valid_cookie_of_the_peer_is_a_restart",
    },
    "S18": {
        "structured, by kind of chunk; 12,000 packets, and a million in CI (`$S18_PACKETS`)":
            "security/test_sctp.py::test_s18_structured_fuzz_of_every_chunk",
        "lengths and prefixes": "security/test_sctp.py::test_s18_every_prefix_and_every_length_field_of_an_init",
        "whole histories of packets and time; more of them with `python -m tests.fuzz --target association`":
            "fuzz/test_fuzz.py::test_every_target_for_a_moment",
    },
    "S19": {
        "16,000 blocks, reversed, overlapping, beyond, never sent, backwards: ignored as a whole, no growth":
            "security/test_sctp.py::test_s19_gap_bombs_and_optimistic_acknowledgements_are_ignored_as_a_whole",
        "cost": "security/test_sctp.py::test_s19_the_cost_of_a_sack_follows_what_is_outstanding_and_not_what_it_claims",
    },
    "S20": {
        "window and cap, TSNs far ahead, messages unfinished":
            "security/test_sctp.py::test_s20_memory_of_the_receiver_is_bounded",
        "4 MiB": "security/test_sctp.py::test_s20_the_limits_unless_somebody_says_otherwise",
        "1,024 streams": "security/test_sctp.py::test_s20_streams_with_state_are_limited_and_excess_is_reported",
        "cap of one message": "security/test_sctp.py::test_s20_a_message_without_end_ends_the_association",
        "cost of the worst order":
            "security/test_sctp.py::test_s20_fragments_in_the_worst_order_cost_no_more_than_in_order",
    },
    "S21": {
        "only forward, within the window, partial messages dropped, 16,000 entries":
            "security/test_sctp.py::test_s21_forward_tsn_moves_forward_only_and_within_the_window",
        "deferred control is counted": "security/test_sctp.py::test_s21_what_comes_while_a_reset_waits_takes_no_memory",
    },
    "S22": {
        "64 outstanding, errors for those out of turn": "security/test_sctp.py::test_s22_reconfig_flood",
        "unknown streams": "security/test_sctp.py::test_s22_reset_of_unknown_streams_is_answered",
    },
    "S23": {"an hour at 10 % loss": "security/test_sctp.py::test_s23_an_hour_at_ten_per_cent_loss_with_mixed_traffic"},
    "S24": {
        "labels, priorities, types, unasked ACKs: the offender alone is closed":
            "security/test_sctp.py::test_s24_hostile_opens_close_the_offender_only",
        "an id in use": "security/test_sctp.py::test_s24_an_open_on_an_id_in_use_closes_that_channel",
        "256 channels": "security/test_sctp.py::test_s24_no_more_than_256_channels",
        "data before its OPEN": "security/test_sctp.py::test_s24_data_ahead_of_its_open_is_kept_within_a_limit",
        "corrupt packets": "security/test_sctp.py::test_s24_corrupt_packets_never_reach_the_application",
    },
    "S25": {
        "bombs, depth, repetition, text, field 0: bounded work":
            "security/test_protobuf.py::test_s25_hostile_messages_are_decoded_or_refused_and_cost_little",
        "1 MiB of signalling, 256 KiB of packet in": "security/test_protobuf.py::test_s25_messages_have_limits",
        "1 MiB may be changed": "security/test_websocket.py::test_s33_a_room_too_large_to_be_heard_of_says_what_to_do",
        "64,000 bytes out": "session/test_packets.py::test_too_large",
        "the connection lives": "security/test_protobuf.py::test_s25_signalling_goes_on_after_each",
        "and the room, whatever changed messages mean":
            "security/test_floods.py::test_a_server_that_says_odd_things_ends_the_room_at_worst",
        "repeated fields": "security/test_protobuf.py::test_s25_repeated_fields_cost_what_they_take",
    },
    "S26": {
        "1 MB to 1 GB: 16 MiB of a stream, in steps of 64 KiB that are the only memory taken, whatever the room has":
            "security/test_streams.py::test_s26_a_megabyte_that_becomes_a_gigabyte",
        "not before it is read": "security/test_streams.py::test_s26_a_bomb_is_not_even_lit_before_it_is_read",
        "in a join request": "security/test_streams.py::test_s26_a_bomb_in_a_join_request",
        "the loop is not blocked": "session/test_streams.py::test_a_bomb_leaves_the_loop_to_others",
    },
    "S27": {
        "2^63": "security/test_streams.py::test_s27_an_announced_length_takes_no_memory",
        "gaps and repetitions": "security/test_streams.py::test_s27_a_gap_and_a_repeated_chunk",
        "no trailer: an error after 60 s": "security/test_streams.py::test_s27_a_trailer_that_never_comes",
        "100,000 of one peer: 256, and nothing of the rest is kept":
            "security/test_streams.py::test_s27_a_hundred_thousand_streams_of_one_peer",
        "somebody else's chunks": "security/test_streams.py::test_s27_only_the_opener_adds_to_a_stream_and_ends_it",
        "an index of 2^64 - 1": "security/test_streams.py::test_s27_an_index_at_the_end_of_its_range",
    },
    "S28": {
        "only the callee answers": "security/test_rpc.py::test_only_who_was_called_can_answer",
        "a flood": "security/test_rpc.py::test_a_flood_of_requests_runs_no_more_than_is_allowed",
        "64 at once, 15 KB, 256 bytes": "security/test_rpc.py::test_the_limits_are_what_they_are_said_to_be",
        "15 KB on the wire": "api/test_rpc.py::test_packets_have_a_limit",
        "what a handler raises stays here: 1500": "api/test_rpc.py::test_other_exceptions_stay_here",
        "once": "security/test_rpc.py::test_one_request_runs_once_however_often_it_comes",
    },
    "S29": {
        "the server writes the sender":
            "security/test_identity.py::test_s29_the_server_writes_the_true_sender_whatever_a_packet_claims",
        "a client believes the envelope alone":
            "security/test_identity.py::test_s29_a_client_believes_the_envelope_alone",
        "no echo of our own": "security/test_identity.py::test_s29_what_says_it_is_from_ourselves_is_dropped",
        "who is not announced has no participant; a decision, for data may overtake signalling":
            "security/test_identity.py::test_s29_a_room_knows_who_it_is",
    },
    "S30": {
        "a million vectors of one session, of all that sealing does but the encryption":
            "security/test_encryption.py::test_s30_a_million_vectors_of_one_session",
        "100 sessions, 3 restarts of the process, one passphrase":
            "security/test_encryption.py::test_s30_sessions_and_restarts_under_one_passphrase",
        "the birthday bound":
            "security/test_encryption.py::test_s30_the_starts_of_sessions_are_as_random_as_their_bits_allow",
        "the ring around": "security/test_encryption.py::test_s30_every_place_of_the_ring_and_around",
        "two publishers, sent again after a reconnect":
            "security/test_encryption.py::test_s30_packets_that_are_sent_again_in_another_session",
        "plaintext is dropped and reported":
            "security/test_encryption.py::test_s30_plaintext_in_an_encrypted_room_is_dropped_and_reported",
        "a wrong key: one event in 10 s":
            "security/test_encryption.py::test_s30_a_wrong_key_is_one_event_in_ten_seconds_and_no_exception",
        "keys are never shown": "security/test_encryption.py::test_s30_key_material_is_never_shown_logged_or_pickled",
        "any changed bit": "security/test_encryption.py::test_s30_a_changed_bit_is_noticed_wherever_it_is",
        "plain frames of an encrypted track":
            "security/test_encryption.py::test_s30_a_plain_frame_on_an_encrypted_track_is_dropped",
        "frames and their packets":
            "security/test_encryption.py::test_s30_frames_of_several_tracks_and_packets_of_one_frame",
    },
    "S31": {
        "only HS256": "api/test_tokens.py::test_algorithms",
        "alg none": "api/test_tokens.py::test_no_signature",
        "a public key as the secret": "api/test_tokens.py::test_a_public_key_as_the_secret",
        "kid": "api/test_tokens.py::test_headers_do_not_choose_the_key",
        "exp, nbf, 60 s": "api/test_tokens.py::test_times",
        "no exp": "api/test_tokens.py::test_no_expiry_at_all",
        "iss": "api/test_tokens.py::test_issuers",
        "another room": "security/test_identity.py::test_s31_a_token_is_for_its_room_alone",
        "the empty secret": "security/test_identity.py::test_s31_the_empty_secret_signs_nothing",
        "1 MB": "api/test_tokens.py::test_a_huge_token",
        "401 with fixed words": "server/test_entry.py::test_bad_tokens_are_refused_in_fixed_words",
        "constant time": "security/test_identity.py::test_s31_signatures_are_compared_in_constant_time",
        "short secrets": "security/test_identity.py::test_s31_short_secrets_are_warned_of",
    },
    "S32": {
        "logs, exceptions with their causes, reprs; addresses":
            "security/test_logs.py::test_s32_nothing_secret_is_logged_or_shown",
        "of every test, for as long as it runs; ``tests/support/secrecy.py`` fails the one that shows any":
            "security/test_logs.py::test_s32_every_test_is_watched",
        "without being heard":
            "security/test_logs.py::test_s32_who_listens_to_logs_hears_no_more_for_being_watched",
        "of tokens that are refused": "api/test_tokens.py::test_nothing_of_a_token_is_in_the_traceback_of_a_refusal",
        "the token is in the header":
            "security/test_websocket.py::test_s33_a_certificate_is_for_the_name_that_was_asked_for",
        "keys": "security/test_encryption.py::test_s30_key_material_is_never_shown_logged_or_pickled",
    },
    "S33": {
        "oversized": "security/test_websocket.py::test_s33_more_than_a_message_may_be_is_not_collected",
        "fragmented for ever": "security/test_websocket.py::test_s33_a_message_in_ever_more_fragments_is_not_collected",
        "compressed, text; told by a close frame":
            "security/test_websocket.py::test_s33_a_server_that_breaks_the_rules_is_told_and_left",
        "within a second, whether it reads or not":
            "security/test_websocket.py::test_s33_a_server_that_does_not_read_is_left_all_the_same",
        "in turn with what is being sent":
            "security/test_websocket.py::test_s33_whoever_is_sending_is_done_before_the_server_is_told",
        "over TCP, while it goes on":
            "security/test_websocket.py::test_s33_what_a_server_is_told_gets_through_what_it_still_sends",
        "ping flood": "security/test_websocket.py::test_s33_pings_are_answered_and_a_flood_of_them_ends_it",
        "all of these at a server": "transport/test_websocket_accept.py::test_breaking_the_rules_closes_with_a_code",
        "redirects": "security/test_websocket.py::test_s33_a_redirect_is_a_refusal_and_not_followed",
        "TLS name": "security/test_websocket.py::test_s33_a_certificate_is_for_the_name_that_was_asked_for",
        "wrong accept": "security/test_websocket.py::test_s33_a_101_with_the_wrong_accept_is_no_websocket",
        "10 MB of headers": "security/test_websocket.py::test_s33_answers_without_end_are_hung_up_on",
        "verification is the default":
            "security/test_websocket.py::test_s33_certificates_are_verified_unless_somebody_says_otherwise",
        "a message over the limit says so":
            "security/test_websocket.py::test_s33_a_room_too_large_to_be_heard_of_says_what_to_do",
        "a refusal is no frame": "security/test_websocket.py::test_s33_the_words_of_a_refusal_are_not_taken_for_frames",
    },
    "S34": {
        "5,000 at once, 100 KiB each": "server/test_serving.py::test_a_connection_that_says_nothing_costs_little",
        "dropped at 5 s": "server/test_entry.py::test_silence_and_slow_requests_are_cut_off",
        "bounded in number": "server/test_entry.py::test_connections_that_have_not_joined_are_bounded",
        "and they keep nobody out": "security/test_floods.py::test_s34_strangers_do_not_keep_members_out",
        "UDP of strangers": "security/test_floods.py::test_s7_s34_what_a_stranger_sends_is_dropped_before_it_costs",
        "UDP at a live server":
            "security/test_floods.py::test_s7_s34_a_connection_carries_on_under_malformed_datagrams",
        "1 MB of room or identity": "security/test_floods.py::test_s34_a_mebibyte_in_a_token_is_refused_unread",
        "names": "server/test_entry.py::test_names_are_bounded",
        "attributes": "server/test_requests.py::test_updates_over_the_limit",
        "too long a head": "server/test_entry.py::test_too_long_a_head_is_refused",
        "a flood of data, other rooms":
            "security/test_floods.py::test_s34_a_flood_of_data_in_one_room_leaves_the_others_alone",
        "p99 of another room under all of these; measured by `python -m tests.lab.floods`, shown in the guide":
            "lab/test_floods.py::test_what_is_good",
        "a flood of requests, other rooms":
            "server/test_serving.py::test_one_room_does_not_hear_of_another_being_flooded",
        "odd requests": "security/test_floods.py::test_a_client_that_says_odd_things_ends_itself_at_worst",
    },
    "S35": {"no such code": "security/test_code.py::test_s35_"},
}  # fmt: skip
"""What each row asks, in few words, and the test that asserts it; a name that ends in an underscore stands for all
that begin so."""


@functools.cache
def named_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_")}


def test_every_row_is_here() -> None:
    assert set(INDEX) == {f"S{row}" for row in range(1, 36)}


@pytest.mark.parametrize("row", INDEX)
def test_every_test_of_a_row_exists(row: str) -> None:
    assert INDEX[row]
    for clause, entry in INDEX[row].items():
        file, _, name = entry.partition("::")
        found = named_in(file)
        assert name in found or (name.endswith("_") and any(test.startswith(name) for test in found)), (clause, entry)


def test_every_test_that_is_named_after_a_row_is_of_that_row() -> None:
    """None is forgotten when it is added."""
    forgotten = []
    for path in sorted((TESTS / "security").glob("test_*.py")):
        for name in named_in(f"security/{path.name}"):
            for row in re.findall(r"_s(\d+)(?=_)", name):
                entries = [entry.partition("::")[2] for entry in INDEX[f"S{row}"].values()]
                if not any(name == entry or (entry.endswith("_") and name.startswith(entry)) for entry in entries):
                    forgotten.append(f"{row}: {path.name}::{name}")
    assert forgotten == []
