"""DTLS secrets for a packet analyser, only where the environment variable ``SSLKEYLOGFILE`` asks for them."""

from __future__ import annotations

__all__ = ["key_log_from_environment"]

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def key_log_from_environment() -> Callable[[str], None] | None:
    """A function that appends one NSS key log line to ``$SSLKEYLOGFILE``, or ``None`` where that is not set."""
    path = os.environ.get("SSLKEYLOGFILE")
    if not path:
        return None

    def write(line: str) -> None:
        # Two short writes per connection; the file is readable by its owner alone, as the secrets in it demand.
        with open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as log:
            log.write(line + "\n")

    return write
