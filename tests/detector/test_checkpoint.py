"""Checkpoints are whole, are refused when they are not, and never run code."""

import pickle
from dataclasses import replace

import pytest
import torch
from tiny import tiny_config

import detector.checkpoint as checkpoints
from detector.checkpoint import (
    Checkpoint,
    CheckpointError,
    initialise,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from detector.config import update
from detector.data import Category
from detector.mask_rcnn import build_model

CONFIG = update(tiny_config(), {"model": {"num_classes": 2}})


@pytest.fixture
def checkpoint():
    torch.manual_seed(1)
    categories = (Category(7, "date"), Category(9, "fig"))
    return Checkpoint(CONFIG, categories, 12, build_model(CONFIG).state_dict(), {"state": {}}, 31.5)


def test_what_is_saved_comes_back(checkpoint, tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert loaded.config == checkpoint.config
    assert loaded.categories == checkpoint.categories
    assert (loaded.iteration, loaded.optimizer, loaded.best) == (12, {"state": {}}, 31.5)
    model, _ = load_model(path, "cpu")
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, checkpoint.model[name])


@pytest.mark.parametrize("moment", ["while writing", "before renaming"])
def test_a_failure_leaves_the_old_file_and_nothing_else(moment, checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint)
    before = path.read_bytes()

    def full_disk(content, file):
        file.write(b"half of it")
        raise OSError("no space left on device")

    def killed(*names):
        raise KeyboardInterrupt

    if moment == "while writing":
        monkeypatch.setattr(checkpoints.torch, "save", full_disk)
    else:
        monkeypatch.setattr(checkpoints.os, "replace", killed)
    with pytest.raises((OSError, KeyboardInterrupt)):
        save_checkpoint(path, replace(checkpoint, iteration=13))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_a_truncated_file_is_named(kept, checkpoint, tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="truncated") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


class _Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("save", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_not_run(save, tmp_path):
    trace = tmp_path / "trace"
    save({"format": _Exploit(trace)}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not trace.exists()


@pytest.mark.parametrize("content", [{"model": {}}, [1, 2], {"format": "other"}])
def test_another_format_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="its format must be"):
        load_checkpoint(tmp_path / "other.pt")


def test_an_unknown_configuration_key_is_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "to_mapping", lambda config: {"later_invention": 1})
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    with pytest.raises(CheckpointError, match="later_invention"):
        load_checkpoint(tmp_path / "last.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pt: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_weights_are_taken_where_they_fit(checkpoint):
    other = build_model(update(CONFIG, {"model": {"num_classes": 5}}))
    fresh = initialise(other, checkpoint.model)
    assert {name.rsplit(".", 1)[0] for name in fresh} == {
        "box_head.cls",
        "box_head.deltas",
        "mask_head.logits",
    }
    name = "backbone.res3.0.conv1.weight"
    assert torch.equal(other.state_dict()[name], checkpoint.model[name])


def test_weights_of_something_else_are_refused(checkpoint):
    model = build_model(CONFIG)
    with pytest.raises(CheckpointError, match="no parameter of this model"):
        initialise(model, {"encoder.weight": torch.zeros(3)})


@pytest.mark.parametrize("part", ["categories", "iteration", "model", "optimizer", "best"])
def test_a_missing_part_is_named(part, checkpoint, tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint)
    content = torch.load(path, weights_only=True)
    del content[part]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"last\.pt: damaged, .*{part}"):
        load_checkpoint(path)
