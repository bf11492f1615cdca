"""What the demo shows: numbers as texts, sparklines, and a table that fits."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit.cli import doctor, tables
from trio_livekit.cli.demo.display import demo_table, layout
from trio_livekit.cli.demo.meters import Meter, decode_reading, encode_reading
from trio_livekit.cli.demo.telemetry import Reading
from trio_livekit.cli.demo.wording import details_text, value_text
from trio_livekit.cli.explain import explain
from trio_livekit.cli.tables import Column, Table, open_display, table_lines
from trio_livekit.cli.wording import bytes_text, milliseconds, sparkline
from trio_livekit.data_tracks import DataTrackFrame, now_ms
from trio_livekit.diagnosis import Check, Verdict
from trio_livekit.errors import ConnectError, ConnectErrorReason

GB = 1e9


def statistics(**counts):
    return SimpleNamespace(statistics=lambda: SimpleNamespace(**counts))


def meter(name="disk", reading=None, sent=3, lost=0):
    """A meter that has seen three frames."""
    reading = reading or Reading(81.5, "%", "/proc/x", {"used_bytes": 81.5 * GB, "total_bytes": 100 * GB})
    made = Meter(name, statistics(frames_sent=sent), statistics(frames_lost=lost, frames_displaced=0))
    for number in range(3):
        made.tick()
        made._on_frame(DataTrackFrame(encode_reading(reading, number), now_ms()))
    made.tick()
    return made


def test_a_meter_counts():
    measured = meter(sent=5, lost=1)
    assert (measured.frames, measured.lost, measured.is_drained) == (3, 1, False)
    assert measured.latencies.count == measured.timestamp_latencies.count == 3
    assert measured.frames_per_s > 0
    assert list(measured.history) == [81.5] * 3
    assert meter(sent=4, lost=1).is_drained


def test_readings_come_back():
    reading = decode_reading(encode_reading(Reading(1.23456, "B/s", "/proc/net/dev", {"x": 2.0}), 7))
    assert reading.pop("sent_ns") > 0
    assert reading == {"value": 1.235, "unit": "B/s", "source": "/proc/net/dev", "number": 7, "x": 2.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bytes_text(0), "0 B"),
        (bytes_text(999.4), "999 B"),
        (bytes_text(999.9), "1.0 kB"),
        (bytes_text(123_456), "123 kB"),
        (bytes_text(15.6 * GB), "15.6 GB"),
        (bytes_text(5e15), "5000.0 TB"),
        (milliseconds(None), "-"),
        (milliseconds(0.00084), "0.84"),
        (milliseconds(0.0123), "12.3"),
        (milliseconds(0.25), "250"),
        (value_text(None), "-"),
        (value_text({"value": 12.34, "unit": "%"}), "12.3 %"),
        (value_text({"value": 1234, "unit": "B/s"}), "1.2 kB/s"),
        (value_text({"value": 1.5, "unit": "load"}), "load 1.50"),
        (details_text(None), ""),
        (
            details_text({"source": "x (this process)", "cores": 2.0, "load_1m": 0.5}),
            "2 cores, load 0.50, this process",
        ),
        (sparkline([0, 50, 100], 10, top=100), "▁▅█"),
        (sparkline([0, 1, 2], 2), "▅█"),
        (sparkline([0, 0], 5), "▁▁"),
        (sparkline([1], 0), ""),
        (sparkline([0, 100], 5, ascii_only=True), "_#"),
    ],
)
def test_wording(text, expected):
    assert text == expected


@given(st.lists(st.floats(-1e12, 1e12)), st.integers(0, 50))
def test_a_sparkline_is_never_wider_than_it_may_be(values, width):
    assert len(sparkline(values, width, top=100)) == min(len(values), width)


@pytest.mark.parametrize("width", [40, 80, 117, 118, 120, 250])
def test_the_table_fits(width):
    meters = [meter("cpu"), meter("network", Reading(123_456_789, "B/s", "/proc/net/dev"))]
    for _ in range(300):
        meters[0].tick()
    lines = table_lines(demo_table(meters, "title" * 50, "footer" * 50, width=width, ascii_only=False), width)
    assert len(lines) == 7
    if width >= 80:
        assert max(map(len, lines)) == width
        assert ("81.5 GB of 100 GB" in lines[3]) == (width >= 118)
        assert layout(width)[1] >= 10


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


def test_without_rich_the_table_is_drawn_over(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "trio_livekit.cli.rich_tables", None)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 24)))
    raw = io.BytesIO()
    stream = Terminal(raw, encoding="ascii", write_through=True)
    with open_display(stream) as display:
        assert display.width == 79
        for _ in range(2):
            display.show(demo_table([meter()], "title", "footer", width=display.width, ascii_only=display.ascii_only))
    first, second = raw.getvalue().decode("ascii").split("\x1b[6A")
    assert first.count("\n") == 6  # the cursor is where it was
    assert second.startswith("\x1b[J")


@pytest.mark.parametrize("width", [80, 120])
def test_with_rich_every_column_has_place(monkeypatch, width):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    raw = io.BytesIO()
    stream = Terminal(raw, encoding="utf-8", write_through=True)
    with open_display(stream) as display:
        meters = [meter("cpu"), meter("network", Reading(123_456_789, "B/s", "/proc/net/dev"))]
        display.show(demo_table(meters, "title", "footer", width=display.width, ascii_only=display.ascii_only))
    text = raw.getvalue().decode()
    assert "frames/s" in text
    assert "123 MB/s" in text
    assert "▁" in text or "█" in text
    assert "…" not in text
    assert ("81.5 GB of 100 GB" in text) == (width == 120)


@pytest.mark.parametrize("kind", ["log", "redrawn", "rich"])
def test_names_of_others_do_nothing_to_the_terminal(kind, monkeypatch):
    """Whoever is in the room chooses them: colours, a cleared screen, lines of their own, text from right to left."""
    hostile = "\x1b[2J\x1b]0;title\x07\r\nrow\u202e[red]\x9b1m"
    table = Table(hostile, [Column("who", 40, left=True), Column("n", 40)], [[hostile, hostile]], hostile)
    stream = io.StringIO()
    if kind == "rich":
        rich_tables = pytest.importorskip("trio_livekit.cli.rich_tables")
        monkeypatch.setenv("TERM", "xterm")
        with rich_tables.rich_display(stream, ascii_only=False) as display:
            display.show(table)
    else:
        {"log": tables._Log, "redrawn": tables._Redrawn}[kind](stream, False).show(table)
    shown = stream.getvalue().removeprefix("\r\x1b[J")
    assert shown.count("?[2J?]0;title???row?[red]?1m") == 4
    assert not set(shown) & set("\x1b\x07\r\u202e\x9b")
    assert len(shown.splitlines()) <= 7


def test_words_of_others_in_errors_and_diagnoses_are_plain():
    refused = ConnectError(ConnectErrorReason.INVALID_REQUEST, "the server refused: \x1b[2J\u202e")
    assert explain(refused) == "cannot join: the server refused: ?[2J?"
    check = Check("join", Verdict.FAILED, "\x1b[2J", "\x1b[2J", None)
    assert "\x1b" not in "".join(doctor.lines(check))
