"""Who may import whom. The imports are read with ``ast``: those in functions and under TYPE_CHECKING count as well,
and so does what ``import_part`` is asked for.

the public modules          server, testing     (imported by no other)
        |                        |
    _session -------> _wire <----+
        |               |        |
   _transport <---------|--------+
        |               |
     _sansio <----------+
        |
      errors
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "trio_livekit"

PUBLIC = "the public modules"
BOTTOM = {"errors", "_version", "_parts"}  # these import nothing of the package

LAYERS: dict[str, set[str]] = {
    **{name: set() for name in BOTTOM},
    "_sansio": {"errors", "_parts"},
    "_wire": BOTTOM | {"_sansio"},
    "_transport": BOTTOM | {"_sansio"},
    "_session": BOTTOM | {"_sansio", "_transport", "_wire"},
    PUBLIC: BOTTOM | {"_sansio", "_session"},
    "server": BOTTOM | {"_sansio", "_transport", "_wire", "_session.nursery", "tokens"},  # of _session, this alone
    "testing": BOTTOM | {"_sansio", "_transport", PUBLIC, "server"},
    "cli": BOTTOM | {PUBLIC, "server", "testing"},  # only what a user could import
    "__main__": {"cli"},
}
"""Which layers a layer may import besides itself; also the name of a single public module."""

NOT_IN_CORES = frozenset(
    {"anyio", "asyncio", "datetime", "http", "importlib", "os", "random", "secrets"}
    | {"select", "socket", "ssl", "threading", "time", "trio", "urllib"}
)
"""Time, randomness and I/O come to ``_sansio`` as arguments."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "aioice": ("_sansio/ice/stun.py", "_sansio/ice/candidate.py"),
    "livekit": ("_wire/",),
    "google.protobuf": ("_wire/",),
    "trio_websocket": ("_transport/websocket.py",),
    "wsproto": ("_transport/websocket.py",),
    "socket": ("_transport/",),
}
"""Modules of others that one place of ours hides from the rest."""


def imports(path: str, source: str) -> Iterator[tuple[int, str]]:
    """The line and the absolute name of everything that a module of the package imports."""
    package = ["trio_livekit", *Path(path).parts[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "import_part":
            package_name, module_name = (ast.literal_eval(argument) for argument in node.args)
            yield node.lineno, f"{package_name}.{module_name}"


def layer_of(parts: tuple[str, ...]) -> str:
    """The layer of a module, given as the parts of its name below ``trio_livekit``."""
    return parts[0] if parts and parts[0] in LAYERS else PUBLIC


def violations(path: str, source: str) -> Iterator[str]:
    """What is wrong with the imports of one module; ``path`` is relative to the package."""
    layer = layer_of(Path(path).with_suffix("").parts)
    for line, name in imports(path, source):
        where = f"{path}:{line} imports {name}"
        parts = tuple(name.split("."))
        if parts[0] == "trio_livekit":
            target = layer_of(parts[1:])
            if target != layer and not {target, parts[1], ".".join(parts[1:3])} & LAYERS[layer]:
                yield f"{where}: {layer} may not know {target}"
            continue
        if layer == "_sansio" and parts[0] in NOT_IN_CORES:
            yield f"{where}: not in a sans-IO core"
        for hidden, homes in ONLY_IN.items():
            if f"{name}.".startswith(f"{hidden}.") and not path.startswith(homes):
                yield f"{where}: {hidden} is known in {' and '.join(homes)} only"


def test_imports_follow_the_arrows():
    found = [
        violation
        for path in sorted(PACKAGE.rglob("*.py"))
        for violation in violations(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_sansio/sctp/rto.py", "import time"),
        ("_sansio/sctp/rto.py", "from os import urandom"),
        ("_sansio/sctp/rto.py", "def f():\n    import trio.lowlevel"),
        ("_sansio/sctp/rto.py", "import aioice.stun"),
        ("_sansio/sctp/rto.py", "stun = import_part('aioice', 'stun')"),
        ("_sansio/sctp/rto.py", "from ..._transport import datagrams"),
        ("_sansio/sctp/rto.py", "if TYPE_CHECKING:\n    from trio_livekit._session.session import Session"),
        ("_sansio/peer.py", "from .. import room"),
        ("_wire/convert.py", "from .._transport.peer import PeerConnection"),
        ("_transport/peer.py", "from .._wire import convert"),
        ("_transport/peer.py", "import trio_websocket"),
        ("_session/session.py", "from ..events import RoomEvent"),
        ("_session/session.py", "from livekit.protocol import models"),
        ("_session/session.py", "from google.protobuf.message import Message"),
        ("_session/session.py", "import socket"),
        ("room.py", "from .testing import network"),
        ("room.py", "from ._transport.peer import PeerConnection"),
        ("server/entry.py", "from ..room import Room"),
        ("server/entry.py", "from .._session.session import Session"),
        ("cli/watch.py", "from .._session.session import Session"),
        ("errors.py", "from ._sansio import types"),
    ],
)
def test_a_wrong_import_is_found(path, source):
    assert len(list(violations(path, source))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_sansio/ice/stun.py", "def f():\n    from aioice import stun"),
        ("_sansio/ice/stun.py", "from ..._parts import import_part\nimport_part('aioice', 'stun')"),
        ("_sansio/ice/agent.py", "from .. import serial\nfrom ...errors import DecodeError\nimport struct"),
        ("_wire/convert.py", "from livekit.protocol import models\nfrom .._sansio.types import Address"),
        ("_transport/websocket.py", "import socket\nfrom trio_websocket import wrap_client_stream"),
        ("room.py", "from .participants import Participant\nfrom ._session.session import Session"),
        ("__init__.py", "from .room import Room\nfrom .errors import LiveKitError"),
        ("server/entry.py", "from ..tokens import verify\nfrom .rooms import Rooms"),
        ("cli/watch.py", "import trio_livekit.room\nfrom ..server import open_server"),
    ],
)
def test_a_right_import_is_not_complained_of(path, source):
    assert list(violations(path, source)) == []
