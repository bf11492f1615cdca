"""S32: nothing secret is logged, shown or raised: token, key, ICE password, TURN credential; no address at INFO."""

from __future__ import annotations

import logging
import re
import traceback
from typing import TYPE_CHECKING

import pytest
import trio

import trio_livekit as lk
from tests.support import secrecy
from tests.support.proxy import signal_proxy
from tests.support.reconnecting import QUICK, flowing, until_reconnected
from tests.support.servers import KINDS, ServerUnderTest, open_server
from trio_livekit import events as ev
from trio_livekit.server import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.support.livekit import LiveKitServer

KEY = "the key of this room, which nobody else knows"
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_PASSWORDS = re.compile(r"^a=ice-pwd:(\S+)", re.MULTILINE)


@pytest.fixture(params=KINDS)
async def server(
    request: pytest.FixtureRequest, start_livekit_server: Callable[[dict[str, object]], LiveKitServer]
) -> AsyncIterator[ServerUnderTest]:
    """Of either kind; the real one with a TURN server, whose credentials it hands out."""
    async with open_server(request.param, lambda: start_livekit_server({"turn": {}})) as server:
        yield server


class Secrets:
    """All that must not be seen, as a scenario gets to know it; and all that it shows, as it comes up."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()
        self.shown: list[str] = []
        self.has_turn = False

    def hide_token(self, token: str) -> str:
        self.hidden |= {token, token.split(".")[1], token.split(".")[2]}
        return token

    def hide_those_of(self, room: lk.Room) -> None:
        links = room._session._connection.links
        for description in (links._offer, links._answer):
            self.hidden |= set(_PASSWORDS.findall(description.sdp if description else ""))
        self.has_turn = any(server.credential for server in links._ice_servers)
        for server in links._ice_servers:
            self.hidden |= {server.credential} if server.credential else set()

    def show(self, *things: object) -> None:
        for thing in things:
            if isinstance(thing, BaseException):
                self.shown.append("".join(traceback.format_exception(thing)))
                self.shown.append(repr(vars(thing)))
            self.shown += [repr(thing), str(thing)]


async def everything_that_happens(server: ServerUnderTest, room_name: str, secrets: Secrets) -> None:
    """Joining, refusals, frames, packets, changes, faults of all kinds, and the end."""
    secrets.hidden |= {server.api_secret, KEY}
    encryption = lk.Encryption(shared_key=KEY)
    secrets.show(encryption)
    token = secrets.hide_token(server.token("alice", room_name, can_update_own_metadata=True))
    bobs = secrets.hide_token(server.token("bob", room_name))
    async with signal_proxy(server.url) as proxy:
        with pytest.raises(lk.RoomDisconnected) as lost:
            async with (
                lk.connect(server.url, bobs, encryption=lk.Encryption(shared_key=KEY)) as bob,
                lk.connect(proxy.url, token, reconnect=QUICK, encryption=encryption) as alice,
                alice.events() as events,
                flowing(alice, bob) as flow,
            ):
                secrets.hide_those_of(alice)
                await flow.flows()
                await alice.local_participant.set_attributes({"a": "b"})
                secrets.show(alice, alice.local_participant, alice.info, alice.stats(), bob.participants["alice"])
                while not isinstance(event := await events.receive(), ev.TokenRefreshed):
                    secrets.show(event)
                secrets.hide_token(event.token)
                secrets.show(event)
                for scenario in (lk.SimulateScenario.SIGNAL_RECONNECT, lk.SimulateScenario.FULL_RECONNECT):
                    await alice.simulate(scenario)
                    await until_reconnected(events, resumed=scenario is lk.SimulateScenario.SIGNAL_RECONNECT)
                secrets.hide_those_of(alice)
                async with serve(api_key="other", api_secret="x" * 40) as elsewhere:
                    proxy.target = elsewhere.url
                    await alice.simulate(lk.SimulateScenario.FULL_RECONNECT)
                    await trio.sleep(10)
        secrets.show(lost.value)
    for bad in (token[:-5] + "AAAAA", "x." + token):
        with pytest.raises(lk.ConnectError) as refused:
            async with lk.connect(server.url, secrets.hide_token(bad)):
                pytest.fail("connected")
        secrets.show(refused.value)


async def test_s32_nothing_secret_is_logged_or_shown(
    server: ServerUnderTest, room_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = Secrets()
    await everything_that_happens(server, room_name, secrets)
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    logged = [(record.levelno, formatter.format(record) + repr(record.args)) for record in caplog.records]
    assert len(logged) > 20
    assert len(secrets.hidden) > 8
    assert secrets.has_turn is server.is_real
    for text in [text for _, text in logged] + secrets.shown:
        for secret in secrets.hidden:
            assert secret not in text, text
    for level, text in logged:
        assert level < logging.INFO or not _ADDRESS.search(text), text
    ours = [text for level, text in logged if level >= logging.INFO and text.startswith("trio_livekit")]
    for word in ("joined as 'alice'", "over udp", "the connection is lost", "in the same session", "in a new session"):
        assert any(word in text for text in ours), word


@pytest.fixture
def room_name() -> str:
    return "logs"


@pytest.fixture
def watch() -> Iterator[secrecy.Watch]:
    """The one that watches all tests; what it finds meanwhile is no fault of the test's."""
    secrecy.WATCH.verdict()
    yield secrecy.WATCH
    secrecy.WATCH.verdict()


async def test_s32_every_test_is_watched(watch: secrecy.Watch) -> None:
    """Else nothing would be found in the others: tokens, keys, passwords, in whatever form; a traceback; an address."""
    logger = logging.getLogger("trio_livekit._session.session")
    token = lk.access_token("key", KEY, identity="alice", room="logs")
    encryption = lk.Encryption(shared_key=b"sixteen \x00\x01\x02\x03 16")
    async with serve() as server, lk.connect(server.url, server.token("bob", "logs")) as room:
        password = room._session._connection.links._publisher._core.ice.password
    assert watch.verdict() == []
    shown = [token, token.split(".")[2], KEY, password, encryption.export_key(None).hex()]
    for number, secret in enumerate(shown):
        watch.hide(*shown)
        logger.debug("%s", secret if number % 2 else f"<{secret}>")
        assert [secret[:4] in leak for leak in watch.verdict()].count(True) >= 1
    watch.hide(KEY)
    with pytest.raises(lk.InternalError):
        raise lk.InternalError("harmless") from OSError(KEY)
    assert KEY in "".join(watch.verdict())
    watch.hide(KEY)
    assert KEY not in str(lk.InternalError("harmless"))
    assert str(lk.InternalError(KEY)) == KEY
    assert KEY in "".join(watch.verdict())
    logger.debug("at %s", "10.1.2.3")
    assert watch.verdict() == []
    logger.info("at %s", "10.1.2.3")
    assert "10.1.2.3" in "".join(watch.verdict())


def test_s32_who_listens_to_logs_hears_no_more_for_being_watched(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("trio_livekit.anything")
    logger.debug("quiet")
    logger.warning("loud")
    caplog.set_level(logging.DEBUG)
    logger.debug("asked for")
    caplog.set_level(logging.ERROR, "trio_livekit")
    logger.warning("not asked for")
    caplog.set_level(logging.DEBUG, "trio_livekit")
    logger.debug("asked for")
    assert caplog.messages == ["loud", "asked for", "asked for"]
