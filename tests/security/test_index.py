"""Which tests stand for which row of the table of known attacks (S1 to S35): none is missing, and each exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

INDEX = {
    **{f"S{row}": (f"security/test_dtls.py::test_s{row}_",) for row in range(1, 11)},
    **{f"S{row}": (f"security/test_ice.py::test_s{row}_",) for row in range(11, 16)},
    **{f"S{row}": (f"security/test_sctp.py::test_s{row}_",) for row in range(16, 25)},
    "S25": ("security/test_protobuf.py::test_s25_",),
    "S26": ("security/test_streams.py::test_s26_", "session/test_streams.py::test_a_bomb_leaves_the_loop_to_others"),
    "S27": ("security/test_streams.py::test_s27_",),
    "S28": (
        "security/test_rpc.py::test_only_who_was_called_can_answer",
        "security/test_rpc.py::test_a_flood_of_requests_runs_no_more_than_is_allowed",
        "security/test_rpc.py::test_one_request_runs_once_however_often_it_comes",
    ),
    "S29": ("security/test_identity.py::test_s29_",),
    "S30": ("security/test_encryption.py::test_s30_",),
    "S31": (
        "security/test_identity.py::test_s31_",
        "api/test_tokens.py::test_algorithms",
        "api/test_tokens.py::test_a_public_key_as_the_secret",
        "api/test_tokens.py::test_headers_do_not_choose_the_key",
        "api/test_tokens.py::test_times",
        "api/test_tokens.py::test_a_huge_token",
        "server/test_entry.py::test_bad_tokens_are_refused_in_fixed_words",
    ),
    "S32": ("security/test_logs.py::test_s32_",),
    "S33": (
        "security/test_websocket.py::test_s33_",
        "transport/test_websocket_accept.py::test_breaking_the_rules_closes_with_a_code",
    ),
    "S34": (
        "server/test_entry.py::test_silence_and_slow_requests_are_cut_off",
        "server/test_entry.py::test_too_long_a_head_is_refused",
        "server/test_entry.py::test_connections_that_have_not_joined_are_bounded",
        "server/test_entry.py::test_names_are_bounded",
        "server/test_serving.py::test_one_room_does_not_hear_of_another_being_flooded",
    ),
    "S35": ("security/test_code.py::test_s35_",),
}
"""Files and tests of each row; a name that ends in an underscore stands for all that begin so."""


def named_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_")}


def test_every_row_is_here() -> None:
    assert set(INDEX) == {f"S{row}" for row in range(1, 36)}


@pytest.mark.parametrize("row", INDEX)
def test_every_test_of_a_row_exists(row: str) -> None:
    for entry in INDEX[row]:
        file, _, name = entry.partition("::")
        found = named_in(file)
        assert name in found or (name.endswith("_") and any(test.startswith(name) for test in found)), entry
