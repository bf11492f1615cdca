"""What works between here and a server, and what does not: every step to a room, tried one after the other."""

from __future__ import annotations

__all__ = ["Check", "Diagnosis", "Verdict", "diagnose"]

import enum
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from .errors import ConnectError, LiveKitError
from .room import Paths, connect

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from ._session.probing import Admission, Place
    from .room import Room

_FRAMES = 10
_FRAME_INTERVAL_S = 0.05
_ACKNOWLEDGED_S = 1.0
_JOINED_S = 5.0
"""What steps that join a room get on top of the time for joining."""
_ACKNOWLEDGED_AT_ONCE = 4000
"""Bytes: several packets. The acknowledgement of a single one may be held back for 200 ms."""


class Verdict(enum.Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"  # data flows without it, if not as well, or not for everybody
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: ``url``, ``dns``, ``tcp``, ``tls``, ``token``, ``signalling``, ``udp``, ``data channel``, ``end to end``,
            ``tcp fallback`` or ``turn``.
        verdict: how it ended.
        detail: what was found.
        advice: what to do about it; empty where there is nothing to do.
        seconds: how long it took; ``None`` where nothing was waited for.
    """

    name: str
    verdict: Verdict
    detail: str
    advice: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was tried, in order."""

    url: str
    checks: tuple[Check, ...]

    @property
    def works(self) -> bool:
        """Whether a room can be joined and data flows."""
        return any(check.name == "data channel" and check.verdict is Verdict.OK for check in self.checks)


async def diagnose(
    url: str,
    token: str | None,
    *,
    second_token: str | None = None,
    timeout_s: float = 10.0,
    ssl_context: ssl.SSLContext | None = None,
    progress: trio.abc.SendChannel[Check] | None = None,
) -> Diagnosis:
    """Try every step from here to a room: name, TCP, TLS, token, signalling, UDP, data, TCP fallback, TURN.

    The room of ``token`` is joined and left several times, which ends the session of anybody else of that identity.

    Args:
        url: the server, as for ``connect``.
        token: an access token; without one the way to the server is all that is tried.
        second_token: of another identity in the same room; with it frames and packets are sent from end to end.
        timeout_s: how long each step may take.
        ssl_context: for ``wss``, instead of the system's.
        progress: where each check is sent as soon as it is done.
    """
    from ._session import probing  # noqa: F401 - which takes time that is none of the checks'

    patient = _Patient(url, token or "", second_token, timeout_s, ssl_context, progress)
    await patient.examine()
    return Diagnosis(url, tuple(patient.checks))


class _Failed(Exception):
    """A check found what it was looking for."""

    def __init__(self, detail: str, advice: str = "", verdict: Verdict = Verdict.FAILED) -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = advice
        self.verdict = verdict


@dataclass
class _Patient:
    """One diagnosis under way."""

    url: str
    token: str = field(repr=False)
    second_token: str | None = field(repr=False)
    timeout_s: float
    ssl_context: ssl.SSLContext | None
    progress: trio.abc.SendChannel[Check] | None
    checks: list[Check] = field(default_factory=list)
    place: Place = field(init=False)
    admission: Admission = field(init=False)

    async def examine(self) -> None:
        for name, step in (
            ("url", self._url),
            ("dns", self._dns),
            ("tcp", self._tcp),
            ("tls", self._tls),
            ("token", self._token),
            ("signalling", self._signalling),
        ):
            if not await self._check(name, step):
                return
        if await self._data():
            await self._check("tcp fallback", self._tcp_fallback)
            await self._check("turn", self._turn)

    async def _check(self, name: str, step: Callable[[], Awaitable[str]]) -> bool:
        """Run one step, which returns what it found or raises ``_Failed``; whether there is a point in going on."""
        started = trio.current_time()
        limit_s = self.timeout_s + (_JOINED_S if name in ("end to end", "tcp fallback", "turn") else 0.0)
        try:
            with trio.fail_after(limit_s):
                check = Check(name, Verdict.OK, await step())
        except _Failed as exc:
            check = Check(name, exc.verdict, exc.detail, exc.advice)
        except trio.TooSlowError:
            check = Check(name, Verdict.FAILED, f"nothing came of it in {limit_s:g} s", _SLOW.get(name, ""))
        except (LiveKitError, OSError) as exc:
            why = (isinstance(exc, OSError) and exc.strerror) or str(exc)
            check = Check(name, Verdict.FAILED, " ".join(why.split()), _ADVICE.get(name, ""))
        await self._note(check, trio.current_time() - started)
        return check.verdict is not Verdict.FAILED

    async def _note(self, check: Check, seconds: float | None) -> None:
        timed = check.verdict is not Verdict.SKIPPED and check.name != "url"
        check = Check(check.name, check.verdict, check.detail, check.advice, seconds if timed else None)
        self.checks.append(check)
        if self.progress is not None:
            await self.progress.send(check)

    # --- the way to the server ----------------------------------------------------------------------------------------

    async def _url(self) -> str:
        from ._session.probing import place_of

        await trio.lowlevel.checkpoint()
        self.place = place_of(self.url)
        if self.place.is_secure or _is_loopback(self.place.host):
            return self.place.base_url
        text = f"{self.place.base_url}: signalling, and the token with it, is not encrypted"
        raise _Failed(text, "use wss:// where others can listen", Verdict.WARNING)

    async def _dns(self) -> str:
        from ._session.probing import resolve

        if _is_address(self.place.host):
            raise _Failed("the URL has an address instead of a name", verdict=Verdict.SKIPPED)
        return f"{self.place.host} is {', '.join(await resolve(self.place))}"

    async def _tcp(self) -> str:
        from ._session.probing import open_connection

        await trio.aclose_forcefully(await open_connection(self.place))
        return f"port {self.place.port} accepts connections"

    async def _tls(self) -> str:
        from ._session.probing import open_connection, shake_hands

        if not self.place.is_secure:
            raise _Failed("the URL asks for none", verdict=Verdict.SKIPPED)
        return await shake_hands(self.place, await open_connection(self.place), self.ssl_context)

    async def _token(self) -> str:
        from ._session.probing import validate

        if not self.token:
            raise _Failed("none was given, and nothing more can be tried without one", _ADVICE["token"])
        try:
            problem = await validate(self.place, self.token, self.ssl_context)
        except ConnectError as exc:
            raise _Failed(str(exc), _ADVICE["http"]) from exc
        if problem:
            raise _Failed(problem, _ADVICE["token"])
        return "accepted"

    async def _signalling(self) -> str:
        from ._session.probing import knock

        self.admission = await knock(self.place, self.token, self.ssl_context)
        server = self.admission.server
        where = f", region {server.region}" if server.region else ""
        return f"joined {self.admission.room!r} as {self.admission.identity!r}; LiveKit {server.version or '?'}{where}"

    # --- data ---------------------------------------------------------------------------------------------------------

    async def _data(self) -> bool:
        """A connection as an application would make it, and what goes through it; whether there is one."""
        started = trio.current_time()
        try:
            async with self._connect(Paths.ANY) as room:
                await self._note(_udp_check(room), trio.current_time() - started)
                await self._check("data channel", lambda: _data_channel(room))
                second = self.second_token
                if second is not None:
                    await self._check("end to end", lambda: self._end_to_end(room, second))
        except LiveKitError as exc:
            advice = "neither UDP nor TCP nor a relay leads to the server: open its ports (7882/udp, 7881/tcp)"
            await self._note(Check("udp", Verdict.FAILED, str(exc), advice), trio.current_time() - started)
            return False
        return True

    def _connect(self, paths: Paths, token: str | None = None) -> AbstractAsyncContextManager[Room]:
        return connect(
            self.url,
            token or self.token,
            join_timeout=self.timeout_s,
            paths=paths,
            reconnect=None,
            ssl_context=self.ssl_context,
        )

    async def _end_to_end(self, room: Room, second_token: str) -> str:
        """Frames of a data track, and a reliable packet, from one participant to another."""
        async with (
            self._connect(Paths.ANY, second_token) as other,
            other.data_packets() as packets,
            room.publish_data_track("trio-livekit doctor") as track,
        ):
            publisher = await other.wait_for_participant(room.local_participant.identity)
            remote = await publisher.data_tracks.wait_for(track.name)
            async with remote.subscribe(buffer_size=_FRAMES) as frames:
                for _ in range(_FRAMES):
                    started = trio.current_time()
                    track.try_push(b"a frame")
                    with trio.move_on_after(_FRAME_INTERVAL_S):
                        await frames.receive()
                        break
                else:
                    await frames.receive()
                elapsed_ms = (trio.current_time() - started) * 1000
            await room.publish_data(b"a packet", reliable=True, topic="trio-livekit doctor")
            await packets.receive()
        return f"a frame took {elapsed_ms:.1f} ms to another participant, and a reliable packet arrived"

    async def _tcp_fallback(self) -> str:
        try:
            async with self._connect(Paths.TCP) as room:
                return f"ICE over TCP works, round trip {_round_trip_ms(room)}"
        except ConnectError as exc:
            raise _Failed(f"no connection over TCP: {exc}", _ADVICE["tcp fallback"], Verdict.WARNING) from exc

    async def _turn(self) -> str:
        if not self.admission.relays:
            text = "the server offers no TURN servers"
            raise _Failed(text, verdict=Verdict.SKIPPED)
        try:
            async with self._connect(Paths.RELAY) as room:
                return f"relayed by {self.admission.relays[0]}, round trip {_round_trip_ms(room)}"
        except ConnectError as exc:
            text = f"no connection through {', '.join(self.admission.relays)}: {exc}"
            raise _Failed(text, _ADVICE["turn"], Verdict.WARNING) from exc


async def _data_channel(room: Room) -> str:
    """The channels are open by now. How long a round trip takes is known when something is acknowledged."""
    await trio.lowlevel.checkpoint()
    me = room.local_participant
    if me.permission is None or me.permission.can_publish_data:
        async with room.publish_data_track("trio-livekit doctor: round trip") as track:
            track.try_push(bytes(_ACKNOWLEDGED_AT_ONCE))
            with trio.move_on_after(_ACKNOWLEDGED_S):
                while room.stats().transports[0].srtt_s is None:  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.001)
    sending = room.stats().transports[0]
    return f"open, round trip {_ms(sending.srtt_s)}, packets of {sending.mtu} bytes"


def _udp_check(room: Room) -> Check:
    transport = room.stats().transports[0]
    way = f"{transport.local_kind} to {transport.remote_kind}, round trip {_ms(transport.path_rtt_s)}"
    if transport.local_kind == "relay":
        text = f"not reached; connected through a TURN server ({way})"
    elif transport.protocol != "udp":
        text = f"not reached; connected over TCP ({way})"
    else:
        return Check("udp", Verdict.OK, way)
    return Check("udp", Verdict.WARNING, text, _ADVICE["udp"])


def _round_trip_ms(room: Room) -> str:
    return _ms(room.stats().transports[0].path_rtt_s)


def _ms(seconds: float | None) -> str:
    return "not measured" if seconds is None else f"{seconds * 1000:.1f} ms"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


_ADVICE = {
    "url": "write the scheme as well: wss:// for a server with TLS, ws:// for one without",
    "dns": "is the host's name spelled right, and does this machine have a name server?",
    "tcp": "is the server running, and on that port (7880 unless it is configured otherwise)?",
    "tls": "is the certificate valid, and made for this name? A server without TLS wants a ws:// URL",
    "http": "is this the port of a LiveKit server, and does the URL begin as it should, wss:// where it speaks TLS?",
    "token": "make a token with the key and secret that the server is configured with, for a room, and not expired",
    "signalling": "see the server's log; a proxy in front of it has to pass websockets on",
    "udp": "open the server's UDP ports (rtc.udp_port, or 50000-60000) in the firewalls on the way: TCP and relays"
    " delay what follows a loss",
    "data channel": "see the server's log",
    "end to end": "may the first token publish, and the second one subscribe?",
    "tcp fallback": "open the server's rtc.tcp_port (7881) for clients behind firewalls that block UDP",
    "turn": "is the TURN server's name known, its port open, and its certificate valid?",
}

_SLOW = {
    "tcp": "a firewall drops the packets, or the address is not the server's",
    "tls": "the port accepts connections and does not speak TLS: is it the right one?",
    "token": "the port accepts connections and does not answer: is this a LiveKit server?",
    "signalling": _ADVICE["signalling"],
}
