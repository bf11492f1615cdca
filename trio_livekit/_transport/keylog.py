"""DTLS secrets for a packet analyser, only where the environment variable ``SSLKEYLOGFILE`` asks for them."""

from __future__ import annotations

__all__ = ["key_log_from_environment"]

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


def key_log_from_environment() -> Callable[[str], None] | None:
    """A function that appends one NSS key log line to ``$SSLKEYLOGFILE``, or ``None`` where that is not set."""
    path = os.environ.get("SSLKEYLOGFILE")
    if not path:
        return None

    def write(line: str) -> None:
        # Two short writes per connection; the file is readable by its owner alone, as the secrets in it demand.
        try:
            with open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as log:
                log.write(line + "\n")
        except OSError as exc:  # a connection is worth more than a record of it
            logger.warning("the DTLS secrets cannot be written to $SSLKEYLOGFILE: %s", exc)

    return write
