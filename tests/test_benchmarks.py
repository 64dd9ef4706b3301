"""The benchmarks run, verify before they time, and say what they did. (No time is asserted.)"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torchvision")

from benchmarks.__main__ import main
from benchmarks.measure import Comparison, Quartiles, Times
from benchmarks.run import Row, Setting
from roiops.testing import Case

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def benchmarks(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_result_names_the_machine_and_is_comparable(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = benchmarks("run", "RPN anchors", "--seconds", "0", "--json", str(file))
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert {"processor", "commit", "load", "bandwidth"} <= result["machine"].keys()
    cases = [row["case"] for row in result["rows"]]
    assert cases == ["RPN anchors"]
    row = result["rows"][0]
    assert row["peer"] == "torchvision"
    assert row["times"]["pairs"] >= 7
    ratio = row["times"]["ratio"]
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert "RPN anchors" in done.stdout
    again = benchmarks("compare", str(file), str(file))
    assert again.returncode == 0, again.stderr
    assert "1.00" in again.stdout
    assert "slower" not in again.stdout


def test_settings_are_measured_beside_float32(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = benchmarks(
        "settings", "ps_roi_pool R-FCN backward", "--seconds", "0", "--json", str(file)
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["settings"]
    assert {row["setting"] for row in rows} == {
        "float64",
        "float16",
        "bfloat16",
        "channels_last",
        "2 threads",
    }
    assert all(row["ratio"]["median"] > 0 for row in rows)


def test_growth_is_measured_in_time_and_memory(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = benchmarks("growth", "backward", "--seconds", "0", "--json", str(file))
    assert done.returncode == 0, done.stderr
    points = json.loads(file.read_text())["growth"]
    assert [point["size"] for point in points] == [100, 1_000, 10_000]
    assert all(point["seconds"] > 0 for point in points)
    # Of 10,000 RoIs: neither a copy of the map and its gradients nor of the pooled ones, 500 MB.
    assert 0 < points[2]["memory"] < 50e6


@pytest.mark.parametrize("kind", ["cpu", "cpu-settings", "cpu-growth"])
def test_the_page_shows_the_results_beside_it(kind: str, tmp_path: Path) -> None:
    written = (ROOT / "docs" / "performance.md").read_text()
    copy = tmp_path / "performance.md"
    copy.write_text(written)
    done = CliRunner().invoke(main, ["page", f"{RESULTS}/{kind}.json", "--into", str(copy)])
    assert done.exit_code == 0, done.stderr
    assert copy.read_text() == written


def test_what_a_peer_does_not_offer_is_measured_without_it(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    done = benchmarks(
        "run", "ps_roi_align R-FCN", "--dtype", "float64", "--seconds", "0", "--json", str(file)
    )
    assert done.returncode == 0, done.stderr
    assert [row["peer"] for row in json.loads(file.read_text())["rows"]] == [None, None]


def test_a_part_of_the_cases_does_not_become_the_page(tmp_path: Path) -> None:
    file, copy = tmp_path / "result.json", tmp_path / "performance.md"
    whole = json.loads((RESULTS / "cpu.json").read_text())
    grown = json.loads((RESULTS / "cpu-growth.json").read_text())
    written = (ROOT / "docs" / "performance.md").read_text()
    copy.write_text(written)
    for result, reason in (
        (whole | {"rows": whole["rows"][1:]}, "it must have, once each, roi_align C4 (float32"),
        (whole | {"rows": whole["rows"] * 2}, "it must have, once each, roi_align C4 (float32"),
        (grown | {"growth": grown["growth"][:-1]}, "once each, roi_align, 300 RoIs (1600)"),
        (whole | {"rows": [1]}, "TypeError"),
        ({"rows": []}, "once each"),
        ({}, "a result must have rows or settings or growth"),
        ([], "a result must have rows or settings or growth"),
    ):
        file.write_text(json.dumps(result))
        done = CliRunner().invoke(main, ["page", str(file), "--into", str(copy)])
        assert done.exit_code == 1
        assert reason in done.stderr
        assert copy.read_text() == written


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run", "nms 1k", "no such case"], "no case has 'no such case' in its name"),
        (
            ["growth", "--json", "no/such/folder.json"],
            "No such file or directory: 'no/such/folder.json'",
        ),
        (["settings", "--seconds", "nan"], "'nan' is not a number"),
        (
            ["compare", f"{ROOT}/README.md", f"{RESULTS}/cpu.json"],
            "JSONDecodeError: Expecting value",
        ),
        (
            ["compare", f"{RESULTS}/cpu-growth.json", f"{RESULTS}/cpu.json"],
            "a result must have rows",
        ),
    ],
)
def test_what_cannot_be_done_is_said_at_once(arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code in (1, 2)
    assert reason in done.stderr


def test_rows_are_written_as_they_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "result.json"

    quartiles = Quartiles(1.0, 1.0, 1.0)
    times = Comparison(Times(quartiles, quartiles), None, None, 7)

    def measure(case: Case, setting: Setting, seconds: float) -> Row:
        if case.name != "nms 1k":
            raise KeyboardInterrupt
        return Row(case.name, case.operator, setting, None, times, 0)

    monkeypatch.setattr("benchmarks.__main__.measure", measure)
    done = CliRunner().invoke(main, ["run", "nms", "--json", str(file)])
    assert done.exit_code == 1
    assert [row["case"] for row in json.loads(file.read_text())["rows"]] == ["nms 1k"]
