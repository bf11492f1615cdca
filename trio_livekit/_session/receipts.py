"""A reliable packet on its way out, and what its sender is told of it."""

from __future__ import annotations

__all__ = ["OnFullReconnect", "Parcel", "Receipt"]

from copy import copy
from typing import TYPE_CHECKING, Literal

import trio

if TYPE_CHECKING:
    from .._sansio.packets.messages import Value

OnFullReconnect = Literal["resend", "fail"]
"""What becomes of a packet that the server may or may not have when its session is replaced by another."""


class Receipt:
    """What became of one reliable packet that was sent. Comes from ``room.publish_data``."""

    __slots__ = ("_error", "_is_acked", "_left", "_settled")

    def __init__(self) -> None:
        self._is_acked = False
        self._error: Exception | None = None
        self._settled: trio.Event | None = None  # made when somebody waits
        self._left: dict[str, None] = {}

    @property
    def is_acked(self) -> bool:
        """Whether the server is known to have the packet, all of it."""
        return self._is_acked

    @property
    def recipients_left(self) -> tuple[str, ...]:
        """Those whom the packet was for, and who left before it was acknowledged: they may have missed it."""
        return tuple(self._left)

    async def wait_acked(self) -> None:
        """Wait until the server has acknowledged the packet: at most a minute.

        What a server has acknowledged it passes on to everyone who is connected to it at that time.
        Raises ``DeliveryError`` where it is possible that the server never got it.
        """
        if self._is_acked or self._error is not None:
            await trio.lowlevel.checkpoint()
        else:
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()
        if self._error is not None:
            raise copy(self._error)  # to each who waits its own traceback

    def __repr__(self) -> str:
        state = "acknowledged" if self._is_acked else "pending" if self._error is None else f"failed: {self._error}"
        return f"<Receipt {state}>"

    def _settle(self, error: Exception | None = None) -> None:
        if self._is_acked or self._error is not None:
            return
        self._is_acked, self._error = error is None, error
        if self._settled is not None:
            self._settled.set()


class Parcel:
    """A reliable packet, from ``send`` until it is acknowledged or given up.

    Attributes:
        body: the encoded packet without a number, or ``None`` while it is to be encrypted first.
        recipients: the identities of those who could be reached when it was sent.
        sent_at: when it was sent first.
        is_control: it was queued by somebody who cannot wait.
        settled: what its sender waits for; ``None`` as long as nobody does. Once it is set, the packet was sent, or
            ``error`` says why not.
    """

    __slots__ = (
        "body", "destinations", "error", "is_control", "on_full_reconnect", "receipt", "recipients", "sent_at",
        "settled", "size", "value",
    )  # fmt: skip

    def __init__(
        self, value: Value, destinations: tuple[str, ...], body: bytes | None, size: int, policy: OnFullReconnect
    ) -> None:
        self.value = value
        self.destinations = destinations
        self.body = body
        self.size = size
        self.on_full_reconnect = policy
        self.receipt = Receipt()
        self.recipients: frozenset[str] = frozenset()
        self.is_control = False
        self.sent_at: float | None = None
        self.error: Exception | None = None
        self.settled: trio.Event | None = None

    @property
    def is_sent(self) -> bool:
        """Whether it may have left, in this session or in one before."""
        return self.sent_at is not None

    def on_sent(self, recipients: frozenset[str], now: float) -> None:
        """It is on its way to these; of a packet that is sent again the others are not here any more."""
        self.recipients = recipients
        if self.sent_at is None:
            self.sent_at = now
        if self.settled is not None:
            self.settled.set()

    def refuse(self, error: Exception) -> None:
        """It will not be sent. Nobody was told that it would be."""
        self.error = error
        self.receipt._settle(error)
        if self.settled is not None:
            self.settled.set()

    def on_acked(self) -> None:
        """The server has it."""
        self.receipt._settle()

    def on_left(self, identity: str) -> None:
        """A participant left while it was not known whether the server has the packet."""
        if identity in self.recipients:
            self.receipt._left[identity] = None

    def give_up(self, error: Exception) -> None:
        """It was sent, and nobody will ever know whether it arrived."""
        self.receipt._settle(error)
