"""Runs: what they write, that they resume to the bit, and when they refuse or stop."""

import json
import shutil
from contextlib import contextmanager

import pytest
import torch
from tiny import tiny_config, write_discs

import detector.train as training
from detector.checkpoint import load_checkpoint
from detector.config import update
from detector.mask_rcnn import MaskRCNN
from detector.presets import load_config
from detector.run_folder import RunError
from detector.schedule import build_optimizer, learning_rate
from detector.train import Interrupted, _iteration_seed, train


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def finished(discs, tmp_path_factory):
    """An uninterrupted run of four iterations: its folder and its evaluation."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    return out, train(tiny_config(discs), out)


@contextmanager
def _signal_after(iterations):
    """Stands for Ctrl-C during this many-th iteration."""
    count = iter(range(1, 1000))
    yield lambda: next(count) >= iterations


def assert_same_state(first, second):
    a, b = load_checkpoint(first), load_checkpoint(second)
    assert a.iteration == b.iteration
    assert a.model.keys() == b.model.keys()
    for name in a.model:
        assert torch.equal(a.model[name], b.model[name]), name
    moments_a, moments_b = a.optimizer["state"], b.optimizer["state"]
    assert moments_a.keys() == moments_b.keys()
    for key, moments in moments_a.items():
        for name, value in moments.items():
            assert torch.equal(value, moments_b[key][name]), (key, name)


def records(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_what_one_needs_to_understand_it(finished):
    out, metrics = finished
    assert {path.name for path in out.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "log.txt",
        "last.pt",
        "best.pt",
    }
    config = load_config(str(out / "config.yaml"))
    assert config.model.num_classes == 2
    assert load_checkpoint(out / "last.pt").config == config
    steps, evaluation = records(out)[:-1], records(out)[-1]
    assert [record["iteration"] for record in steps] == [2, 4]
    assert set(steps[0]) >= {
        "loss",
        "losses",
        "learning_rate",
        "seconds_per_iteration",
        "data_seconds_per_iteration",
        "eta_seconds",
    }
    assert steps[0]["loss"] == pytest.approx(sum(steps[0]["losses"].values()))
    assert evaluation["evaluation"] == metrics
    log = (out / "log.txt").read_text()
    assert "4/4  loss" in log
    assert "AP50" in log
    best = load_checkpoint(out / "best.pt")
    assert best.optimizer is None
    assert best.best == metrics["segm"]["AP"]


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    after, workers, discs, finished, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    config = tiny_config(discs, workers=workers)
    with monkeypatch.context() as patch:
        patch.setattr(training, "interruptible", lambda: _signal_after(after))
        with pytest.raises(Interrupted, match=f"holds iteration {after}"):
            train(config, out)
    assert load_checkpoint(out / "last.pt").iteration == after
    torch.rand(7)  # whatever else has drawn random numbers meanwhile
    train(config, out, resume=True)
    assert_same_state(out / "last.pt", finished[0] / "last.pt")


def test_a_killed_run_resumes_from_its_last_checkpoint(discs, finished, tmp_path):
    """It had written metrics beyond the checkpoint, the last line not even whole."""
    out = tmp_path / "run"
    train(tiny_config(discs, iterations=2, schedule="steps"), out)
    expected = records(out)[0]
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 4, "loss": 0.5}\n{"iteration": 6, "lo')
    train(tiny_config(discs, iterations=6, schedule="steps"), out, resume=True)
    lines = [r for r in records(out) if "loss" in r]
    assert lines[0] == expected
    assert [r["iteration"] for r in lines] == [2, 4, 6]
    assert lines[1]["loss"] != 0.5


def test_the_seed_decides(discs, finished, tmp_path):
    train(tiny_config(discs), tmp_path / "same")
    assert_same_state(tmp_path / "same" / "last.pt", finished[0] / "last.pt")
    train(tiny_config(discs, seed=1), tmp_path / "other")
    a, b = (load_checkpoint(p / "last.pt").model for p in (finished[0], tmp_path / "other"))
    assert not torch.equal(a["rpn.conv1.weight"], b["rpn.conv1.weight"])


def test_a_folder_in_use_is_refused_before_anything_is_done(discs, finished, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in finished[0].iterdir()}
    with pytest.raises(RunError, match="is not empty: choose another --out, or add --resume"):
        train(tiny_config(discs), finished[0])
    assert {p: p.stat().st_mtime_ns for p in finished[0].iterdir()} == before
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="must be a folder"):
        train(tiny_config(discs), tmp_path / "file")


def test_resuming_needs_a_checkpoint(discs, tmp_path):
    with pytest.raises(RunError, match=r"no checkpoint last\.pt"):
        train(tiny_config(discs), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1e-4}, "train.learning_rate was 0.002, is 0.0001"),
        ({"iterations": 8}, "train.iterations was 4, is 8"),  # it shapes the cosine
    ],
)
def test_another_configuration_cannot_resume(change, message, discs, finished):
    with pytest.raises(RunError, match=message):
        train(tiny_config(discs, **change), finished[0], resume=True)


def test_keys_without_influence_may_change_on_resuming(discs, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    train(tiny_config(discs, workers=1, log_every=1, checkpoint_every=9), out, resume=True)
    assert load_config(str(out / "config.yaml")).train.log_every == 1


def test_other_categories_cannot_resume(discs, finished, tmp_path, monkeypatch):
    out, other = tmp_path / "run", tmp_path / "discs"
    shutil.copytree(finished[0], out)
    shutil.copytree(discs, other)
    for split in ("train", "val"):
        path = other / "annotations" / f"instances_{split}.json"
        path.write_text(path.read_text().replace('"bright"', '"brilliant"'))
    monkeypatch.setattr(
        "detector.prepare.open_dataset",
        lambda spec, split, **k: open_dataset(f"coco:{other}", split, **k),
    )
    from detector.data import open_dataset

    with pytest.raises(RunError, match=r"categories .* differ"):
        train(tiny_config(discs), out, resume=True)


def test_a_wrong_number_of_classes_is_refused(discs, tmp_path):
    config = update(tiny_config(discs), {"model": {"num_classes": 3}})
    with pytest.raises(RunError, match=r"number of categories of the data, 2; got 3"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_must_be_given(tmp_path):
    with pytest.raises(RunError, match="no data to train on"):
        train(tiny_config(), tmp_path / "run")


def test_a_non_finite_loss_stops_and_leaves_a_good_checkpoint(discs, tmp_path):
    out = tmp_path / "run"
    config = tiny_config(
        discs, iterations=20, optimizer="sgd", learning_rate=1e30, checkpoint_every=1
    )
    with pytest.raises(RunError) as caught:
        train(config, out)
    message = str(caught.value)
    assert "non-finite" in message
    assert "at iteration" in message
    ids = message.partition("images ")[2].partition(";")[0].split(", ")
    assert len(ids) == 2
    assert all(1 <= int(i) <= 6 for i in ids)
    weights = load_checkpoint(out / "last.pt").model
    assert all(torch.isfinite(value.float()).all() for value in weights.values())


@pytest.mark.parametrize(
    ("name", "poison", "message"),
    [
        ("rpn_box", lambda loss: loss * float("nan"), r"loss \(rpn_box\)"),
        ("mask", lambda loss: loss * float("inf"), r"loss \(mask\)"),
        # Finite, but the slope of the root at zero is not.
        ("mask", lambda loss: loss + (loss * 0).sqrt(), "gradient"),
    ],
)
def test_what_is_not_finite_is_named(name, poison, message, discs, tmp_path, monkeypatch):
    forward = MaskRCNN.forward

    def poisoned(model, images, targets=None):
        losses = forward(model, images, targets)
        return losses | {name: poison(losses[name])}

    monkeypatch.setattr(MaskRCNN, "forward", poisoned)
    with pytest.raises(RunError, match=rf"non-finite {message}.* at iteration 0, images \d"):
        train(tiny_config(discs), tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "last.pt").iteration == 0


def test_weights_can_start_a_new_run(discs, finished, tmp_path):
    train(tiny_config(discs, iterations=1), tmp_path / "run", init=finished[0] / "last.pt")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "parameters and statistics taken from" in log
    assert "newly initialised" not in log


def test_a_model_of_boxes_alone_trains_and_keeps_its_best(discs, tmp_path):
    config = update(tiny_config(discs, iterations=2), {"model": {"masks": False}})
    metrics = train(config, tmp_path / "run")
    assert set(metrics) == {"bbox"}
    assert "mask" not in records(tmp_path / "run")[0]["losses"]
    assert load_checkpoint(tmp_path / "run" / "best.pt").best == metrics["bbox"]["AP"]


def test_keypoints_cannot_be_learnt_from_files(discs, tmp_path):
    config = update(tiny_config(discs), {"model": {"keypoints": True}})
    with pytest.raises(RunError, match=r"model\.keypoints must be false .*; got true"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_without_a_validation_part_trains_without_evaluation(discs, tmp_path):
    config = update(
        tiny_config(iterations=1),
        {"data": f"coco:{discs}/annotations/instances_train.json:{discs}/train"},
    )
    assert train(config, tmp_path / "run") is None
    assert not (tmp_path / "run" / "best.pt").exists()


def test_the_best_weights_are_kept(discs, tmp_path, monkeypatch):
    scores = iter([10.0, 30.0, 20.0])
    monkeypatch.setattr(
        training,
        "evaluate",
        lambda *a, **k: {
            kind: dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), score)
            for score in [next(scores)]
            for kind in ("bbox", "segm")
        },
    )
    train(tiny_config(discs, iterations=6, eval_every=2), tmp_path / "run")
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert (best.iteration, best.best) == (4, 30.0)
    assert load_checkpoint(tmp_path / "run" / "last.pt").best == 30.0


@pytest.mark.parametrize("name", ["coco", "fruits"])
def test_real_photographs_train_and_evaluate(name, request, tmp_path):
    config = update(
        tiny_config(request.getfixturevalue(f"{name}_data"), iterations=3),
        {"input": {"short_edge": [160], "scale": None}},
    )
    metrics = train(config, tmp_path / "run")
    assert set(metrics) == {"bbox", "segm"}
    assert all(-1 <= value <= 100 for kind in metrics.values() for value in kind.values())


def test_the_nuclei_train_and_evaluate(tmp_path):
    config = load_config(
        "nuclei_demo",
        ["train.iterations=2", "train.workers=0", "input.scale=1", "augment.crop=128"],
    )
    metrics = train(config, tmp_path / "run")
    assert set(metrics["segm"]) == {"AP", "AP50", "AP75", "APs", "APm", "APl"}


def test_the_paper_schedule():
    config = load_config("mask_rcnn_r50_fpn_1x").train
    assert learning_rate(config, 0) == pytest.approx(0.02 * 0.001)
    assert learning_rate(config, 500) == pytest.approx(0.02 * (0.0005 + 0.5), rel=1e-6)
    rates = [learning_rate(config, i) for i in (1000, 59999, 60000, 79999, 80000)]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.0002])


def test_the_cosine_schedule():
    config = tiny_config(
        iterations=100, warmup_iterations=10, warmup_factor=0.1, learning_rate=1.0
    ).train
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50) == pytest.approx(0.51)
    assert learning_rate(config, 100) == pytest.approx(0.02)
    rates = [learning_rate(config, i) for i in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("everywhere", "expected"), [(True, {0.05}), (False, {0.05, 0.0})])
def test_weight_decay_may_spare_vectors(everywhere, expected):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    config = tiny_config(decay_vectors=everywhere, weight_decay=0.05).train
    groups = build_optimizer(model, config).param_groups
    assert {group["weight_decay"] for group in groups} == expected
    assert sum(len(group["params"]) for group in groups) == 4
    for group in groups:
        if group["weight_decay"] == 0:
            assert all(p.ndim == 1 for p in group["params"])


def test_every_run_iteration_and_process_draws_its_own_samples():
    # As torch's generator sees it: it ignores all but 32 bits of a seed.
    def draw(seed, iteration, rank):
        torch.manual_seed(_iteration_seed(seed, iteration, rank))
        return tuple(torch.randperm(20).tolist())

    places = [(0, 5, 0), (1, 5, 0), (7, 5, 0), (0, 6, 0), (0, 5, 1)]
    assert len({draw(*place) for place in places}) == len(places)
    assert draw(0, 5, 0) == draw(0, 5, 0)
