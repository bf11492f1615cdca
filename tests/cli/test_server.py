"""``trio-livekit server`` as a process."""

from __future__ import annotations

import os
import shlex
import signal

import pytest

from . import program


def test_it_says_how_to_use_it_and_ends_on_ctrl_c():
    with program.serving() as (process, server):
        lines = []
        while not (lines and lines[-1].lstrip().startswith("trio-livekit token")):
            lines.append(process.stdout.readline().decode())
        exported = next(shlex.split(line)[1:] for line in lines if "export" in line)
        assert dict(word.split("=", 1) for word in exported) == server.environment()
        process.send_signal(signal.SIGINT)
        code, _, errors = program.finish(process)
        assert (code, errors) == (130, "")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without asking them")
def test_it_ends_on_sigterm_and_keeps_a_secret():
    secret = "a secret that nobody else may see, of a good length"
    with program.serving("--api-key", "mine", "--api-secret", secret) as (process, _):
        process.terminate()
        code, output, errors = program.finish(process)
        assert (code, errors) == (128 + signal.SIGTERM, "")
        assert b"LIVEKIT_API_KEY=mine" in output
        assert secret.encode() not in output


def test_it_warns_of_a_secret_that_is_too_short():
    with program.serving("--api-key", "mine", "--api-secret", "short") as (process, _):
        process.send_signal(signal.SIGINT)
        code, _, errors = program.finish(process)
        assert (code, errors) == (130, "the API secret is shorter than 32 bytes: tokens may be forged by guessing it\n")
