"""Weights of torchvision's detectors as ours: every key of a file is accounted for.

A file's keys are renamed by the rules of its source and held against the parameters of the model
that its configuration builds. What neither fits nor is known to be needless is a gap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from detector.config import Config, update
from detector.presets import (
    FASTER_RCNN_R50_FPN_1X,
    FASTER_RCNN_R50_FPN_V2,
    KEYPOINT_RCNN_R50_FPN,
    MASK_RCNN_R50_FPN_1X,
    MASK_RCNN_R50_FPN_V2,
)

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
PART = {"0": "conv", "1": "norm"}
"""Positions of torchvision's Conv2dNormActivation."""


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
            *(f"no place: {name}: {reason}" for name, reason in self.unknown.items()),
            *(f"missing: {name}" for name in self.missing),
            f"{len(self.matched)} matched, {len(self.dropped)} dropped, "
            f"{len(self.unknown)} without a place, {len(self.missing)} missing",
        ]


TORCHVISION: Rules = (
    (r"backbone\.body\.conv1\.", "backbone.stem.conv."),
    (r"backbone\.body\.bn1\.", "backbone.stem.norm."),
    (
        r"backbone\.body\.layer(\d)\.(\d+)\.(conv|bn)(\d)\.",
        lambda m: f"backbone.res{int(m[1]) + 1}.{m[2]}.{'norm' if m[3] == 'bn' else 'conv'}{m[4]}.",
    ),
    (
        r"backbone\.body\.layer(\d)\.(\d+)\.downsample\.([01])\.",
        lambda m: f"backbone.res{int(m[1]) + 1}.{m[2]}.shortcut.{PART[m[3]]}.",
    ),
    # Until version 0.13 of torchvision these were convolutions without a container: no ".0".
    (
        r"backbone\.fpn\.(inner|layer)_blocks\.(\d)(?:\.([01]))?\.(?=\D)",
        lambda m: (
            f"fpn.{'lateral' if m[1] == 'inner' else 'output'}{int(m[2]) + 2}.{PART[m[3] or '0']}."
        ),
    ),
    (r"rpn\.head\.conv(?:\.(\d)\.0)?\.(?=\D)", lambda m: f"rpn.conv{int(m[1] or 0) + 1}."),
    (r"rpn\.head\.cls_logits\.", "rpn.objectness."),
    (r"rpn\.head\.bbox_pred\.", "rpn.deltas."),
    (r"roi_heads\.box_head\.fc([67])\.", lambda m: f"box_head.fc{int(m[1]) - 5}."),
    (
        r"roi_heads\.box_head\.([0-3])\.([01])\.",
        lambda m: f"box_head.conv{int(m[1]) + 1}.{PART[m[2]]}.",
    ),
    (r"roi_heads\.box_head\.5\.", "box_head.fc1."),  # after four convolutions and a flattening
    (r"roi_heads\.box_predictor\.cls_score\.", "box_head.cls."),
    (r"roi_heads\.box_predictor\.bbox_pred\.", "box_head.deltas."),
    (r"roi_heads\.mask_head\.mask_fcn(\d)\.", r"mask_head.conv\1.conv."),  # until 0.13
    (
        r"roi_heads\.mask_head\.(\d)\.([01])\.",
        lambda m: f"mask_head.conv{int(m[1]) + 1}.{PART[m[2]]}.",
    ),
    (r"roi_heads\.mask_predictor\.conv5_mask\.", "mask_head.deconv."),
    (r"roi_heads\.mask_predictor\.mask_fcn_logits\.", "mask_head.logits."),
    (
        r"roi_heads\.keypoint_head\.(\d+)\.",  # a ReLU after each
        lambda m: f"keypoint_head.conv{int(m[1]) // 2 + 1}.conv.",
    ),
    (r"roi_heads\.keypoint_predictor\.kps_score_lowres\.", "keypoint_head.deconv."),
)


def rename(name: str, rules: Rules) -> str | None:
    """Our name of a parameter; None where no rule knows it."""
    for pattern, replacement in rules:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return None


def convert_weights(
    weights: Mapping[str, Tensor], rules: Rules, parameters: Mapping[str, Tensor]
) -> Conversion:
    """Renames `weights` and holds them against `parameters`, the state of the model to be filled.

    Of `parameters` only names and shapes are read.
    """
    result = Conversion()
    for theirs, value in weights.items():
        ours = rename(theirs, rules)
        if ours is None:
            result.unknown[theirs] = "no layer of the model has such a name"
        elif ours not in parameters:
            if theirs.endswith(".num_batches_tracked"):
                result.dropped[theirs] = "a frozen norm counts no batches"
            else:
                result.unknown[theirs] = f"the model has no {ours}"
        elif value.shape != parameters[ours].shape:
            expected, got = tuple(parameters[ours].shape), tuple(value.shape)
            result.unknown[theirs] = f"{ours} must have shape {expected}; got {got}"
        elif ours in result.weights:
            result.unknown[theirs] = f"{ours} is there already"
        else:
            result.weights[ours] = value
            result.matched[theirs] = ours
    result.missing = [name for name in parameters if name not in result.weights]
    return result


def torchvision_config(weights: Mapping[str, Tensor]) -> Config:
    """The configuration of the torchvision model that these weights are of.

    Raises: ConversionError when they lack the layers that tell.
    """
    try:
        classes = len(weights["roi_heads.box_predictor.cls_score.bias"]) - 1
        width = weights["backbone.body.layer1.0.conv2.weight"].shape[1]
        channels = weights["backbone.body.layer1.0.conv3.weight"].shape
    except KeyError as error:
        raise ConversionError(
            f"not the weights of a detector of torchvision: no {error.args[0]}"
        ) from None
    later = any(name.startswith("roi_heads.box_head.0.") for name in weights)
    if "roi_heads.keypoint_predictor.kps_score_lowres.bias" in weights:
        base = KEYPOINT_RCNN_R50_FPN
    elif any(name.startswith("roi_heads.mask_predictor.") for name in weights):
        base = MASK_RCNN_R50_FPN_V2 if later else MASK_RCNN_R50_FPN_1X
    else:
        base = FASTER_RCNN_R50_FPN_V2 if later else FASTER_RCNN_R50_FPN_1X
    blocks = [
        len({name.split(".")[3] for name in weights if name.startswith(f"backbone.body.layer{n}.")})
        for n in range(1, 5)
    ]
    groups = channels[1] // width
    backbone = {"blocks": blocks, "stride_in": "3x3"}
    if groups > 1:
        backbone |= {"groups": groups, "group_width": width}
    heads = {}
    if base.model.keypoints:
        count = len(weights["roi_heads.keypoint_predictor.kps_score_lowres.bias"])
        heads = {"keypoint_head": {"num_keypoints": count}}
    return update(base, {"model": {"num_classes": classes, "backbone": backbone, **heads}})
