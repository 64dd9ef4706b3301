"""Weights of other projects as checkpoints of ours: every key of a file is accounted for.

A file's keys are renamed by the rules of its layout and held against the parameters of the model
that its configuration builds. What neither fits nor is known to be needless is a gap. Files are
read without running code from them.
"""

from __future__ import annotations

import collections
import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detector.checkpoint import Checkpoint
from detector.config import Config, update
from detector.data import Category
from detector.data.coco_names import COCO_NAMES
from detector.layouts import LAYOUTS, Layout, LayoutError, infer_config, rename
from detector.mask_rcnn import build_model

NORM_EPS = 1e-5
"""Of the norms here; what they add to the variance."""


class ConversionError(ValueError):
    """A file that cannot be converted; the message names it."""


@dataclass
class Conversion:
    """What became of every key of a file, and of every parameter of the model."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    """Under our names, ready for `load_state_dict`."""
    matched: dict[str, str] = field(default_factory=dict)
    """Their name → ours."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Their name → why the model does not need it."""
    filled: dict[str, str] = field(default_factory=dict)
    """Our name → what it is set to, and why."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Their name → why it has no place in the model."""
    missing: list[str] = field(default_factory=list)
    """Our parameters that the file does not have."""

    @property
    def complete(self) -> bool:
        return not self.unknown and not self.missing

    def lines(self) -> list[str]:
        """One line for every key of the file and every missing parameter, then their numbers."""
        return [
            *(f"{theirs} -> {ours}" for theirs, ours in self.matched.items()),
            *(f"dropped: {name}: {reason}" for name, reason in self.dropped.items()),
            *(f"filled: {name}: {reason}" for name, reason in self.filled.items()),
            *(f"no place: {name}: {reason}" for name, reason in self.unknown.items()),
            *(f"missing: {name}" for name in self.missing),
            f"{len(self.matched)} matched, {len(self.dropped)} dropped, {len(self.filled)} filled, "
            f"{len(self.unknown)} without a place, {len(self.missing)} missing",
        ]


def convert(
    path: Path | str, source: str, *, stride_in: str | None = None, norm_eps: float = NORM_EPS
) -> tuple[Conversion, Checkpoint]:
    """Reads a file of `source`, a key of `LAYOUTS`, and converts it.

    The configuration follows from names and shapes, all but the stride's place: `stride_in`, or
    null for what the project's own weights have (see `BackboneConfig`). norm_eps: what the frozen
    norms of the backbone were trained with; torchvision's first published weights (COCO_V1 of the
    models that are not v2) need 0.

    Raises: ConversionError when the file is missing, damaged, or not of that layout.
    """
    layout = LAYOUTS[source]
    weights, useless = read_weights(path)
    try:
        config = infer_config(layout, weights)
    except LayoutError as error:
        raise ConversionError(f"{path}: not weights of {source}: {error}") from None
    if stride_in is not None:
        config = update(config, {"model": {"backbone": {"stride_in": stride_in}}})
    # A backbone alone belongs to no number of classes; its layers are the same for any.
    model = replace(config.model, num_classes=config.model.num_classes or 1)
    parameters = build_model(replace(config, model=model)).state_dict()
    result = convert_weights(weights, layout, config, parameters)
    result.dropped |= useless
    if norm_eps != NORM_EPS:
        _set_norm_eps(result.weights, norm_eps)
    categories = name_categories(config)
    return result, Checkpoint(config, categories, 0, result.weights)


def convert_weights(
    weights: Mapping[str, Tensor], layout: Layout, config: Config, parameters: Mapping[str, Tensor]
) -> Conversion:
    """Renames `weights` and holds them against `parameters`, the state of the model of `config`.

    Of `parameters` only names and shapes are read.
    """
    result = Conversion()
    for theirs, value in weights.items():
        ours = rename(theirs, layout.rules)
        reason = next((why for what, why in layout.dropped if re.match(what, theirs)), None)
        if reason is not None:
            result.dropped[theirs] = reason
        elif ours is None:
            result.unknown[theirs] = "no layer of the model has such a name"
        elif ours not in parameters:
            if theirs.endswith(".num_batches_tracked"):
                result.dropped[theirs] = "a frozen norm counts no batches"
            else:
                result.unknown[theirs] = f"the model has no {ours}"
        elif ours in result.weights:
            result.unknown[theirs] = f"{ours} is there already"
        else:
            value = layout.adapt(ours, value, config)
            expected, got = tuple(parameters[ours].shape), tuple(value.shape)
            if expected != got:
                result.unknown[theirs] = f"{ours} must have shape {expected}; got {got}"
            else:
                result.weights[ours] = value.to(parameters[ours].dtype)
                result.matched[theirs] = ours
    if layout.affine_norms:
        _fill_statistics(result, parameters)
    result.missing = [name for name in parameters if name not in result.weights]
    return result


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The arrays of a .pth or .pkl file by name, and the other entries with what they are.

    Raises: ConversionError when it is missing or damaged, or holds objects other than arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise ConversionError(f"{path}: no such file")
    try:
        if path.suffix == ".pkl":
            content = _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _RefusedError as error:
        raise ConversionError(f"{path}: holds {error}, which weights never need: refused") from None
    except Exception:
        # A damaged file can raise anything; nothing of it is run. torch's own text advises to load
        # without the safety of weights_only: not passed on.
        raise ConversionError(f"{path}: truncated, or no file of weights alone") from None
    for container in ("model", "blobs"):
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
    if not isinstance(content, dict) or not content:
        raise ConversionError(f"{path}: must hold weights by name; got {type(content).__name__}")
    weights, useless = {}, {}
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            weights[str(name)] = torch.from_numpy(np.array(value))
        elif isinstance(value, Tensor):
            weights[str(name)] = value
        else:
            useless[str(name)] = f"no array: {type(value).__name__}"
    return weights, useless


def name_categories(config: Config) -> tuple[Category, ...]:
    """COCO's, where their number says so, else numbered ones."""
    count = config.model.num_classes or 0
    if count == 90:  # torchvision's labels are COCO's ids, ten of which are not used
        return tuple(Category(i, COCO_NAMES.get(i, f"unused {i}")) for i in range(1, 91))
    if count == len(COCO_NAMES):
        return tuple(Category(i, name) for i, name in COCO_NAMES.items())
    if count == 1 and config.model.keypoints:
        return (Category(1, COCO_NAMES[1]),)
    return tuple(Category(i, f"class {i}") for i in range(1, count + 1))


def _fill_statistics(result: Conversion, parameters: Mapping[str, Tensor]) -> None:
    """Statistics with which a frozen norm is its scale and bias and nothing else."""
    for name, like in parameters.items():
        norm, _, part = name.rpartition(".")
        if f"{norm}.weight" not in result.weights or name in result.weights:
            continue
        if part == "running_mean":
            result.weights[name] = torch.zeros_like(like)
            result.filled[name] = "0: part of the bias in the file"
        elif part == "running_var":
            result.weights[name] = torch.full_like(like, 1 - NORM_EPS)
            result.filled[name] = f"1 - {NORM_EPS}: part of the scale in the file"


def _set_norm_eps(weights: dict[str, Tensor], eps: float) -> None:
    """Rescales the backbone's norms so that with our eps they do what they did with theirs."""
    for name in [name for name in weights if name.endswith(".running_var")]:
        norm = name.removesuffix("running_var")
        if norm.startswith("backbone."):
            variance = weights[name].double()
            ratio = ((variance + NORM_EPS) / (variance + eps)).sqrt()
            weights[f"{norm}weight"] = (weights[f"{norm}weight"].double() * ratio).float()


class _RefusedError(pickle.UnpicklingError):
    """A pickle that names something else than what arrays are made of."""


class _Unpickler(pickle.Unpickler):
    """Knows arrays and plain containers only: a pickle can name any function to be called."""

    ARRAY = np.zeros(1).__reduce__()[0]
    SCALAR = np.float32(0).__reduce__()[0]

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            known = {"_reconstruct": self.ARRAY, "scalar": self.SCALAR}
        elif module == "numpy":
            known = {"ndarray": np.ndarray, "dtype": np.dtype}
        elif module == "collections":
            known = {"OrderedDict": collections.OrderedDict}
        elif module == "_codecs":  # bytes of Python 2's pickles
            known = {"encode": _encode_latin1}
        else:
            known = {}
        if name not in known:
            raise _RefusedError(f"{module}.{name}")
        return known[name]


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _RefusedError(f"bytes in {encoding}")
    return text.encode("latin1")
