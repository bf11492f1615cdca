"""The doctor as a process: what it prints, and its exit code. What it finds out is tested with the API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.livekit import free_port

from . import program

if TYPE_CHECKING:
    from tests.support.livekit import LiveKitServer


def test_for_programs(livekit_server: LiveKitServer) -> None:
    server = program.Server(livekit_server.url, livekit_server.api_key, livekit_server.api_secret)
    ran = program.run("doctor", "--json", server=server)
    assert (ran.returncode, ran.stderr) == (0, b"")
    document = json.loads(ran.stdout)
    assert (document["works"], document["url"]) == (True, server.url)
    verdicts = {check["name"]: check["verdict"] for check in document["checks"]}
    assert verdicts["end to end"] == verdicts["tcp fallback"] == "ok"
    tcp = next(check for check in document["checks"] if check["name"] == "tcp")
    assert set(tcp) == {"name", "verdict", "detail", "advice", "milliseconds"}
    assert tcp["milliseconds"] >= 0


def test_for_people(embedded: program.Server) -> None:
    ran = program.run("doctor", embedded.url, "--timeout", "1", server=embedded)
    said = ran.stdout.decode()
    assert ran.returncode == 0
    assert "ok   udp" in said
    assert "WARN tcp fallback" in said
    assert said.endswith("It works, with 1 thing to look at.\n")


def test_where_nothing_works(embedded: program.Server) -> None:
    ran = program.run("doctor", f"ws://127.0.0.1:{free_port()}", server=embedded)
    assert ran.returncode == 1
    assert b"FAIL tcp" in ran.stdout
    assert b"It does not work" in ran.stdout


def test_without_a_token(embedded: program.Server) -> None:
    ran = program.run("doctor", embedded.url)
    said = ran.stdout.decode()
    assert ran.returncode == 1
    assert "ok   tcp" in said
    assert "FAIL token         none was given" in said
    assert "signalling" not in said


def test_without_a_server() -> None:
    assert program.run("doctor").returncode == 2
