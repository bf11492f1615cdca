"""Session descriptions for data channels (RFC 8866, RFC 8829 section 5, RFC 8841), written strictly and read liberally.

A description is kept as the ordered lines it came in, so that what is not understood survives. The properties on top of
them look where peers in the field put things: transport attributes stand in the data section, in the section that leads
its bundle (RFC 9143 section 7.1.3), or at the top; line ends are CRLF or LF; the data section may be of the old kind
(``m=application 9 DTLS/SCTP 5000`` with ``a=sctpmap``).
"""

from __future__ import annotations

__all__ = ["Line", "LocalDescription", "Section", "SessionDescription", "Setup", "data_answer", "data_offer"]

import enum
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DecodeError
from .records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CHARACTERS = 256 * 1024
MAX_SECTIONS = 256
MAX_CANDIDATES = 200

DEFAULT_SCTP_PORT = 5000
DEFAULT_MAX_MESSAGE_SIZE = 65536  # RFC 8841 section 6.1
UNLIMITED_MESSAGE_SIZE = 0x7FFFFFFF  # what 0 stands for there

_OUR_MAX_MESSAGE_SIZE = 262_144


class Setup(enum.Enum):
    """Who opens the DTLS handshake (RFC 4145 section 4, RFC 8842 section 5.2)."""

    ACTPASS = "actpass"  # in an offer: the answerer chooses
    ACTIVE = "active"  # the DTLS client
    PASSIVE = "passive"  # the DTLS server


class Line(NamedTuple):
    """One line, without its ``=`` and line end."""

    type: str
    value: str

    def __str__(self) -> str:
        return f"{self.type}={self.value}"


class Section:
    """The lines of one part of a description: the session part at the top, or one media section."""

    __slots__ = ("lines",)

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = list(lines)

    def values(self, attribute: str) -> list[str]:
        """The values of an attribute, in order; ``""`` for one that is only a flag."""
        found = []
        for line in self.lines:
            if line.type == "a":
                name, _, value = line.value.partition(":")
                if name == attribute:
                    found.append(value.strip())
        return found

    def value(self, attribute: str) -> str | None:
        """The first value of an attribute."""
        values = self.values(attribute)
        return values[0] if values else None


class MediaSection(Section):
    """A media section; its first line is ``m=<media> <port> <protocol> <format> ...``."""

    __slots__ = ("formats", "media", "port", "protocol")

    def __init__(self, lines: Iterable[Line]) -> None:
        super().__init__(lines)
        parts = self.lines[0].value.split()
        if len(parts) < 4:
            raise DecodeError("an m= line has too few fields")
        self.media = parts[0]
        self.port = _number(parts[1].partition("/")[0], "port", 65535)
        self.protocol = parts[2]
        self.formats = parts[3:]

    @property
    def mid(self) -> str | None:
        """The name of the section, if it has one."""
        return self.value("mid")

    @property
    def rejected(self) -> bool:
        """Whether the section is turned off (RFC 9143 section 6 for the exception)."""
        return self.port == 0 and self.value("bundle-only") is None

    @property
    def is_data(self) -> bool:
        """Whether it is for data channels, in the form of RFC 8841 or the one of its drafts."""
        if self.media != "application" or not self.protocol.endswith("DTLS/SCTP"):
            return False
        return "webrtc-datachannel" in self.formats or self._sctpmap is not None

    @property
    def sctp_port(self) -> int:
        """The SCTP port of the peer."""
        text = self.value("sctp-port")
        if text is None and self._sctpmap is not None:
            text = self._sctpmap[0]
        return DEFAULT_SCTP_PORT if text is None else _number(text, "SCTP port", 65535)

    @property
    def max_message_size(self) -> int:
        """Bytes in the largest message that the peer takes."""
        text = self.value("max-message-size")
        if text is None:
            return DEFAULT_MAX_MESSAGE_SIZE
        return min(_number(text, "largest message", 2**64), UNLIMITED_MESSAGE_SIZE) or UNLIMITED_MESSAGE_SIZE

    @property
    def _sctpmap(self) -> list[str] | None:
        for text in self.values("sctpmap"):
            parts = text.split()
            if parts[1:2] == ["webrtc-datachannel"]:
                return parts
        return None


class SessionDescription:
    """A whole description. Every property may raise ``DecodeError``, if what it is about does not make sense."""

    __slots__ = ("media", "session")

    def __init__(self, session: Section, media: Iterable[MediaSection]) -> None:
        self.session = session
        self.media = list(media)

    @classmethod
    def parse(cls, text: str) -> SessionDescription:
        """Read a description.

        Raises:
            DecodeError: it is none, or over the limits of this module.
        """
        if len(text) > MAX_CHARACTERS:
            raise DecodeError("the session description is too long")
        parts: list[list[Line]] = [[]]
        candidates = 0
        for raw in text.split("\n"):
            stripped = raw.rstrip("\r")
            if not stripped:
                continue
            if len(stripped) < 2 or stripped[1] != "=" or not stripped[0].isalpha() or "\r" in stripped:
                raise DecodeError("the session description has a line that is not <type>=<value>")
            line = Line(stripped[0], stripped[2:])
            candidates += line.type == "a" and line.value.startswith("candidate:")
            if line.type == "m":
                parts.append([])
            parts[-1].append(line)
        if parts[0][:1] != [Line("v", "0")]:
            raise DecodeError("the session description does not begin with v=0")
        if len(parts) - 1 > MAX_SECTIONS or candidates > MAX_CANDIDATES:
            raise DecodeError("the session description has too many parts")
        return cls(Section(parts[0]), [MediaSection(lines) for lines in parts[1:]])

    def __str__(self) -> str:
        return _text(line for section in (self.session, *self.media) for line in section.lines)

    @property
    def bundle(self) -> list[str]:
        """The mids that share one transport, the leading one first."""
        for text in self.session.values("group"):
            kind, *mids = text.split() or [""]
            if kind == "BUNDLE":
                return mids
        return []

    @property
    def data(self) -> MediaSection:
        """The section for data channels: the first that is not turned off."""
        for section in self.media:
            if section.is_data and not section.rejected:
                return section
        raise DecodeError("the session description has no section for data channels")

    @property
    def ufrag(self) -> str:
        """The user name fragment of the peer's ICE agent."""
        return self._credential("ice-ufrag")

    @property
    def password(self) -> str:
        """The password of the peer's ICE agent."""
        return self._credential("ice-pwd")

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of the peer's certificate as text, at least one."""
        values = self._transport_values("fingerprint")
        if not values:
            raise DecodeError("the session description has no fingerprint")
        return values

    @property
    def setup(self) -> Setup:
        """Who opens the DTLS handshake; ``ACTPASS`` if nothing is said of it."""
        values = self._transport_values("setup")
        try:
            return Setup(values[0].lower()) if values else Setup.ACTPASS
        except ValueError as exc:
            raise DecodeError("the session description has an unknown a=setup") from exc

    @property
    def ice_lite(self) -> bool:
        """Whether the peer's ICE agent only answers (RFC 8445 section 2.5)."""
        return self.session.value("ice-lite") is not None

    @property
    def candidates(self) -> list[str]:
        """The candidates, each beginning with ``candidate:``."""
        return [f"candidate:{value}" for value in self._transport_values("candidate")]

    @property
    def end_of_candidates(self) -> bool:
        """Whether the peer says that there will be no more."""
        return bool(self._transport_values("end-of-candidates"))

    @property
    def sctp_port(self) -> int:
        """The SCTP port of the peer."""
        return self.data.sctp_port

    @property
    def max_message_size(self) -> int:
        """Bytes in the largest message that the peer takes."""
        return self.data.max_message_size

    def _transport_values(self, attribute: str) -> list[str]:
        """The values of an attribute where it is said closest to the data section."""
        data = self.data
        places: list[Section] = [data]
        bundle = self.bundle
        if data.mid in bundle:
            places += [section for section in self.media if section.mid == bundle[0]]
        places.append(self.session)
        return next((values for place in places if (values := place.values(attribute))), [])

    def _credential(self, attribute: str) -> str:
        values = self._transport_values(attribute)
        if not values or not 0 < len(values[0]) <= 256:
            raise DecodeError(f"the session description has no usable {attribute}")
        return values[0]


@dataclass(frozen=True, slots=True)
class LocalDescription:
    """What our own description has to say."""

    ufrag: str
    password: str = field(repr=False)
    fingerprint: str
    """Hash and digest, as in ``sha-256 AB:CD:...``."""
    setup: Setup
    session_id: int
    """63 random bits; the same for all descriptions of a connection."""
    version: int = 1
    """One more for each description of a connection."""
    candidates: tuple[str, ...] = ()
    """Each beginning with ``candidate:``."""
    end_of_candidates: bool = False
    max_message_size: int = _OUR_MAX_MESSAGE_SIZE


def data_offer(local: LocalDescription, *, mid: str = "0") -> str:
    """An offer with one section, for data channels."""
    head = Line("m", "application 9 UDP/DTLS/SCTP webrtc-datachannel")
    lines = [*_session_lines(local, [mid]), *_data_lines(local, head, mid, f"sctp-port:{DEFAULT_SCTP_PORT}")]
    return _text(lines)


def data_answer(offer: SessionDescription, local: LocalDescription) -> str:
    """The answer that accepts the first section for data channels and turns every other section down.

    Raises:
        DecodeError: the offer has no section for data channels.
    """
    if local.setup is Setup.ACTPASS:
        raise ValueError("an answer has to choose who opens the DTLS handshake")
    data = offer.data
    accepted = [data.mid] if data.mid is not None and data.mid in offer.bundle else []
    lines = _session_lines(local, accepted)
    for section in offer.media:
        if section is not data:
            lines += _rejection_lines(section)
            continue
        head = Line("m", f"application 9 {data.protocol} {' '.join(data.formats)}")
        port = f"sctp-port:{DEFAULT_SCTP_PORT}"
        if "webrtc-datachannel" not in data.formats:
            port = f"sctpmap:{' '.join(data.formats)} webrtc-datachannel 1024"
        lines += _data_lines(local, head, data.mid, port)
    return _text(lines)


def _session_lines(local: LocalDescription, bundle: list[str]) -> list[Line]:
    lines = [
        Line("v", "0"),
        Line("o", f"- {local.session_id} {local.version} IN IP4 127.0.0.1"),
        Line("s", "-"),
        Line("t", "0 0"),
    ]
    if bundle:
        lines.append(Line("a", f"group:BUNDLE {' '.join(bundle)}"))
    return lines


def _data_lines(local: LocalDescription, head: Line, mid: str | None, sctp: str) -> list[Line]:
    attributes = [
        f"ice-ufrag:{local.ufrag}",
        f"ice-pwd:{local.password}",
        "ice-options:trickle",
        f"fingerprint:{local.fingerprint}",
        f"setup:{local.setup.value}",
        *([] if mid is None else [f"mid:{mid}"]),
        sctp,
        f"max-message-size:{local.max_message_size}",
        *local.candidates,
        *(["end-of-candidates"] if local.end_of_candidates else []),
    ]
    return [head, Line("c", "IN IP4 0.0.0.0"), *(Line("a", attribute) for attribute in attributes)]


def _rejection_lines(section: MediaSection) -> list[Line]:
    """The same section with port 0 (RFC 3264 section 6), and left out of the bundle.

    Its formats do not matter, but pion wants to know the codec of every payload type other than 0.
    """
    formats = ["0"] if "RTP" in section.protocol else section.formats
    lines = [
        Line("m", f"{section.media} 0 {section.protocol} {' '.join(formats)}"),
        Line("c", "IN IP4 0.0.0.0"),
        Line("a", "inactive"),
    ]
    if section.mid is not None:
        lines.append(Line("a", f"mid:{section.mid}"))
    return lines


def _text(lines: Iterable[Line]) -> str:
    rendered = [str(line) for line in lines]
    if any("\r" in line or "\n" in line for line in rendered):
        raise ValueError("a line of a session description cannot contain a line end")
    return "\r\n".join(rendered) + "\r\n"


def _number(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most):
        raise DecodeError(f"the session description has a {what} that is not a number in range")
    return int(text)
