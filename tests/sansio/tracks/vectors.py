"""The data track vectors, read once; tests/vectors/README.md says where they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trio_livekit._sansio.tracks.packet import FINAL, INTER, SINGLE, START, EncryptionInfo

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "datatrack_vectors.json").read_text(encoding="utf-8")
)
MARKERS = {"inter": INTER, "final": FINAL, "start": START, "single": SINGLE}


def encryption_info(entry: dict[str, Any] | None) -> EncryptionInfo | None:
    return None if entry is None else EncryptionInfo(entry["key_index"], bytes.fromhex(entry["iv"]))


def user_timestamp(entry: str | int | None) -> int | None:
    return None if entry is None else int(entry)
