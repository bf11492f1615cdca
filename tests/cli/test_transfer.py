"""``publish`` and ``subscribe`` as processes, through the embedded server and the real one."""

from __future__ import annotations

import contextlib
import random
import select
import signal
import subprocess

import pytest

from trio_livekit import VideoGrants, access_token
from trio_livekit.cli import main
from trio_livekit.cli.framing import PrefixSplitter, encode_prefixed

from . import program

both_servers = pytest.mark.parametrize(
    "server", ["embedded", pytest.param("real", marks=pytest.mark.livekit_server)], indirect=True
)


def transfer(server, room, publish, subscribe, data):
    """Send ``data`` from one process to another; the exit code, output and standard error of both."""
    who = ("--room", room, "--identity")
    with program.started("subscribe", "track", *who, "reader", *subscribe, server=server) as reader:
        arguments = ("publish", "track", *who, "writer", "--wait-for", "reader", "--linger", "0.2", *publish)
        sent = program.run(*arguments, server=server, data=data)
        return (sent.returncode, sent.stdout, sent.stderr.decode()), program.finish(reader)


@pytest.fixture
def transfer_here(embedded, capsys, monkeypatch, tmp_path):
    """The same from a file, with the sending end in this process."""

    def transfer(room, publish, subscribe, data):
        file = tmp_path / "input"
        file.write_bytes(data)
        who = ("--room", room, "--identity")
        with program.started("subscribe", "track", *who, "reader", *subscribe, server=embedded) as reader:
            arguments = ("publish", "track", str(file), *who, "writer", "--wait-for", "reader", *publish)
            return run_here(embedded, arguments, capsys, monkeypatch), program.finish(reader)

    return transfer


def run_here(server, arguments, capsys, monkeypatch):
    """The same as a process would do, where none is needed."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return main(arguments), *capsys.readouterr()


def check_received(received, expected, frames):
    """Everything came, in order; or, since tracks are lossy, all that did not is counted and told by the exit code."""
    code, output, errors = received
    if code == 0:
        assert output == expected
        assert f"{frames} frames, " in errors
        assert f"; 0 missing (of {frames})" in errors
    else:
        assert code == 3, errors
        assert output != expected
        assert f"; 0 missing (of {frames})" not in errors


@both_servers
def test_numbered_blocks(server):
    data = random.Random(1).randbytes(1_000_001)
    sent, received = transfer(
        server,
        "blocks",
        ("--blocks", "15000", "--numbered", "--timestamps"),
        ("--numbered", "--strict"),
        data,
    )
    report = "72 frames sent, 1000289 bytes accepted, 0 refused, 0 dropped"
    code, output, errors = sent
    assert (code, output) == (0, b"")
    said, _, lost = errors.partition(";")  # what was lost on the way is told after that
    assert said.strip() == f"{report} (with their numbers, and up to 5 frames that mark the end)"
    assert not lost or "packets lost on the way to the server, 0 bytes unacknowledged" in lost
    check_received(received, data, 67)
    assert "latency p50" in received[2]


def test_lines_to_lines(transfer_here):
    data = b"".join(b"line %d\n" % number for number in range(200)) + b"\n\nthe last one"
    sent, received = transfer_here("lines", ("--bandwidth", "20k"), ("--lines", "--idle", "10"), data)
    assert sent[:2] == (0, "")
    assert sent[2].startswith(f"203 frames sent, {len(data) - 200} bytes accepted, 0 refused, 0 dropped")
    code, output, errors = received
    assert code == 0
    if errors.startswith("203 frames"):
        assert output == data + b"\n"
        assert errors == f"203 frames, {len(data) - 200} bytes received; 0 lost, 0 displaced\n"
    else:  # it subscribed late, on a busy machine, or some were lost
        assert b"the last one\n" in output
        assert set(output.splitlines()) <= set(data.splitlines())


def test_length_prefixed_frames_keep_their_borders(transfer_here):
    frames = [random.Random(size).randbytes(size) for size in (1, 5, 15_000, 40_000, 2)]
    data = b"".join(map(encode_prefixed, frames))
    sent, received = transfer_here("prefixed", ("--length-prefixed",), ("--length-prefixed", "--count", "5"), data)
    code, output, errors = received
    assert sent[0] == code == 0
    arrived = list(PrefixSplitter().feed(output))
    if "; 0 lost, 0 displaced" in errors:
        assert arrived == frames
    else:  # tracks are lossy; what arrives is whole
        assert arrived
        assert set(arrived) <= set(frames)


def test_input_that_is_not_what_it_was_said_to_be(embedded, capsys, monkeypatch, tmp_path):
    (tmp_path / "input").write_bytes(encode_prefixed(b"good") + bytes(4))
    file = str(tmp_path / "input")
    arguments = ("publish", "track", file, "--room", "broken", "--length-prefixed", "--delay", "0", "--linger", "0")
    code, output, errors = run_here(embedded, arguments, capsys, monkeypatch)
    assert (code, output) == (1, "")
    report, error = errors.splitlines()
    assert report.startswith("1 frame sent, 4 bytes accepted, 0 refused, 0 dropped")
    assert error.startswith("trio-livekit: error: frame 2 has the length 0")


def test_nobody_publishes(embedded, capsys, monkeypatch, tmp_path):
    arguments = ("subscribe", "track", "-o", str(tmp_path / "output"), "--room", "empty", "--wait", "0.1")
    found = run_here(embedded, arguments, capsys, monkeypatch)
    assert found == (1, "", "trio-livekit: error: nobody published a data track 'track' within 0.1 s\n")


def test_a_token_that_does_not_allow_subscribing(embedded, capsys, monkeypatch, tmp_path):
    token = access_token(
        embedded.api_key,
        embedded.api_secret,
        identity="deaf",
        room="lab",
        grants=VideoGrants(can_subscribe=False),
    )
    arguments = ("subscribe", "track", "-o", str(tmp_path / "output"), "--token", token)
    code, output, errors = run_here(embedded, arguments, capsys, monkeypatch)
    assert (code, output) == (1, "")
    assert errors == "trio-livekit: error: the token does not allow subscribing: it needs the grant can_subscribe\n"


def test_a_token_of_another_server(embedded, capsys, monkeypatch):
    other = program.Server(embedded.url, "devkey", "some other secret that is long enough")
    code, output, errors = run_here(other, ("publish", "track", __file__, "--room", "lab"), capsys, monkeypatch)
    assert (code, output) == (1, "")
    assert errors.startswith("trio-livekit: error: cannot join: not allowed: ")
    assert errors.count("\n") == 1


def test_ctrl_c_ends_a_publisher_that_waits_for_input_and_the_subscriber_with_it(embedded):
    room = ("--room", "endless")
    with (
        program.started("subscribe", "track", *room, server=embedded) as reader,
        program.started("publish", "track", *room, server=embedded, stdin=subprocess.PIPE) as writer,
    ):
        lines = 0
        while not select.select([reader.stdout], [], [], 0.2)[0]:  # until it has subscribed
            writer.stdin.write(b"tick\n")
            lines += 1
        # The writer waits for more now, in a thread.
        writer.send_signal(signal.SIGINT)
        assert writer.wait(program.TIMEOUT_S) == 130
        words = writer.stderr.read().decode().split()
        sent = int(words[0])
        report = f"{sent} {words[1]} sent, {4 * sent} bytes accepted, 0 refused, 0 dropped"
        assert " ".join(words).startswith(report)  # and then, on a busy machine, what it takes for lost
        assert sent <= lines  # of which it may not have read the last
        code, output, report = program.finish(reader)
        assert code == 0
        assert set(output.split(b"tick")) == {b""}
        received = output.count(b"tick")
        assert report == f"{received} frames, {4 * received} bytes received; 0 lost, 0 displaced\n"


@pytest.mark.parametrize("after", ["a frame", "nothing"])
def test_a_reader_that_goes_away(embedded, after):
    """As in ``trio-livekit subscribe | head -1``, which has not to wait for another frame, nor for a first one."""
    room = ("--room", f"pipe after {after}")
    with contextlib.ExitStack() as stack:
        subscribe = program.started("subscribe", "track", *room, "--identity", "reader", "--lines", server=embedded)
        reader = stack.enter_context(subscribe)
        if after == "a frame":
            publish = program.started("publish", "track", *room, "--rate", "20", server=embedded, stdin=subprocess.PIPE)
            writer = stack.enter_context(publish)
            writer.stdin.write(b"one\n" * 1000)
            assert reader.stdout.readline() == b"one\n"
        reader.stdout.close()
        assert reader.wait(program.TIMEOUT_S) == 141
        assert b"Traceback" not in reader.stderr.read()
