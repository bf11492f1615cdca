"""Arguments: units, environment, and how a server is named."""

from __future__ import annotations

import argparse

import pytest

from trio_livekit.cli.arguments import (
    add_target_arguments,
    bytes_count,
    bytes_per_second,
    duration,
    positive_count,
    positive_number,
    resolve_target,
)
from trio_livekit.cli.exits import UsageError
from trio_livekit.tokens import verify_token


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (duration, "2", 2.0),
        (duration, "0", 0.0),
        (duration, "500ms", 0.5),
        (duration, "15m", 900.0),
        (duration, "6h", 21600.0),
        (bytes_count, "16000", 16000),
        (bytes_count, "16k", 16000),
        (bytes_count, "16Ki", 16384),
        (bytes_count, "1.5MB", 1500000),
        (bytes_per_second, "2M", 2e6),
        (bytes_per_second, "2MB/s", 2e6),
        (bytes_per_second, "unlimited", None),
        (positive_number, "0.5", 0.5),
        (positive_count, "3", 3),
    ],
)
def test_units(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *[(duration, text) for text in ("", "x", "-1", "nan", "inf", "1w", "s")],
        *[(bytes_count, text) for text in ("", "0", "-5", "k", "nan", "1x")],
        *[(bytes_per_second, text) for text in ("", "0", "fast")],
        *[(positive_number, text) for text in ("0", "-1", "nan", "inf", "x")],
        *[(positive_count, text) for text in ("0", "-1", "1.5", "x", "²")],
    ],
)
def test_what_is_no_number(parse, text):
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


def target(*arguments):
    parser = argparse.ArgumentParser()
    add_target_arguments(parser)
    return resolve_target(parser.parse_args(arguments), "tester")


def test_a_token_is_taken_as_it_is():
    assert target("--url", "ws://h", "--token", "abc").token == "abc"


def test_everything_can_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LIVEKIT_URL", "ws://h")
    monkeypatch.setenv("LIVEKIT_TOKEN", "abc")
    assert (target().url, target().token) == ("ws://h", "abc")


def test_a_token_is_made_where_there_is_a_key(monkeypatch):
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret")
    monkeypatch.setenv("LIVEKIT_TOKEN", "for another room")  # who names a room does not mean this one
    made = target("--url", "ws://h", "--room", "lab", "--identity", "me")
    claims = verify_token(made.token, {"key": "secret"}.get)
    assert (claims.identity, claims.video.room, claims.video.room_join) == ("me", "lab", True)
    assert "secret" not in repr(made)


def test_identities_differ_unless_given():
    arguments = ("--url", "ws://h", "--room", "lab", "--api-key", "k", "--api-secret", "s")
    first, second = target(*arguments).identity, target(*arguments).identity
    assert first.startswith("tester-")
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no server"),
        (["--url", "ws://h"], "no token"),
        (["--url", "ws://h", "--room", "lab"], "no token"),
        (["--url", "ws://h", "--api-key", "k", "--api-secret", "s"], "no room"),
        (["--url", "ws://h", "--token", "t", "--room", "lab"], "do not go with it"),
    ],
)
def test_what_is_missing_is_said(arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        target(*arguments)
