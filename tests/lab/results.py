"""What the lab measured, and the guide that shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "guide" / "bad-networks.md"
RESULTS = ROOT / "tests" / "lab" / "results.json"


def load() -> dict[str, Any]:
    """Everything that was measured so far, by the name of its table."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"links": {}, "goodput": {}, "events": {}}


def write(name: str, table: str) -> None:
    """Put a table between its marks in the guide."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    DOCUMENT.write_text(f"{before}{begin}\n{table}\n{end}{after}")
