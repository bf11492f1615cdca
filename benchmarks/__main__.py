"""The command line: ``python -m benchmarks [--quick] [--list] [--json FILE] [FILTER ...]``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import report
from .machine import describe_run
from .peers import find_peer
from .picture import MatplotlibMissing, draw
from .runner import run_scenario
from .scenario import Options
from .scenarios import SCENARIOS
from .targets import as_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .runner import ScenarioResult
    from .scenario import Peer, Scenario

RESULTS = Path(__file__).parent / "results"


def main(
    arguments: Sequence[str] | None = None,
    scenarios: Sequence[Scenario] = SCENARIOS,
    find: Callable[[str], Peer] = find_peer,
    directory: Path = RESULTS,
) -> int:
    """Run what was asked for. Returns the exit code: 1 if nothing was measured."""
    options = _parse(arguments)
    chosen = [s for s in scenarios if not options.filter or any(part in s.name for part in options.filter)]
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:20} {scenario.title} ({', '.join(scenario.peers)})")
        return 0
    run = describe_run()
    versions: dict[str, str] = {}
    results: list[ScenarioResult] = []

    def find_and_note(name: str) -> Peer:
        peer = find(name)
        versions[name] = peer.version
        return peer

    for scenario in chosen:
        results.append(run_scenario(scenario, find_and_note, Options(quick=options.quick), _say))
        print(report.as_text(results[-1]) + "\n", flush=True)
    if not any(result.values for result in results):
        print("nothing was measured", file=sys.stderr)
        return 1
    _write(run, versions, results, directory / _name(run, options), options.json)
    return 0


def _write(
    run: dict[str, object],
    versions: dict[str, str],
    results: list[ScenarioResult],
    stem: Path,
    json_path: Path | None,
) -> None:
    found = report.as_json(run, versions, results)
    if targets := as_markdown(found):
        print(targets + "\n")
    stem.parent.mkdir(parents=True, exist_ok=True)
    picture = stem.with_name(stem.name + ".png")
    for path in filter(None, (stem.with_name(stem.name + ".json"), json_path)):
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {path}")
    try:
        draw(run, results, picture)
        print(f"wrote {picture}")
    except MatplotlibMissing as exc:
        print(exc)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure trio_livekit beside its peers.")
    parser.add_argument("filter", nargs="*", help="run only scenarios with this in their name")
    parser.add_argument("--quick", action="store_true", help="short rounds, and fewer of them: a matter of minutes")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    return parser.parse_args(arguments)


def _name(run: dict[str, object], options: argparse.Namespace) -> str:
    parts = [time.strftime("%Y%m%d-%H%M%S", time.gmtime()), str(run["commit"]), "quick" if options.quick else "full"]
    return "-".join([*parts, *options.filter])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
