"""Checkpoints: written whole or not at all, read without running code from the file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.config import Config, ConfigError, to_mapping, update
from detector.data.coco import Category
from detector.mask_rcnn import MaskRCNN, build_model

FORMAT = "roiops detector 1"


class CheckpointError(ValueError):
    """A file that is no usable checkpoint; the message names it."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run continues from. Random states are no part of it: every random number
    follows from the configuration's seed and the iteration."""

    config: Config
    categories: tuple[Category, ...]
    """In the order of the labels 1..K."""
    iteration: int
    """Finished iterations."""
    model: dict[str, Tensor]
    optimizer: dict[str, Any] | None = None
    """None in checkpoints that are only to be used, not continued."""
    best: float | None = None
    """Best AP of the run so far, of masks if the model has them, else of boxes."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replaces `path` in one step: whoever reads it sees the old file or the new one, whole."""
    content = {
        "format": FORMAT,
        "config": to_mapping(checkpoint.config),
        "categories": [(category.id, category.name) for category in checkpoint.categories],
        "iteration": checkpoint.iteration,
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "best": checkpoint.best,
    }
    # In the same folder, because a rename is atomic only within one file system.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> Checkpoint:
    """Raises CheckpointError when the file is missing, truncated, or something else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        if error.filename is not None:
            raise
        raise CheckpointError(f"{path}: truncated, or not a checkpoint") from None
    except Exception:
        # A damaged file can make torch raise anything; weights_only keeps it from running anything.
        # torch's own text advises to load without the safety of weights_only: not passed on.
        raise CheckpointError(f"{path}: truncated, or not a checkpoint") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{path}: its format must be {FORMAT!r}; got {found!r}")
    try:
        return Checkpoint(
            update(Config(), content["config"]),
            tuple(Category(*category) for category in content["categories"]),
            content["iteration"],
            content["model"],
            content["optimizer"],
            content["best"],
        )
    except ConfigError as error:
        raise CheckpointError(f"{path}: its configuration cannot be used: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: damaged, a part is missing or wrong: {error}") from None


def load_model(path: Path | str, device: torch.device | str) -> tuple[MaskRCNN, Checkpoint]:
    """The model of a checkpoint, ready for use, and what else the checkpoint tells.

    Raises: CheckpointError, also when its weights are not those of its configuration's model.
    """
    checkpoint = load_checkpoint(path, device)
    if checkpoint.config.model.num_classes is None:
        raise CheckpointError(f"{path}: a backbone alone, for --init; there are no heads to use")
    model = build_model(checkpoint.config).to(device)
    check_fit(path, model, checkpoint.model)
    model.load_state_dict(checkpoint.model)
    return model.eval(), checkpoint


def check_fit(path: Path | str, model: MaskRCNN, weights: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError, naming what differs, unless the weights are the model's."""
    state = model.state_dict()
    wrong = [f"missing {name}" for name in state if name not in weights]
    wrong += [f"no place for {name}" for name in weights if name not in state]
    wrong += [
        f"{name} must have shape {tuple(value.shape)}; got {tuple(weights[name].shape)}"
        for name, value in state.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if wrong:
        listed = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise CheckpointError(f"{path}: its weights do not fit its configuration: {listed}")


def initialise(model: MaskRCNN, weights: Mapping[str, Tensor]) -> list[str]:
    """Takes from `weights` all that fits by name and shape; returns the names that did not.

    Raises CheckpointError when nothing fits.
    """
    state = model.state_dict()
    fits = {k: v for k, v in weights.items() if k in state and v.shape == state[k].shape}
    if not fits:
        raise CheckpointError("the weights to start from have no parameter of this model")
    model.load_state_dict(fits, strict=False)
    return [name for name in state if name not in fits]
