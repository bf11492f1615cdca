"""The console script ``trio-livekit``, which has to stand outside of the package.

Importing the package takes a few tenths of a second, in which a Ctrl-C would show a traceback of wherever it came: so
it has the default action of its signal meanwhile, and ends the process without a word, as it does in other programs.
``python -m trio_livekit`` imports the package before any code of ours can run, and cannot be helped.
"""

from __future__ import annotations

__all__ = ["main"]

import signal

_INTERRUPTED = 130


def main() -> int:
    """Run ``trio-livekit``; returns its exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # whoever started it wants that ignored
        from trio_livekit.cli import main as run

        return run()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from trio_livekit.cli import main as run

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # without which trio leaves Ctrl-C alone
        return run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter takes its time to end, too
