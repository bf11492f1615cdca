"""What the lab measured: kept as JSON, a row at a time, and shown as tables of the guide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "guide" / "bad-networks.md"
RESULTS = ROOT / "tests" / "lab" / "results.json"


def attempt(experiment: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """What an experiment found, or as what it failed: the other rows are of interest all the same."""
    try:
        return experiment(*arguments)
    except (Exception, BaseExceptionGroup) as exc:
        return {"error": f"{type(exc).__name__}: {str(exc)[:100]}"}


def keep(table: str, row: str, found: dict[str, Any]) -> None:
    """Remember a row, in place of what was found before."""
    results = load()
    results.setdefault(table, {})[row] = found
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def load() -> dict[str, dict[str, Any]]:
    """Everything that was measured so far, by table and row."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def show(table: str, heads: list[str], rows: Iterable[list[str]]) -> None:
    """Put a table between its marks in the guide."""
    lines = [heads, ["---"] * len(heads), *rows]
    begin, end = f"<!-- {table} -->", f"<!-- end of {table} -->"
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    drawn = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    DOCUMENT.write_text(f"{before}{begin}\n{drawn}\n{end}{after}")
