"""Makes the peers ready: each has an environment or a program of its own in the cache, made when first needed."""

from __future__ import annotations

__all__ = ["REPOSITORY", "find_peer", "site_packages"]

import functools
import hashlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.support import peers as interop
from tests.support.cache import cache_dir

from .scenario import OURSELVES, Peer, Unavailable
from .worker import SCRIPTS

REPOSITORY = Path(__file__).parent.parent

_FRESH_S = 24 * 3600.0
"""How long what PyPI gave counts as the latest."""


@functools.cache
def find_peer(name: str) -> Peer:
    """The peer of this name, ready to run. Raises ``Unavailable``."""
    if name == OURSELVES:
        return _own_package()
    if name == "primitives":  # the bare calls that everything is made of: they need what we need
        return Peer(name, _installed_version(_own_package().python, "cryptography"), python=_own_package().python)
    if name == "pion":
        return _pion()
    return _from_pypi(name)


def site_packages(python: Path) -> Path:
    """Where a virtual environment keeps what is installed in it."""
    (found,) = python.parent.parent.glob("lib/python*/site-packages")
    return found


def _own_package() -> Peer:
    """This tree, installed as a user would have it: what is measured does not change while the run lasts."""
    home = cache_dir() / "bench-trio_livekit"
    pyproject = REPOSITORY / "pyproject.toml"
    dependencies = _digest([pyproject])
    everything = _digest([pyproject, *sorted((REPOSITORY / "trio_livekit").rglob("*.py"))])
    stamp = home / "stamp"
    installed = stamp.read_text() if stamp.is_file() else ""
    if installed != f"{dependencies} {everything}":
        if not installed.startswith(dependencies):
            _make_environment(home)
            _pip(home, "install", str(REPOSITORY))
        else:
            _pip(home, "install", "--no-deps", "--force-reinstall", str(REPOSITORY))
        stamp.write_text(f"{dependencies} {everything}")
    python = home / "bin" / "python"
    return Peer(OURSELVES, _installed_version(python, "trio-livekit"), python=python)


def _from_pypi(package: str) -> Peer:
    """The latest release of a package; an older one that is there, if PyPI cannot be reached."""
    home = cache_dir() / f"bench-{package}"
    stamp = home / "stamp"
    if not stamp.is_file():
        _make_environment(home)
        _pip(home, "install", package)
        stamp.touch()
    elif time.time() - stamp.stat().st_mtime > _FRESH_S:
        try:
            _pip(home, "install", "--upgrade", package)
        except Unavailable as exc:
            print(f"{package} may not be the latest: {exc}", file=sys.stderr)
        else:
            stamp.touch()
    python = home / "bin" / "python"
    return Peer(package, _installed_version(python, package), python=python)


def _pion() -> Peer:
    source = SCRIPTS / "pion"
    try:
        program = interop.build_go(source)
    except interop.Unavailable as exc:
        raise Unavailable(str(exc)) from exc
    version = re.search(r"pion/webrtc/v4 v(\S+)", (source / "go.mod").read_text())
    assert version is not None
    return Peer("pion", version[1], program=program)


def _make_environment(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(home)])


def _pip(home: Path, *arguments: str) -> None:
    _run([str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-q", *arguments])


def _installed_version(python: Path | None, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return _run([str(python), "-c", code]).strip()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:4])} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(str(path.relative_to(REPOSITORY)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
