"""The front of the program: help, versions, usage, and errors in one line."""

from __future__ import annotations

import socket
import ssl

import pytest

from trio_livekit import __version__
from trio_livekit.cli import main
from trio_livekit.cli.explain import explain
from trio_livekit.errors import (
    ConnectError,
    ConnectErrorReason,
    InternalError,
    PublishError,
    PublishErrorReason,
    RoomDisconnected,
)
from trio_livekit.tokens import verify_token

KEY = ("--api-key", "key", "--api-secret", "secret")


def exits(capsys, *arguments):
    """The exit code of a command line, and what it printed."""
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    return code, *capsys.readouterr()


def test_version(capsys):
    assert exits(capsys, "--version") == (0, f"trio-livekit {__version__}\n", "")


@pytest.mark.parametrize("command", ["demo", "server", "publish", "subscribe", "token"])
def test_every_command_has_help(capsys, command):
    code, output, errors = exits(capsys, command, "--help")
    assert (code, errors) == (0, "")
    assert f"usage: trio-livekit {command}" in output
    assert command in exits(capsys, "--help")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("demo", "--seconds", "0"),
        ("demo", "--json", "--json-lines"),
        ("publish",),
        ("publish", "x"),
        ("publish", "x", "--url", "ws://h", "--token", "t", "--lines", "--blocks", "5"),
        ("publish", "x", "--url", "ws://h", "--token", "t", "--blocks", "3M"),
        ("subscribe", "x", "--url", "ws://h"),
        ("subscribe", "x", "--count", "0"),
        ("server", "--port", "70000"),
        ("server", "--api-key", "key"),
        ("publish", "x", "file", "another", "--nonsense"),
        ("token", "--room", "lab", "--identity", "me"),
        ("token", *KEY, "--room", "lab", "--identity", "me", "--ttl", "0"),
        ("token", *KEY, "--room", "lab", "--identity", "me", "--grant", "fly=true"),
        ("token", *KEY, "--room", "lab", "--identity", "me", "--grant", "canPublish=perhaps"),
        ("token", *KEY, "--room", "lab", "--identity", "me", "--attribute", "=x"),
    ],
)
def test_wrong_usage(capsys, arguments):
    code, output, errors = exits(capsys, *arguments)
    assert (code, output) == (2, "")
    assert errors.startswith("trio-livekit")
    assert ": error: " in errors
    assert errors.endswith(" --help)\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("publish", "x", __file__, "--url", "ws://127.0.0.1:1", "--token", "t"), "cannot reach ws://127.0.0.1:1"),
        (("publish", "x", __file__, "--url", "gopher://h", "--token", "t"), "scheme is 'gopher'"),
        (("publish", "x", "/no/such/file", "--url", "ws://h", "--token", "t"), "/no/such/file: No such file"),
        (("publish", "x", "/", "--url", "ws://h", "--token", "t"), "/: Is a directory"),
        (("subscribe", "x", "-o", "/no/such/file", "--url", "ws://h", "--token", "t"), "/no/such/file: No such file"),
        (("server", "--host", "203.0.113.1", "--port", "0", *KEY), "cannot listen at 203.0.113.1"),
        (("token", *KEY, "--room", "", "--identity", "me"), "needs an API key"),
    ],
)
def test_errors_are_one_line(capsys, arguments, complaint):
    code, output, errors = exits(capsys, *arguments)
    assert (code, output) == (1, "")
    assert errors.startswith("trio-livekit: error: ")
    assert errors.count("\n") == 1
    assert complaint in errors


@pytest.mark.parametrize(
    "arguments",
    [("x", "/no/such/file", "--lines"), ("x", "--lines", "/no/such/file"), ("--lines", "x", "/no/such/file")],
)
def test_the_file_may_stand_anywhere_among_the_options(capsys, arguments):
    code, _, errors = exits(capsys, "publish", *arguments, "--url", "ws://h", "--token", "t")
    assert (code, errors) == (1, "trio-livekit: error: /no/such/file: No such file or directory\n")


@pytest.mark.parametrize(
    "interrupt", [KeyboardInterrupt(), BaseExceptionGroup("two", [KeyboardInterrupt(), OSError()])]
)
def test_an_interrupt_at_any_point(capsys, monkeypatch, interrupt):
    def run(_):
        raise interrupt

    monkeypatch.setattr("trio_livekit.cli.demo.run", run)
    assert exits(capsys, "demo") == (130, "", "")


def test_debug_shows_where(capsys):
    with pytest.raises(ConnectError):
        main(("publish", "x", __file__, "--debug", "--url", "gopher://h", "--token", "t"))
    with pytest.raises(ConnectError):
        main(("--debug", "publish", "x", __file__, "--url", "gopher://h", "--token", "t"))


def unreachable(why):
    """An error as joining raises it where the connection itself failed."""
    middle = OSError("no connection")
    middle.__cause__ = why
    error = ConnectError(ConnectErrorReason.UNREACHABLE, "no way")
    error.__cause__ = middle
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectError(ConnectErrorReason.UNREACHABLE, "no route"), "cannot join: no route (is the server running?)"),
        (ConnectError(ConnectErrorReason.UNREACHABLE, "is this a server?"), "cannot join: is this a server?"),
        (
            ConnectError(ConnectErrorReason.TIMEOUT, "too long"),
            "cannot join: too long (trio-livekit doctor tries every step, and says where it stops)",
        ),
        (unreachable(socket.gaierror(-2, "unknown")), "cannot join: no way (is the host's name spelled right?)"),
        (
            unreachable(ssl.SSLError(1, "WRONG_VERSION_NUMBER")),
            "cannot join: no way (a server without TLS wants ws:// instead of wss://)",
        ),
        (RoomDisconnected("gone", "the room\nwas closed"), "the room was closed"),
        (PublishError(PublishErrorReason.DUPLICATE_NAME, "taken"), "taken"),
        (ExceptionGroup("many", [ExceptionGroup("one", [OSError(28, "No space left")])]), "No space left"),
        (InternalError("oops"), "internal error: oops (please report it, with what --debug shows)"),
        (KeyError("x"), "internal error: KeyError: 'x' (--debug shows where)"),
    ],
)
def test_errors_in_words(error, text):
    assert explain(error) == text


def test_token(capsys):
    arguments = ("--room", "lab", "--identity", "me", "--name", "Me", "--ttl", "10m", "--attribute", "colour=red")
    grants = ("canPublish=no", "can_publish_data=true", "canPublishSources=camera,microphone")
    options = [option for grant in grants for option in ("--grant", grant)]
    code, output, _ = exits(capsys, "token", *KEY, *arguments, *options)
    assert code == 0
    claims = verify_token(output.strip(), {"key": "secret"}.get)
    assert (claims.identity, claims.name, claims.attributes) == ("me", "Me", {"colour": "red"})
    assert claims.video.room == "lab"
    assert (claims.video.can_publish, claims.video.can_publish_data) == (False, True)
    assert claims.video.can_publish_sources == ("camera", "microphone")


def test_the_key_of_a_token_can_come_from_the_environment(capsys, monkeypatch):
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret")
    _, output, _ = exits(capsys, "token", "--room", "lab", "--identity", "me")
    assert verify_token(output.strip(), {"key": "secret"}.get).api_key == "key"
