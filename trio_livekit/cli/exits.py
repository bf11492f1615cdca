"""Exit codes, and the errors that stand for wrong usage."""

from __future__ import annotations

__all__ = ["BROKEN_PIPE", "FAILURE", "FRAMES_LOST", "INTERRUPTED", "OK", "USAGE", "CommandError", "UsageError"]

OK = 0
FAILURE = 1
USAGE = 2
FRAMES_LOST = 3
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
BROKEN_PIPE = 141  # 128 + SIGPIPE


class UsageError(Exception):
    """The arguments do not go together."""


class CommandError(Exception):
    """The command cannot go on; the text is for the user."""
