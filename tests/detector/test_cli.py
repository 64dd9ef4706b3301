"""The command line: exit codes, one-line errors, Ctrl-C, and commands that work as printed."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tiny import tiny_config, write_discs

from detector.checkpoint import load_checkpoint
from detector.cli import cli
from detector.config import to_yaml
from detector.demo import draw_overview, free_folder, next_steps
from detector.train import train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(to_yaml(tiny_config()))
    return path


@pytest.fixture(scope="module")
def weights(discs, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    train(tiny_config(discs), out)
    return out / "last.pt"


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def process(*arguments, **options):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    }
    return subprocess.Popen(
        [sys.executable, "-m", "detector", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


@pytest.mark.parametrize(
    "command", ["", "train", "eval", "predict", "convert", "check-data", "bench", "demo"]
)
def test_help(command):
    result = call(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["tarin"],
        ["train"],
        ["train", "--out", "x"],
        ["train", "--out", "x", "--config", "nuclei_demo", "--sede", "3"],
        ["train", "--out", "x", "--config", "nuclei_demo", "--seed", "three"],
        ["train", "--out", "x", "--resume", "--init", "y"],
        ["eval"],
        ["predict", "--weights", "x"],
        ["predict", "--weights", "x", "--score", "2", "image.png"],
        ["eval", "--weights", "x", "--split", "test"],
    ],
)
def test_wrong_usage_exits_with_2(arguments):
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "train --out {tmp}/x --config nuclei_dmo",
            "a YAML file or one of nuclei_demo",
        ),
        ("train --out {tmp}/x --config {config}", "no data to train on"),
        ("train --out {tmp}/x --config {config} --data coco:{tmp}/no", "no such folder"),
        ("train --out {tmp}/x --config {config} --data voc:1", "data must be nuclei, coco:DIR"),
        (
            "train --out {tmp}/x --config nuclei_demo train.iteration=3",
            "did you mean train.iterations",
        ),
        ("train --out {tmp}/x --config nuclei_demo --max-iters 0", "train.iterations:"),
        ("train --out {tmp}/x --config nuclei_demo --device tpu", "got 'tpu'"),
        ("train --out {tmp}/x --config nuclei_demo --init {tmp}/no.pt", "no such checkpoint"),
        ("train --out {run} --config nuclei_demo", "is not empty"),
        ("train --out {tmp} --resume", "no checkpoint last.pt"),
        ("eval --weights {config}", "truncated, or not a checkpoint"),
        ("eval --weights {run}/last.pt --data coco:{tmp}", "no annotations/instances_val.json"),
        ("predict --weights {run}/last.pt {tmp}/no.png", "no such file or folder"),
        ("check-data coco:{tmp}", "no annotations/instances_train.json"),
    ],
)
def test_mistakes_are_one_line_and_exit_1(arguments, message, config_file, weights, tmp_path):
    names = {"tmp": tmp_path, "config": config_file, "run": weights.parent}
    result = call(*arguments.format(**names).split())
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_defect_is_not_taken_for_a_mistake(config_file, discs, tmp_path, monkeypatch):
    def defect(*arguments):
        raise ValueError("index arithmetic went wrong")

    monkeypatch.setattr("detector.train.training_batches", defect)
    result = call(
        "train", "--config", config_file, "--data", f"coco:{discs}", "--out", tmp_path / "x"
    )
    assert isinstance(result.exception, ValueError)


def test_train_evaluate_predict(config_file, discs, tmp_path):
    out = tmp_path / "run"
    result = call(
        *("train", "--config", config_file, "--data", f"coco:{discs}", "--out", out),
        *("--max-iters", 3, "--seed", 5, "--eval-every", 2, "train.log_every=1"),
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"3/3  loss [\d.]+ \(rpn_objectness .*lr .* s/it .* left", result.output)
    assert result.output.count("AP50") == 2
    config = load_checkpoint(out / "last.pt").config
    assert (config.data, config.train.seed, config.train.iterations) == (f"coco:{discs}", 5, 3)

    results = tmp_path / "results.json"
    result = call("eval", "--weights", out / "last.pt", "--json", results)
    assert result.exit_code == 0, result.output
    assert "AP75" in result.output
    assert isinstance(json.loads(results.read_text()), list)

    pictures = tmp_path / "pictures"
    result = call(
        "predict", "--weights", out / "last.pt", "--out", pictures, "--score", 0, discs / "val"
    )
    assert result.exit_code == 0, result.output
    assert len(list(pictures.iterdir())) == 2


def test_one_unreadable_image_does_not_spoil_the_others(weights, discs, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no more")
    result = call(
        *("predict", "--weights", weights, "--out", tmp_path / "pictures"),
        *(broken, discs / "val" / "1.png"),
    )
    assert result.exit_code == 1
    assert "broken.png" in result.output
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_checking_data_reads_every_image(discs, tmp_path):
    result = call("check-data", f"coco:{discs}")
    assert result.exit_code == 0
    assert "6 images" in result.output
    assert "0 errors" in result.output

    broken = write_discs(tmp_path / "broken")
    (broken / "val" / "2.png").write_bytes(b"")
    result = call("check-data", f"coco:{broken}")
    assert result.exit_code == 1
    assert "2.png" in result.output


def test_ctrl_c_saves_and_the_printed_command_resumes_to_the_same_weights(
    config_file, discs, tmp_path
):
    arguments = ["--config", config_file, "--data", f"coco:{discs}", "--device", "cpu"]
    arguments += ["train.iterations=30", "train.workers=1", "train.log_every=1"]
    run = process("train", "--out", tmp_path / "run", *arguments, cwd=tmp_path)
    lines = []
    for line in run.stdout:
        lines.append(line)
        if line.startswith("3/30"):
            # To the whole group, loading processes included, as a terminal does.
            os.killpg(run.pid, signal.SIGINT)
            break
    lines += run.stdout.read().splitlines()
    assert run.wait(60) == 130, lines
    assert 3 <= load_checkpoint(tmp_path / "run" / "last.pt").iteration < 30

    command = shlex.split(lines[-1])
    assert command[-6:] == ["train", "--resume", "--out", str(tmp_path / "run"), "--device", "cpu"]
    resumed = process(*command[command.index("train") :], cwd=tmp_path)
    output = resumed.communicate(timeout=120)[0]
    assert resumed.returncode == 0, output

    whole = process("train", "--out", tmp_path / "whole", *arguments, cwd=tmp_path)
    output = whole.communicate(timeout=120)[0]
    assert whole.returncode == 0, output
    a, b = (load_checkpoint(tmp_path / name / "last.pt") for name in ("run", "whole"))
    assert a.iteration == b.iteration == 30
    for name, value in a.model.items():
        assert torch.equal(value, b.model[name]), name


def test_the_demo_ends_with_a_picture_and_commands_that_run(weights, tmp_path, monkeypatch):
    draw_overview(weights, tmp_path / "overview.jpg", torch.device("cpu"))
    assert (tmp_path / "overview.jpg").stat().st_size > 10_000

    monkeypatch.chdir(tmp_path)
    assert free_folder() == Path("runs/nuclei_demo")
    (tmp_path / "runs" / "nuclei_demo").mkdir(parents=True)
    assert free_folder() == Path("runs/nuclei_demo-2")

    os.symlink(weights, tmp_path / "runs" / "nuclei_demo" / "last.pt")
    printed = [
        shlex.split(line)
        for line in next_steps(Path("runs/nuclei_demo")).splitlines()
        if " -m detector " in line
    ]
    predict, own = (command[command.index("detector") + 1 :] for command in printed)
    assert call(*predict).exit_code == 0
    assert list((tmp_path / "runs" / "nuclei_demo" / "pictures").iterdir())
    own += ["--max-iters", "1", "augment.crop=64", "input.scale=0.5", "train.workers=0"]
    result = call(*own)
    assert result.exit_code == 0, result.output


def test_two_processes_train_together(config_file, discs, tmp_path):
    """Under torchrun: each takes its share of a batch, one writes, and the run can be resumed."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    arguments = ["-m", "detector", "train", "--out", str(tmp_path / "run"), "--device", "cpu"]
    started = time.monotonic()
    for more in (
        ["--config", str(config_file), "--data", f"coco:{discs}", "train.schedule=steps"],
        ["--resume", "--max-iters", "6"],
    ):
        run = subprocess.run(
            [*launch, *arguments, *more],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert run.returncode == 0, run.stderr[-3000:]
    assert load_checkpoint(tmp_path / "run" / "last.pt").iteration == 6
    losses = [
        record
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        if "loss" in (record := json.loads(line))
    ]
    assert [record["iteration"] for record in losses] == [2, 4, 6]
    assert time.monotonic() - started < 240


def test_a_graphics_card_that_the_operators_cannot_use_is_left_alone(weights, monkeypatch):
    # torch's default build sees a card; this build of roiops has operators for the CPU only.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert call("eval", "--weights", weights).exit_code == 0
    for name in ("cuda", "meta", "nonsense"):
        result = call("eval", "--weights", weights, "--device", name)
        assert result.exit_code == 1
        assert f"device must be cpu (the backends of this build of roiops); got '{name}'" in (
            result.output.replace("\n", " ")
        )
