"""What the code must not contain (S35): the linter's rules are on, and these go beyond them."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "trio_livekit"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py"))

FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "yaml", "tempfile", "dill", "xmlrpc", "telnetlib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
CORES = [path for path in FILES if path.is_relative_to(PACKAGE / "_sansio")]
SIMULATIONS = PACKAGE / "testing"
"""Where randomness must replay, and guards nothing."""


def imported(tree: ast.AST) -> set[str]:
    """The top-level modules that are imported anywhere in a file, for types alone or not."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


def faults(source: str, *, may_roll_dice: bool) -> list[str]:
    tree = ast.parse(source)
    forbidden = FORBIDDEN_MODULES | (set() if may_roll_dice else {"random"})
    found = sorted(imported(tree) & forbidden)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS or name in ("os.system", "os.popen", "uuid.uuid1", "uuid.uuid3"):
                found.append(name)
            found += [keyword.arg for keyword in node.keywords if _is_careless(keyword)]
        elif isinstance(node, ast.Attribute) and node.attr in ("CERT_NONE", "_create_unverified_context"):
            found.append(node.attr)
    return found


def _is_careless(keyword: ast.keyword) -> bool:
    value = keyword.value
    return isinstance(value, ast.Constant) and (keyword.arg, value.value) in (
        ("shell", True),
        ("check_hostname", False),
    )


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from random import choice", "if x:\n    import tempfile", "eval('1')", "os.system('ls')",
        "run('ls', shell=True)", "context.verify_mode = ssl.CERT_NONE", "def f():\n    import random as r",
    ],
)  # fmt: skip
def test_s35_the_rule_finds_what_it_forbids(source: str) -> None:
    assert faults(source, may_roll_dice=False)


def test_s35_nothing_forbidden_is_in_the_package() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in FILES
        if (wrong := faults(path.read_text(), may_roll_dice=path.is_relative_to(SIMULATIONS)))
    }
    assert len(FILES) > 100
    assert found == {}


def test_s35_cores_import_no_source_of_randomness_at_all() -> None:
    """It is handed to them, so that who hands it is found in one place: the drivers, which have the system's."""
    sources = {"os", "random", "secrets", "uuid", "time"}
    found = {path.name: wrong for path in CORES if (wrong := imported(ast.parse(path.read_text())) & sources)}
    assert len(CORES) > 50
    assert found == {}


def test_s35_the_linters_security_rules_are_on() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    off = {rule for rule in lint["ignore"] if rule.startswith("S") and rule[1:].isdigit()}
    assert off == {"S101"}
    assert not [paths for paths, rules in lint["per-file-ignores"].items() if "S" in rules and "trio_livekit" in paths]


def test_s35_no_assertion_stands_between_a_parser_and_the_network() -> None:
    """Without assertions (python -O), parsers must refuse the same: they hold none that reads what they parse."""
    for path in (PACKAGE / "_wire").rglob("*.py"):
        asserts = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
        assert not asserts, path
