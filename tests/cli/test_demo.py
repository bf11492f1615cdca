"""The demo as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from . import program

LATENCIES = {"samples": int, "min": float, "p50": float, "p99": float, "max": float}
SUMMARY = {
    "version": str,
    "server": str,
    "seconds": float,
    "setup_ms": {
        "server": float,
        "publisher_connect": float,
        "subscriber_connect": float,
        "publish_and_subscribe": float,
    },
    "total": dict.fromkeys(
        ("frames_sent", "frames_received", "frames_lost", "frames_displaced", "bytes_received"), int
    ),
    "tracks": [
        {
            "name": str,
            **dict.fromkeys(
                (
                    "frames_sent",
                    "frames_refused",
                    "frames_dropped",
                    "frames_received",
                    "frames_lost",
                    "frames_displaced",
                    "bytes_received",
                ),
                int,
            ),
            "frames_per_s": float,
            "bytes_per_s": float,
            "latency_ms": LATENCIES,
            "user_timestamp_latency_ms": LATENCIES,
            "latest": dict,
        }
    ],
}


def check(value, schema, where="$"):
    """Whether a JSON value has this form, and nothing more than that."""
    if isinstance(schema, dict):
        assert value.keys() == schema.keys(), where
        for key, part in schema.items():
            check(value[key], part, f"{where}.{key}")
    elif isinstance(schema, list):
        assert value, where
        for index, item in enumerate(value):
            check(item, schema[0], f"{where}[{index}]")
    else:
        assert isinstance(value, schema), f"{where} is {value!r}"


def test_json():
    found = program.run("demo", "--seconds", "2", "--rate", "10", "--json")
    assert (found.returncode, found.stderr) == (0, b"")
    summary = json.loads(found.stdout)
    check(summary, SUMMARY)
    assert {"cpu", "memory", "disk"} <= {track["name"] for track in summary["tracks"]}
    for track in summary["tracks"]:
        assert track["frames_sent"] > 0
        assert track["frames_received"] + track["frames_lost"] + track["frames_displaced"] == track["frames_sent"]
        assert track["latency_ms"]["samples"] == track["frames_received"]
        assert track["latency_ms"]["min"] > 0
        assert track["latest"].keys() >= {"value", "unit", "source", "number", "sent_ns"}
    assert summary["total"]["frames_received"] == sum(track["frames_received"] for track in summary["tracks"])


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGINT to send")
def test_json_lines_until_ctrl_c():
    with program.started("demo", "--json-lines") as process:
        first = json.loads(process.stdout.readline())
        assert first["type"] == "sample"
        assert first["track"] == "cpu"
        process.send_signal(signal.SIGINT)
        code, output, errors = program.finish(process)
    assert (code, errors) == (130, "")
    *samples, summary = map(json.loads, output.splitlines())
    assert {sample["type"] for sample in samples} <= {"sample"}
    assert summary.pop("type") == "summary"
    check(summary, SUMMARY)


def test_a_reader_that_goes_away():
    with program.started("demo", "--json-lines", "--rate", "1") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(program.TIMEOUT_S) == 141
        assert process.stderr.read() == b""


def test_plain_text_where_rich_is_not_installed():
    code = "import sys; sys.modules['rich'] = None; from trio_livekit.cli import main; sys.exit(main())"
    found = subprocess.run(
        [sys.executable, "-c", code, "demo", "--seconds", "0.5"],
        capture_output=True,
        cwd=program.ROOT,
        env={**program.environment(), "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        timeout=program.TIMEOUT_S,
    )
    assert (found.returncode, found.stderr) == (0, b"")
    lines = found.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in found.stdout.decode()
    assert sum(line.startswith("memory ") for line in lines) == 3  # in the table, first and last, and in the summary
    assert lines[-1].endswith(" lost")


@pytest.mark.skipif(sys.platform != "linux", reason="a pseudo-terminal as Linux has it")
def test_a_live_table_on_a_terminal():
    import fcntl
    import pty
    import struct
    import termios

    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with program.started("demo", "--seconds", "20", stdout=theirs) as process:
        os.close(theirs)
        output = b""
        interrupted = False
        try:
            while chunk := os.read(ours, 65536):
                output += chunk
                if not interrupted and "▁".encode() in output:
                    interrupted = True
                    process.send_signal(signal.SIGINT)
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(ours)
        assert process.wait(program.TIMEOUT_S) == 130
        assert process.stderr.read() == b""
    text = output.decode()
    assert "frames/s" in text
    assert "▁" in text
    assert "…" not in text  # every column has place
