"""A name that the sender chose, and what may be made of it on a disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._sansio.streams.info import ByteStreamInfo


def safe_name(name: str) -> str:
    info = ByteStreamInfo(
        stream_id="s", sender_identity="ann", topic="files", mime_type="", timestamp_ms=0, total_bytes=None,
        attributes={}, is_encrypted=False, name=name,
    )  # fmt: skip
    return info.safe_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("été 2026.tar.gz", "été 2026.tar.gz"),
        ("/etc/passwd", "passwd"),
        ("../../../home/ann/.bashrc", "bashrc"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Windows\\system.ini", "system.ini"),
        ("C:evil", "C_evil"),
        ("", "unnamed"),
        ("..", "unnamed"),
        ("...", "unnamed"),
        ("dir/", "unnamed"),
        (" . . ", "unnamed"),
        ("x\0y", "x_y"),
        ("\x1b[2Jcleared\n", "_[2Jcleared_"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("file.txt:stream", "file.txt_stream"),
        ("NUL", "_NUL"),
        ("com1.txt", "_com1.txt"),
        ("con.tar.gz", "_con.tar.gz"),
        ("console.txt", "console.txt"),
        ("~root", "~root"),
        ("a" * 300 + ".jpeg", "a" * 195 + ".jpeg"),
        ("é" * 300, "é" * 100),
        ("a." + "b" * 300, "a." + "b" * 198),
    ],
)
def test_what_becomes_of_names(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@given(st.text() | st.from_regex(r"[./\\ :a-zA-Z0-9\x00-\x1f]{0,12}", fullmatch=True))
def test_any_name(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert safe.isprintable()
    assert not set(safe) & set('/\\<>:"|?*')
    assert safe == safe.strip(". ")
    assert len(safe.encode()) <= 200
    assert safe.partition(".")[0].upper() not in {"CON", "NUL", "COM1", "LPT9"}
    assert safe_name(safe) == safe
