"""S32 for every test: nothing secret is in a log record of any level, or in an exception; INFO names no address.

Secrets are learned where they come into being: tokens and the secrets they are signed with, ICE passwords of both
sides, TURN credentials, keys for encryption. All loggers of this package and of the two libraries that speak for it
are at DEBUG, so that every log statement is carried out; pytest and ``caplog`` see what they would have seen.
"""

from __future__ import annotations

import base64
import logging
import re
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
from jwt.api_jws import PyJWS

from trio_livekit import errors, events
from trio_livekit._sansio.encryption.key import Key
from trio_livekit._sansio.ice.generation import Credentials
from trio_livekit._sansio.ice.turn_requests import Requests
from trio_livekit._sansio.signal.messages import RefreshToken
from trio_livekit._sansio.signal.values import IceServer

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGERS = ("trio_livekit", "trio-websocket", "aioice")
WATCHING = logging.DEBUG - 1
"""The level of these loggers. A test that sets another one asks to have the records itself."""

SHORTEST = 8
"""What is shorter is no secret, but the placeholder of a test that is about something else."""

MOST_TEXTS, MOST_SECRETS = 500, 500
"""Kept of one test before they are looked at, and before the oldest are forgotten."""

_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


class Watched(logging.Logger):
    """A logger that keeps a record from the handlers of the root where they would not have got it but for us."""

    stops_here = False

    @property
    def propagate(self) -> bool:  # type: ignore[override]
        """Asked once for each record, after it was given to the ``Watch``."""
        stops, self.stops_here = self.stops_here, False
        return not stops

    @propagate.setter
    def propagate(self, _: bool) -> None:
        """Nobody here needs to."""


class Watch(logging.Handler):
    """Remembers what a test logs and raises, and what it must not say."""

    def __init__(self) -> None:
        super().__init__(WATCHING)
        self._secrets: dict[str, None] = {}
        self._texts: list[str] = []
        self.leaks: list[str] = []

    def hide(self, *secrets: str | bytes | None) -> None:
        """From now on, these must not be seen; for bytes, no usual way to write them either."""
        for secret in secrets:
            if secret is None or len(secret) < SHORTEST:
                continue
            for text in (secret,) if isinstance(secret, str) else _written(secret):
                self._secrets[text] = None
        if len(self._secrets) > MOST_SECRETS:
            self.look()
            for text in list(self._secrets)[: MOST_SECRETS // 2]:
                del self._secrets[text]

    def note(self, text: str) -> None:
        """Something that was shown."""
        self._texts.append(text)
        if len(self._texts) > MOST_TEXTS:
            self.look()

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a record, which then goes where it would have gone."""
        text = record.getMessage()
        self.note(f"{record.name}: {text} {record.args!r}")
        if record.exc_info is not None and record.exc_info[1] is not None:
            self.note_exception(record.exc_info[1])
        if record.levelno >= logging.INFO and record.name.startswith("trio_livekit") and _ADDRESS.search(text):
            self.leaks.append(f"an address at {record.levelname}: {text}")
        _watched(record.name).stops_here = record.levelno < _level_without_us(record.name)

    def note_exception(self, exc: BaseException) -> None:
        """What can be seen of an exception and of all that led to it; its attributes too, if it is one of ours."""
        seen: set[int] = set()
        waiting = [exc]
        while waiting:
            one = waiting.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            self.note(f"{one!r} {one} {getattr(one, '__notes__', '')}")
            if isinstance(one, errors.LiveKitError):
                self.note(repr(vars(one)))
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()

    def look(self) -> None:
        """Find the secrets in what was remembered, and forget that."""
        if not self._texts:
            return
        shown = "\n".join(self._texts)
        for secret in self._secrets:
            if secret in shown:
                where = next(text for text in self._texts if secret in text)
                self.leaks.append(f"{secret[:4]}... ({len(secret)} characters) in: {where}")
        self._texts.clear()

    def verdict(self) -> list[str]:
        """What the test should not have shown. The next one begins afresh."""
        self.look()
        self._secrets.clear()
        leaks, self.leaks = self.leaks, []
        return leaks


WATCH = Watch()


def _written(secret: bytes) -> list[str]:
    return [repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode()]


def _watched(name: str) -> Watched:
    logger: logging.Logger | None = logging.getLogger(name)
    while not isinstance(logger, Watched):
        assert logger is not None
        logger = logger.parent
    return logger


def _level_without_us(name: str) -> int:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if logger.level not in (logging.NOTSET, WATCHING):
            return logger.level
        logger = logger.parent
    return logging.NOTSET


def install() -> Watch:
    """Watch from now on, in this process. Once is enough."""
    watch = WATCH
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.__class__ = Watched
        logger.addHandler(watch)
        logger.setLevel(WATCHING)
    _learn_secrets(watch)
    _learn_exceptions(watch)
    return watch


def _after(owner: type, name: str, learn: Callable[..., None]) -> None:
    """Have ``learn`` see the result and the arguments of every call of a method."""
    method = getattr(owner, name)

    @wraps(method)
    def and_learn(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        learn(result, *args)
        return result

    setattr(owner, name, and_learn)


def _learn_secrets(watch: Watch) -> None:
    def hide_token(token: str, key: object = None) -> None:
        watch.hide(token, *token.split(".")[1:], key if isinstance(key, str | bytes) else None)

    _after(PyJWS, "encode", lambda token, _jws, _payload, key=None, *_: hide_token(token, key))
    _after(RefreshToken, "__init__", lambda _, made, *__: hide_token(made.token))
    _after(Credentials, "__init__", lambda _, made, *__: watch.hide(made.password))
    _after(IceServer, "__init__", lambda _, made, *__: watch.hide(made.credential))
    _after(Requests, "__init__", lambda _, made, *__: watch.hide(made._password))
    _after(Key, "__init__", lambda _, made, *__: watch.hide(made.material))
    _after(events.TokenRefreshed, "__init__", lambda _, made, *__: hide_token(made.token))


def _learn_exceptions(watch: Watch) -> None:
    """Those of ours when they are made, and with all that led to them where a test waits for them."""

    _after(errors.LiveKitError, "__init__", lambda _, __, text="", *___: watch.note(str(text)))

    def caught(_: object, _raises: object, _kind: object, exc: BaseException | None, _where: object) -> None:
        if isinstance(exc, errors.LiveKitError | BaseExceptionGroup):
            watch.note_exception(exc)

    _after(pytest.RaisesExc, "__exit__", caught)
    _after(pytest.RaisesGroup, "__exit__", caught)
