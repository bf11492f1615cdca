"""The two of livekit-protocol's generated modules that a client needs; its package imports all twenty."""

from __future__ import annotations

__all__ = ["models", "rtc"]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livekit.protocol import models, rtc
else:
    from .._parts import import_part

    _UNUSED = ("google.protobuf.internal.python_message",)
    """Messages in plain Python: protobuf imports it, with a parser of text and pickle, also where its own are in C."""

    models = import_part("livekit.protocol", "models", unused=_UNUSED)
    rtc = import_part("livekit.protocol", "rtc", unused=_UNUSED)
