"""The few types that every core shares."""

from __future__ import annotations

__all__ = ["Address", "RandomBytes"]

from collections.abc import Callable

RandomBytes = Callable[[int], bytes]
"""``random_bytes(n)`` returns ``n`` bytes fit for secrets; injected, so that a test can seed it."""

Address = tuple[str, int]
"""An IP address as text (IPv6 may carry ``%scope``) and a port."""
