"""TCP and TLS connections to servers, and in words why there is none."""

from __future__ import annotations

__all__ = ["NoTls", "OnlyTls", "asks_for_tls", "is_tls", "open_tcp", "shake_hands"]

import os
import ssl

import trio

_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
        "BAD_RECORD_TYPE",
        "RECORD_LAYER_FAILURE",
    }
)
"""What the versions of OpenSSL say of an answer that is no TLS record: of text, they read the version or the length."""

_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How alerts and handshake messages begin (RFC 8446 section 5.1)."""


_ASKING_FOR_TLS = ("https server", "https port", "ssl-enabled", "tls-enabled")
"""In what Go, nginx, Apache and others answer to plain HTTP, with the status 400."""


class NoTls(OSError):
    """The server answers something else to the begin of a TLS handshake."""

    def __init__(self) -> None:
        super().__init__("the server does not speak TLS")


class OnlyTls(OSError):
    """The server answers in TLS to something else."""

    def __init__(self) -> None:
        super().__init__("the server speaks TLS")


def is_tls(data: bytes | bytearray) -> bool:
    """Whether the first bytes that came from a server are TLS."""
    return data.startswith(_TLS_RECORDS)


def asks_for_tls(status: int, body: str) -> bool:
    """Whether an answer to plain HTTP says that this is a port for TLS."""
    return status == 400 and any(words in body.lower() for words in _ASKING_FOR_TLS)


async def open_tcp(host: str, port: int) -> trio.SocketStream:
    """A TCP connection. Raises ``OSError``, which says why and not only that it failed."""
    try:
        return await trio.open_tcp_stream(host, port)
    except OSError as exc:
        raise _first_cause(exc) from exc


def _first_cause(exc: OSError) -> OSError:
    """Trio says that all attempts failed; whoever has to do something about it asks why."""
    cause: BaseException | None = exc.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if exc.errno is not None or not isinstance(cause, OSError) or cause.errno is None:
        return exc
    return OSError(cause.errno, os.strerror(cause.errno))


async def shake_hands(
    stream: trio.SocketStream, name: str, context: ssl.SSLContext | None, *, https_compatible: bool = False
) -> trio.SSLStream[trio.SocketStream]:
    """TLS on a connection to a server of this name. Raises ``OSError``; ``stream`` is closed unless this returns.

    Without a ``context`` it is Python's default one, which verifies the certificate. Whether the end of TLS has to be
    told before the connection is closed is what ``https_compatible`` says, as in ``trio.SSLStream``.
    """
    try:
        tls = trio.SSLStream(
            stream, context or ssl.create_default_context(), server_hostname=name, https_compatible=https_compatible
        )
        await tls.do_handshake()
    except trio.BrokenResourceError as exc:
        await trio.aclose_forcefully(stream)
        raise _tls_failure(exc) from exc
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return tls


def _tls_failure(exc: BaseException) -> OSError:
    while exc.__cause__ is not None:
        exc = exc.__cause__
    if isinstance(exc, ssl.SSLError) and exc.reason in _NOT_TLS:
        return NoTls()
    if isinstance(exc, ssl.SSLCertVerificationError):
        return OSError(f"the server's certificate is not accepted: {exc.verify_message}")
    if isinstance(exc, ssl.SSLError) and "EOF" not in f"{exc.reason} {exc}":
        return OSError(f"the TLS handshake failed: {(exc.reason or str(exc)).lower().replace('_', ' ')}")
    why = (isinstance(exc, OSError) and not isinstance(exc, ssl.SSLError) and exc.strerror) or "the server hung up"
    return OSError(f"the TLS handshake was broken off: {why}")
