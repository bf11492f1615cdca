"""The two of livekit-protocol's generated modules that a client needs; its package imports all twenty."""

from __future__ import annotations

__all__ = ["models", "rtc"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livekit.protocol import models, rtc
else:
    from .._parts import import_part

    models, rtc = import_part("livekit.protocol", "models"), import_part("livekit.protocol", "rtc")
