"""What the two sides of a handshake have in common: their surroundings, and what they tell the connection to do.

A side takes whole messages in order. It collects the peer's flight, and looks at it only when it is complete; so a
flight that turns out to be bad leaves no trace, and the genuine one can still come. That matters because until the
keys are agreed anybody can send us handshake messages.
"""

from __future__ import annotations

__all__ = ["Handshake", "Role", "Setup", "Step", "collect"]

import enum
from typing import TYPE_CHECKING, Protocol

from ..records import dataclass
from .alerts import Alert, HandshakeError
from .handshake import MESSAGE_NAMES, Fragment, Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..types import RandomBytes
    from .certificate import LocalCertificate, PeerIdentity
    from .config import Config
    from .flight import Flight
    from .keys import MasterSecret


class Role(enum.Enum):
    """Which side of the handshake we are: the client speaks first."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a handshake starts from."""

    config: Config
    certificate: LocalCertificate
    random_bytes: RandomBytes
    identity: PeerIdentity


@dataclass(frozen=True, slots=True)
class Step:
    """What a handshake wants done, in the order of the fields.

    Attributes:
        master: the secret was agreed: records of epoch 1 can be read, and written.
        flight: to be sent.
        begins_anew: the flight is the first of another handshake; what has come of the peer's was for the one before.
        complete: the peer's Finished was verified.
        srtp_profile: what was negotiated; meaningful once ``complete``.
    """

    master: MasterSecret | None = None
    flight: Flight | None = None
    begins_anew: bool = False
    complete: bool = False
    srtp_profile: int | None = None


class Handshake(Protocol):
    """One side of a handshake."""

    def is_awaited_hello(self, fragment: Fragment) -> bool:
        """Whether this is of the message that opens the peer's first flight, and that is what we wait for.

        That message picks the numbering of the rest: it depends on how many HelloVerifyRequests there were.
        """

    @property
    def awaits(self) -> str:
        """What is awaited, in words for an error message."""

    def on_message(self, message: Message) -> Step | None:
        """Take the next message. Raises ``HandshakeError`` or ``DecodeError``."""

    def forget_flight(self) -> int:
        """Drop what was collected of the peer's flight; returns the number of its first message."""

    def on_unanswered(self) -> None:
        """Our flight was repeated because no answer came."""

    def on_hello_verify(self, message: Message) -> Step | None:
        """Take a HelloVerifyRequest, which stateless servers number as they like."""


def collect(collected: list[Message], message: Message, order: Mapping[int | None, tuple[int, ...]]) -> None:
    """Append the next message of a flight, if ``order`` has it follow the last one."""
    allowed = order.get(collected[-1].type if collected else None, ())
    if message.type not in allowed:
        name = MESSAGE_NAMES.get(message.type, f"message of type {message.type}")
        wanted = " or ".join([MESSAGE_NAMES[code] for code in allowed])
        raise HandshakeError(Alert.UNEXPECTED_MESSAGE, f"{name} where {wanted} was expected")
    collected.append(message)
