"""The comparison with torchvision: that it compares the same, and says what it measured."""

import io
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pycocotools import mask as coco_mask
from rich.console import Console

from detector.bench import Comparison, Models, by_turns, print_comparison, stage_seconds
from detector.cli import cli

pytest.importorskip("torchvision")


@pytest.fixture(scope="module")
def models():
    return Models((96, 128), 96)


def test_both_find_the_same(models):
    theirs, ours = models.infer_theirs(), models.infer_ours()
    assert len(theirs["boxes"]) > 10
    np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=1e-2)
    np.testing.assert_allclose(ours["scores"], theirs["scores"], atol=1e-4)
    assert coco_mask.decode(ours["masks"]).shape[:2] == theirs["masks"].shape[2:] == (96, 128)


def test_both_learn_the_same(models, monkeypatch):
    steps = []
    monkeypatch.setattr(
        models, "_step", lambda losses, optimizer: steps.append((losses, optimizer))
    )
    torch.manual_seed(3)
    models.train_theirs()
    torch.manual_seed(3)
    torch.empty(1).uniform_()  # torchvision draws the size of the image
    models.train_ours()
    (theirs, first), (ours, second) = steps
    torch.testing.assert_close(sum(ours.values()), sum(theirs.values()), rtol=1e-4, atol=1e-4)
    trained = [sum(p.numel() for p in o.param_groups[0]["params"]) for o in (first, second)]
    assert trained[0] == trained[1]


def test_parts_add_up_to_an_inference(models):
    start = time.perf_counter()
    seconds = stage_seconds(models)
    total = time.perf_counter() - start
    assert set(seconds) > {"backbone", "fpn", "rpn", "box_head", "mask_head"}
    assert all(value > 0 for value in seconds.values())
    assert 0.5 * total < sum(seconds.values()) <= total


def test_turns_alternate():
    calls = []
    times = by_turns(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert calls == ["a", "b"] * 4  # the first of each is not counted
    assert [len(seconds) for seconds in times] == [3, 3]


def test_the_table_has_ratios_of_the_turns():
    comparison = Comparison(
        ([3.0, 4.0, 9.0], [2.0, 2.0, 3.0]), ([1.0], [2.0]), {"rpn": 1.0, "fpn": 3.0}
    )
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=120))
    text = stream.getvalue()
    (line,) = [line for line in text.splitlines() if "inference " in line
               and "Where" not in line]  # fmt: skip
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["inference", "4.000", "2.000", "2.00", "1.50 to 3.00"]
    assert "75%" in text


def test_the_command_prints_it(models, monkeypatch):
    asked = []
    monkeypatch.setattr("detector.bench.Models", lambda *size: asked.append(size) or models)
    arguments = ["bench", "--size", "64", "90", "--short-edge", "96", "--turns", "1"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert asked == [((64, 90), 96)]
    assert "training step" in result.output
    assert "Where an inference here spends its time" in result.output
