"""The benchmarks, on scenarios that measure nothing: turns, reports, and what happens when a peer fails."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.report import as_json, as_text, number, spread
from benchmarks.runner import run_scenario
from benchmarks.scenario import LOWER, Metric, Options, Peer, Scenario, Unavailable
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.tracks import highest_rate
from benchmarks.targets import TARGETS, Target, as_markdown
from benchmarks.worker import Worker, WorkerError
from benchmarks.workers.messages import HEAD, Maker, Pace, Tally, percentile

METRICS = (Metric("speed", "MB/s"), Metric("delay", "ms", LOWER))


def find(name):
    if name == "missing":
        raise Unavailable("it is not made for this machine")
    return Peer(name, "1.0")


class FakeMeasurement:
    """Each call is one more MB/s; a peer called "broken" fails."""

    def __init__(self):
        self.turns = []

    def __call__(self, peer, options):
        self.turns.append(peer.name)
        if peer.name == "broken":
            raise WorkerError("died")
        return {"speed": 10.0 * len(self.turns), "delay": 1.0 if peer.name == "trio_livekit" else 4.0}


def fake_scenario(*peers, name="fake"):
    return Scenario(name, "measures nothing", peers, METRICS, FakeMeasurement())


def run(scenario, *, quick=False):
    said = []
    return run_scenario(scenario, find, Options(quick=quick), said.append), said


def test_peers_take_turns():
    scenario = fake_scenario("trio_livekit", "other")
    result, _ = run(scenario)
    assert scenario.measure.turns == ["trio_livekit", "other"] * 3
    assert result.values["trio_livekit"]["speed"] == [10.0, 30.0, 50.0]
    assert result.values["other"]["speed"] == [20.0, 40.0, 60.0]
    assert not result.problems


def test_a_quick_run_has_two_rounds():
    scenario = fake_scenario("trio_livekit", "other")
    run(scenario, quick=True)
    assert scenario.measure.turns == ["trio_livekit", "other"] * 2


def test_a_missing_and_a_failing_peer_are_reported_and_the_others_measured():
    result, said = run(fake_scenario("trio_livekit", "missing", "broken"))
    assert result.peers == ["trio_livekit"]
    assert result.problems[0] == "missing skipped: it is not made for this machine"
    assert result.problems[1:] == [f"broken, round {n}: WorkerError: died" for n in (1, 2, 3)]
    assert set(result.problems) <= set(said)
    assert "! missing skipped" in as_text(result)


def test_the_table_has_range_median_and_ratio():
    result, _ = run(fake_scenario("trio_livekit", "other"))
    lines = as_text(result).splitlines()
    assert lines[1].split() == ["metric", "peer", "min", "median", "max", "n", "ours", ":", "peer"]
    assert lines[2].split()[-5:] == ["trio_livekit", "10", "30", "50", "3"]
    assert lines[3].split() == ["other", "20", "40", "60", "3", "0.75"]
    assert lines[4].startswith("  delay [ms, lower is better]")
    assert lines[5].split()[-1] == "0.25"


def test_json_has_every_value():
    result, _ = run(fake_scenario("trio_livekit", "other"))
    found = json.loads(json.dumps(as_json({"commit": "abc"}, {"other": "1.0"}, [result])))
    assert found["run"] == {"commit": "abc"}
    assert found["peers"] == {"other": "1.0"}
    speed, delay = found["scenarios"][0]["metrics"]
    assert speed["peers"]["other"] == {
        "values": [20.0, 40.0, 60.0], "low": 20.0, "median": 40.0, "high": 60.0, "rounds": 3, "ours_to_peer": 0.75,
    }  # fmt: skip
    assert speed["peers"]["trio_livekit"]["ours_to_peer"] is None
    assert delay["better"] == "lower"


def test_a_ratio_to_nothing_is_left_out():
    scenario = Scenario("zero", "", ("trio_livekit", "other"), METRICS, lambda peer, options: {"speed": 0.0})
    result, _ = run(scenario)
    assert as_json({}, {}, [result])["scenarios"][0]["metrics"][0]["peers"]["other"]["ours_to_peer"] is None


def test_targets_beside_what_was_found():
    scenario = Scenario("fake", "a fake", ("trio_livekit", "other"), METRICS, FakeMeasurement())
    found = as_json({}, {}, [run_scenario(scenario, find, Options(quick=True), lambda _: None)])
    targets = (
        Target("fake", ("speed", "no such metric"), 2, "other", at_least=True),
        Target("fake", ("delay",), 0.25, "other"),
        Target("fake", ("delay",), 5, "not measured"),
        Target("fake", ("delay",), 0.5),
        Target("elsewhere", ("speed",), 1, "other"),
    )
    assert as_markdown(found, targets).splitlines()[2:] == [
        "| fake | speed [MB/s] | other | 20 | 30 | 0.667 | at least 2 | missed |",
        "| fake | delay [ms] | other | 1 | 4 | 0.25 | at most 0.25 | met |",
        "| fake | delay [ms] |  | 1 |  |  | at most 0.5 | missed |",
    ]
    assert as_markdown({"scenarios": []}, targets) == ""


def test_targets_name_what_there_is():
    metrics = {scenario.name: {metric.name for metric in scenario.metrics} for scenario in SCENARIOS}
    peers = {scenario.name: {"", *scenario.peers} for scenario in SCENARIOS}
    for target in TARGETS:
        assert set(target.metrics) <= metrics[target.scenario]
        assert target.peer in peers[target.scenario]


def test_the_command_writes_json_and_says_where(tmp_path, capsys):
    extra = tmp_path / "extra.json"
    scenarios = [fake_scenario("trio_livekit", "other", name="one"), fake_scenario("trio_livekit", name="two")]
    assert main(["--quick", "--json", str(extra), "one"], scenarios, find, tmp_path / "results") == 0
    found = json.loads(extra.read_text())
    assert [scenario["name"] for scenario in found["scenarios"]] == ["one"]
    assert found["peers"] == {"trio_livekit": "1.0", "other": "1.0"}
    assert set(found["run"]) >= {"machine", "python", "kernel", "commit", "command", "load_average"}
    (kept,) = (tmp_path / "results").glob("*.json")
    assert kept.read_text() == extra.read_text()
    assert f"wrote {kept}" in capsys.readouterr().out


def test_the_command_draws_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    assert main([], [fake_scenario("trio_livekit", "other")], find, tmp_path) == 0
    (picture,) = tmp_path.glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_picture_and_it_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([], [fake_scenario("trio_livekit")], find, tmp_path) == 0
    assert "trio-livekit[bench]" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_a_run_that_measures_nothing_fails(tmp_path, capsys):
    assert main([], [fake_scenario("missing")], find, tmp_path) == 1
    assert not list(tmp_path.iterdir())


def test_the_list_names_every_scenario(tmp_path, capsys):
    assert main(["--list"], directory=tmp_path) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [scenario.name for scenario in SCENARIOS]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [1, 3, 100, 777, 5000])
def test_the_highest_rate_is_found_from_either_side(limit):
    found = highest_rate(lambda rate: rate <= limit, 100.0, factor=2.0, halvings=4)
    assert limit / 1.1 < found <= limit


def test_no_rate_that_passes_is_0_and_the_search_ends():
    assert highest_rate(lambda rate: False, 100.0, factor=2.0, halvings=4) == 0
    assert highest_rate(lambda rate: True, 1.0, factor=2.0, halvings=4) == 128


def test_one_failure_does_not_end_the_search():
    asked = []

    def passes(rate):
        asked.append(rate)
        return asked.count(rate) > 1 and rate < 1000

    assert highest_rate(passes, 100.0, factor=2.0, halvings=0) == 800


@pytest.mark.parametrize("ordered", [True, False])
def test_a_tally_finds_every_kind_of_damage(ordered):
    maker, tally = Maker(1000), Tally(1000, ordered=ordered, keep=True)
    first, second, third = (maker.next() for _ in range(3))
    tally.take(first)
    tally.take(second)
    assert (tally.received, tally.damaged) == (2, 0)
    tally.take(second)  # again
    tally.take(third[:-1])
    tally.take(third[:500] + bytes(1) + third[501:])
    assert tally.damaged == 3


def test_order_matters_where_it_should():
    messages = [Maker(100).next(), HEAD.pack(1, 0) + Maker(100).next()[HEAD.size :]]
    for ordered, damaged in ((True, 2), (False, 0)):
        tally = Tally(100, ordered=ordered)
        for message in reversed(messages):
            tally.take(message)
        assert tally.damaged == damaged


def test_a_pace_adds_up():
    pace = Pace(1e6, 0.0001)
    sent = 0
    while (due := pace.due()) is not None:
        sent += due
        assert pace.pause_s() <= 1e-6
    assert sent == 100


def test_percentiles_and_spreads():
    assert percentile(list(range(1000)), 99.9) == 999
    assert percentile([5], 50) == 5
    assert spread([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0, 3)
    assert [number(value) for value in (0, 1234567.8, 0.01234, 0.0000123, -5.678)] == [
        "0", "1,234,568", "0.0123", "1.2e-05", "-5.68",
    ]  # fmt: skip


ECHO = """
import json, sys
for line in sys.stdin:
    command = json.loads(line)
    if command["op"] == "die":
        sys.exit("as told")
    print(json.dumps({"error": "no"} if command["op"] == "fail" else command), flush=True)
"""


def test_a_worker_answers_fails_and_dies(tmp_path):
    with (tmp_path / "log").open("w+b") as log:
        worker = Worker([sys.executable, "-c", ECHO], log)
        try:
            assert worker.ask("hello", size=3) == {"op": "hello", "size": 3}
            with pytest.raises(WorkerError, match="no"):
                worker.ask("fail")
            worker.tell("die")
            with pytest.raises(WorkerError, match="died: as told"):
                worker.answer()
        finally:
            worker.end()


def test_a_worker_that_says_nothing_is_given_up(tmp_path):
    with (tmp_path / "log").open("w+b") as log:
        worker = Worker([sys.executable, "-c", "import sys; sys.stdin.read()"], log)
        with pytest.raises(WorkerError, match="no answer"):
            worker.answer(timeout_s=0.01)
        worker.end()
