"""Errors as one readable line each."""

from __future__ import annotations

__all__ = ["explain", "the_one_cause"]

import ssl

import trio

from ..errors import ConnectError, ConnectErrorReason, InternalError, LiveKitError
from .exits import CommandError
from .wording import plain

_WHAT_TO_DO = {
    ConnectErrorReason.UNREACHABLE: "is the server running?",
    ConnectErrorReason.TIMEOUT: "trio-livekit doctor tries every step, and says where it stops",
    ConnectErrorReason.TRANSPORT: "are the server's media ports, UDP or TCP, blocked?",
}
_WHY_UNREACHABLE = (
    (trio.socket.gaierror, "is the host's name spelled right?"),
    (ssl.SSLCertVerificationError, "is the certificate made for this name, and does this machine trust it?"),
    (ssl.SSLError, "a server without TLS wants ws:// instead of wss://"),
)


def explain(error: BaseException) -> str:
    """One line that says what went wrong, and where possible what to do."""
    error = the_one_cause(error)
    if isinstance(error, InternalError):
        return f"internal error: {_one_line(error)} (please report it, with what --debug shows)"
    if isinstance(error, ConnectError):
        hint = _hint(error)
        return f"cannot join: {_one_line(error)}" + (f" ({hint})" if hint else "")
    if isinstance(error, (LiveKitError, CommandError)):
        return _one_line(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else _one_line(error.strerror or error)
    if isinstance(error, ValueError):
        return _one_line(error)
    return f"internal error: {type(error).__name__}: {_one_line(error)} (--debug shows where)"


def the_one_cause(error: BaseException) -> BaseException:
    """What is in groups of one; anything else as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _hint(error: ConnectError) -> str | None:
    if str(error).endswith("?"):  # it asks already
        return None
    if error.reason is ConnectErrorReason.UNREACHABLE:
        causes = _causes(error)
        for kind, hint in _WHY_UNREACHABLE:
            if any(isinstance(cause, kind) for cause in causes):
                return hint
    return _WHAT_TO_DO.get(error.reason)


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause = error.__cause__
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__
    return causes


def _one_line(error: object) -> str:
    return plain(" ".join(str(error).split())) or type(error).__name__
