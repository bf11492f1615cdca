"""An experiment that is told to end takes down what it has built."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from .running import run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_where_signals_were_ignored(number: signal.Signals):
    done = []

    async def experiment(name: str) -> None:
        try:
            os.kill(os.getpid(), number)
            await trio.sleep(10)
        finally:
            done.append(name)

    before = signal.signal(number, signal.SIG_IGN)  # as nohup does
    try:
        with pytest.raises(KeyboardInterrupt):
            run(experiment, "taken down")
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert done == ["taken down"]


def test_what_an_experiment_found():
    async def experiment(a: int, b: int) -> int:
        return a + b

    assert run(experiment, 1, 2) == 3
