"""The state of a training, new or resumed; whatever can be wrong with it is found here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from detector.checkpoint import Checkpoint, initialise, load_checkpoint, save_checkpoint
from detector.config import Config, differences
from detector.data import CocoDataset, find_files, open_dataset, validate_annotations
from detector.distributed import Group
from detector.mask_rcnn import MaskRCNN, build_model
from detector.run_folder import RunError, RunFolder
from detector.schedule import build_optimizer

FREE_KEYS = {"train.workers", "train.log_every", "train.checkpoint_every", "train.eval_every"}
"""Keys that change no weight: a resumed run may have others than the run it continues."""


@dataclass
class TrainingState:
    """A training between two iterations."""

    config: Config
    folder: RunFolder
    model: MaskRCNN
    optimizer: torch.optim.Optimizer
    train_data: CocoDataset
    val_data: CocoDataset | None
    iteration: int
    best: float | None
    """Best AP so far, of masks if the model has them, else of boxes."""
    saved: int = 0
    """Iteration of the newest checkpoint."""
    notes: list[str] = field(default_factory=list)
    """What a person should know before it starts."""

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            self.config,
            self.train_data.categories,
            self.iteration,
            self.model.state_dict(),
            self.optimizer.state_dict(),
            self.best,
        )


def prepare(
    config: Config, folder: RunFolder, resume: bool, init: Path | str | None, group: Group
) -> TrainingState:
    """Raises RunError, DataError or CheckpointError; writes only when all is well."""
    if group.writes:
        folder.check_resumable() if resume else folder.check_new()
    group.wait()
    if config.train.batch_size % group.size:
        raise RunError(
            f"train.batch_size must be a multiple of the {group.size} processes; "
            f"got {config.train.batch_size}"
        )
    if config.model.keypoints:
        raise RunError(
            "model.keypoints must be false for training from files: annotated keypoints are not "
            "read yet; got true"
        )
    train_data, val_data, notes = _open_data(config)
    classes = len(train_data.categories)
    if config.model.num_classes not in (None, classes):
        raise RunError(
            f"model.num_classes must be null or the number of categories of the data, {classes}; "
            f"got {config.model.num_classes}"
        )
    config = replace(config, model=replace(config.model, num_classes=classes))
    torch.manual_seed(config.train.seed)
    model = build_model(config)
    optimizer = build_optimizer(model.to(group.device), config.train)
    state = TrainingState(config, folder, model, optimizer, train_data, val_data, 0, None)
    state.notes.extend(notes)
    if resume:
        _restore(state, group.device)
        if group.writes:
            folder.create(config)  # keys that may differ from the run's first part
            folder.drop_metrics_after(state.iteration)
    else:
        state.notes.extend(_start(model, config, init))
        if group.writes:
            folder.create(config)
            save_checkpoint(folder.last, state.checkpoint())
    return state


def _start(model: MaskRCNN, config: Config, init: Path | str | None) -> list[str]:
    """Takes over the weights of `init`; says what a person should know about the start."""
    if init is None:
        if config.model.backbone.norm != "frozen_bn":
            return []
        return [
            "warning: model.backbone.norm is frozen_bn, meant for pretrained weights, and there "
            "is no --init: training starts from random weights"
        ]
    fresh = initialise(model, load_checkpoint(init).model)
    count = len(model.state_dict())
    notes = [f"{count - len(fresh)} of {count} parameters and statistics taken from {init}"]
    if fresh:
        notes.append(f"newly initialised: {', '.join(fresh)}")
    return notes


def _open_data(config: Config) -> tuple[CocoDataset, CocoDataset | None, list[str]]:
    """Training data, validation data if there is any, and what was left out of them."""
    if not config.data:
        raise RunError("no data to train on: give --data coco:DIR (or data=coco:DIR)")
    train_data = open_dataset(config.data, "train")
    notes = validate_annotations(train_data, config.train.skip_empty)
    val_files = find_files(config.data, "val")
    if val_files is None or val_files == find_files(config.data, "train"):
        return train_data, None, notes
    val_data = open_dataset(config.data, "val", categories=train_data.categories)
    notes += validate_annotations(val_data, config.train.skip_empty)
    return train_data, val_data, notes


def _restore(state: TrainingState, device: torch.device) -> None:
    checkpoint = load_checkpoint(state.folder.last, device)
    free = set(FREE_KEYS)
    if state.config.train.schedule == "steps":  # its rates do not depend on where it ends
        free.add("train.iterations")
    changed = {
        key: values
        for key, values in differences(checkpoint.config, state.config).items()
        if key not in free
    }
    if changed:
        listed = "; ".join(f"{key} was {was!r}, is {now!r}" for key, (was, now) in changed.items())
        raise RunError(f"cannot resume {state.folder.path} with another configuration: {listed}")
    if checkpoint.categories != state.train_data.categories:
        raise RunError(
            f"cannot resume {state.folder.path}: the categories of {state.config.data} differ "
            "from those it was trained on"
        )
    if checkpoint.optimizer is None:
        raise RunError(f"{state.folder.last} has no optimiser state to resume from")
    state.model.load_state_dict(checkpoint.model)
    state.optimizer.load_state_dict(checkpoint.optimizer)
    state.iteration = state.saved = checkpoint.iteration
    state.best = checkpoint.best
