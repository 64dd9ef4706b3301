"""The layouts of other projects' weights: names, order of rows, colours, and what they imply.

A `Layout` knows how each parameter of its project is called here, which entries of a file a model
does not need and how values have to be rearranged. `infer_config` says which model they are of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from detector.config import Config, update
from detector.conventions import apply_convention
from detector.presets import (
    KEYPOINT_RCNN_R50_FPN,
    MASK_RCNN_R50_FPN_1X,
    MASK_RCNN_R50_FPN_V2,
)

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
PART = {"0": "conv", "1": "norm"}
"""Positions of torchvision's Conv2dNormActivation."""


class LayoutError(ValueError):
    """Weights that are not of the layout they are said to be of."""


@dataclass(frozen=True)
class Layout:
    rules: Rules
    """Pattern at the start of their name → what stands there in ours."""
    dropped: tuple[tuple[str, str], ...]
    """Pattern at the start of their name → why the model does not need the entry."""
    convention: str
    """Of `conventions.py`."""
    background: Literal["first", "last"]
    """Its row in the classifier. Where it is the last, boxes and masks have none for it."""
    mean: tuple[float, float, float] | None = None
    """Of blue, green and red in 0..255, in the layouts that have them in this order."""
    affine_norms: bool = False
    """Whether norms are stored as scale and bias alone, statistics folded in."""

    def adapt(self, name: str, value: Tensor, config: Config) -> Tensor:
        """Their value of the parameter that we call `name`, as ours."""
        if self.mean is not None and name == "backbone.stem.conv.weight":
            return value.flip(1)
        if self.background == "first":
            return value
        if name.startswith("box_head.cls."):
            return torch.cat([value[-1:], value[:-1]])
        if name.startswith("box_head.deltas."):
            return torch.cat([torch.zeros_like(value[:4]), value])
        if name.startswith("mask_head.logits.") and config.model.mask_head.class_specific:
            return torch.cat([torch.zeros_like(value[:1]), value])
        return value


def rename(name: str, rules: Rules) -> str | None:
    """Our name of a parameter; None where no rule knows it."""
    for pattern, replacement in rules:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return None


def infer_config(layout: Layout, weights: Mapping[str, Tensor]) -> Config:
    """The configuration of the model that the weights are of, by their names and shapes.

    Raises: LayoutError when there is no residual network among them.
    """
    shapes = {
        ours: tuple(value.shape)
        for theirs, value in weights.items()
        if (ours := rename(theirs, layout.rules)) is not None
    }
    heads = "box_head.cls.bias" in shapes
    keypoints = "keypoint_head.deconv.weight" in shapes
    if layout.convention != "torchvision":
        base = MASK_RCNN_R50_FPN_1X
    elif keypoints:
        base = KEYPOINT_RCNN_R50_FPN
    else:
        base = MASK_RCNN_R50_FPN_V2 if "fpn.output2.norm.bias" in shapes else MASK_RCNN_R50_FPN_1X
    model: dict[str, Any] = {"backbone": _backbone(layout, shapes)}
    if heads:
        model |= {
            "num_classes": shapes["box_head.cls.bias"][0] - 1,
            "masks": "mask_head.logits.weight" in shapes,
            "keypoints": keypoints,
            "rpn": {"convs": len(_widths(shapes, r"rpn\.conv"))},
            "box_head": {
                "convs": _widths(shapes, r"box_head\.conv", r"\.conv"),
                "norm": _norm(shapes, "box_head.conv1"),
                "fc": _widths(shapes, r"box_head\.fc"),
            },
        }
    if "fpn.output2.conv.weight" in shapes:
        channels = shapes["fpn.output2.conv.weight"][0]
        model["fpn"] = {"channels": channels, "norm": _norm(shapes, "fpn.output2")}
    elif heads:
        model["features"] = "c5" if model["box_head"]["fc"] else "c4"
        model["anchors"] = {"sizes": [[32, 64, 128, 256, 512]]}
        if model["features"] == "c4":
            model["box_head"]["pool_size"] = 14
    if model.get("masks"):
        masks = shapes["mask_head.logits.weight"][0]
        every = model["num_classes"] + (layout.background == "first")
        model["mask_head"] = {
            "convs": _widths(shapes, r"mask_head\.conv", r"\.conv"),
            "norm": _norm(shapes, "mask_head.conv1"),
            "deconv": shapes["mask_head.logits.weight"][1],
            "class_specific": masks == every,
        }
    if keypoints:
        model["keypoint_head"] = {
            "convs": _widths(shapes, r"keypoint_head\.conv", r"\.conv"),
            "num_keypoints": shapes["keypoint_head.deconv.weight"][1],
        }
    changes: dict[str, Any] = {"model": model}
    if layout.mean is not None:
        changes["input"] = _bgr_input(layout.mean, weights, "groups" in model["backbone"])
    return apply_convention(update(base, changes), layout.convention)


def _backbone(layout: Layout, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    stages = [
        {m[1] for name in shapes if (m := re.match(rf"backbone\.res{n}\.(\d+)\.conv3\.", name))}
        for n in range(2, 6)
    ]
    firsts = [f"backbone.res{n}.0.conv{c}.weight" for n in range(2, 6) for c in (1, 2, 3)]
    lacking = [name for name in (*firsts, "backbone.stem.conv.weight") if name not in shapes]
    if lacking:
        raise LayoutError(f"none of its {len(shapes)} known names is our {lacking[0]}")
    channels = [shapes[name][0] for name in firsts[2::3]]
    inner, group = shapes[firsts[0]][0], shapes[firsts[1]][1]
    backbone: dict[str, Any] = {
        "blocks": [len(blocks) for blocks in stages],
        "channels": channels,
        "stem_channels": [shapes["backbone.stem.conv.weight"][0]],
    }
    if 4 * inner != channels[0] or inner != group:
        backbone |= {"groups": inner // group, "group_width": group}
    if not layout.affine_norms and "backbone.stem.norm.running_mean" not in shapes:
        backbone["norm"] = "gn"
    return backbone


def _norm(shapes: Mapping[str, tuple[int, ...]], layer: str) -> str | None:
    if f"{layer}.norm.weight" not in shapes:
        return None
    return "bn" if f"{layer}.norm.running_mean" in shapes else "gn"


def _widths(shapes: Mapping[str, tuple[int, ...]], stem: str, end: str = "") -> list[int]:
    """Outputs of the layers `stem`1, `stem`2, …, in this order."""
    pattern = re.compile(rf"{stem}(\d+){end}\.weight")
    layers = {
        int(m[1]): shape[0] for name, shape in shapes.items() if (m := pattern.fullmatch(name))
    }
    return [layers[number] for number in sorted(layers)]


def _bgr_input(
    mean: Sequence[float], weights: Mapping[str, Tensor], has_groups: bool
) -> dict[str, Any]:
    """Keys of `input`: what was subtracted from, and divided, blue, green and red in 0..255."""
    # ResNeXt's weights want standard deviations; the original ones (MSRA) were trained without.
    std: Sequence[float] = (57.375, 57.12, 58.395) if has_groups else (1.0, 1.0, 1.0)
    if "pixel_mean" in weights and "pixel_std" in weights:
        mean = weights["pixel_mean"].flatten().tolist()
        std = weights["pixel_std"].flatten().tolist()
    return {
        "mean": [value / 255 for value in reversed(mean)],
        "std": [value / 255 for value in reversed(std)],
    }


TRUNK = r"(?:backbone\.body\.)?"
"""Missing in the files of classifiers, which are a backbone only."""
TORCHVISION: Rules = (
    (TRUNK + r"conv1\.", "backbone.stem.conv."),
    (TRUNK + r"bn1\.", "backbone.stem.norm."),
    (
        TRUNK + r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.",
        lambda m: f"backbone.res{int(m[1]) + 1}.{m[2]}.{'norm' if m[3] == 'bn' else 'conv'}{m[4]}.",
    ),
    (
        TRUNK + r"layer(\d)\.(\d+)\.downsample\.([01])\.",
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


STAGE = r"(?:backbone\.(?:bottom_up\.)?|roi_heads\.)?"
DETECTRON2: Rules = (
    (STAGE + r"stem\.conv1\.norm\.", "backbone.stem.norm."),
    (STAGE + r"stem\.conv1\.", "backbone.stem.conv."),
    (STAGE + r"res(\d)\.(\d+)\.conv(\d)\.norm\.", r"backbone.res\1.\2.norm\3."),
    (STAGE + r"res(\d)\.(\d+)\.conv(\d)\.", r"backbone.res\1.\2.conv\3."),
    (STAGE + r"res(\d)\.(\d+)\.shortcut\.norm\.", r"backbone.res\1.\2.shortcut.norm."),
    (STAGE + r"res(\d)\.(\d+)\.shortcut\.", r"backbone.res\1.\2.shortcut.conv."),
    (r"backbone\.fpn_(lateral|output)(\d)\.norm\.", r"fpn.\1\2.norm."),
    (r"backbone\.fpn_(lateral|output)(\d)\.", r"fpn.\1\2.conv."),
    (r"proposal_generator\.rpn_head\.conv\.(?=[wb])", "rpn.conv1."),
    (
        r"proposal_generator\.rpn_head\.conv\.conv(\d)\.",
        lambda m: f"rpn.conv{int(m[1]) + 1}.",
    ),
    (r"proposal_generator\.rpn_head\.objectness_logits\.", "rpn.objectness."),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.", "rpn.deltas."),
    (r"roi_heads\.box_head\.conv(\d)\.norm\.", r"box_head.conv\1.norm."),
    (r"roi_heads\.box_head\.conv(\d)\.", r"box_head.conv\1.conv."),
    (r"roi_heads\.box_head\.fc(\d)\.", r"box_head.fc\1."),
    (r"roi_heads\.box_predictor\.cls_score\.", "box_head.cls."),
    (r"roi_heads\.box_predictor\.bbox_pred\.", "box_head.deltas."),
    (r"roi_heads\.mask_head\.mask_fcn(\d)\.norm\.", r"mask_head.conv\1.norm."),
    (r"roi_heads\.mask_head\.mask_fcn(\d)\.", r"mask_head.conv\1.conv."),
    (r"roi_heads\.mask_head\.deconv\.", "mask_head.deconv."),
    (r"roi_heads\.mask_head\.predictor\.", "mask_head.logits."),
    (r"roi_heads\.keypoint_head\.conv_fcn(\d)\.", r"keypoint_head.conv\1.conv."),
    (r"roi_heads\.keypoint_head\.score_lowres\.", "keypoint_head.deconv."),
)

KIND = {"w": "weight", "b": "bias", "s": "weight"}
BRANCH = {"a": "1", "b": "2", "c": "3"}


def _caffe2(pattern: str, ours: str) -> tuple[str, Callable[[re.Match[str]], str]]:
    """A rule for a layer whose entries end in _w and _b."""
    return (
        rf"{pattern}_([wb])$",
        lambda m: f"{m.expand(ours)}.{KIND[m[m.re.groups]]}",
    )


CAFFE2: Rules = (
    _caffe2(r"conv1", "backbone.stem.conv"),
    (r"res_conv1_bn_([sb])$", lambda m: f"backbone.stem.norm.{KIND[m[1]]}"),
    (
        r"res(\d)_(\d+)_branch2([abc])_(bn_)?([wsb])$",
        lambda m: (
            f"backbone.res{m[1]}.{m[2]}.{'norm' if m[4] else 'conv'}{BRANCH[m[3]]}.{KIND[m[5]]}"
        ),
    ),
    (
        r"res(\d)_(\d+)_branch1_(bn_)?([wsb])$",
        lambda m: f"backbone.res{m[1]}.{m[2]}.shortcut.{'norm' if m[3] else 'conv'}.{KIND[m[4]]}",
    ),
    _caffe2(r"fpn_inner_res(\d)_\d+_sum(?:_lateral)?", r"fpn.lateral\1.conv"),
    _caffe2(r"fpn_res(\d)_\d+_sum", r"fpn.output\1.conv"),
    _caffe2(r"conv_rpn(?:_fpn2)?", "rpn.conv1"),
    _caffe2(r"rpn_cls_logits(?:_fpn2)?", "rpn.objectness"),
    _caffe2(r"rpn_bbox_pred(?:_fpn2)?", "rpn.deltas"),
    _caffe2(r"fc6", "box_head.fc1"),
    _caffe2(r"fc7", "box_head.fc2"),
    _caffe2(r"cls_score", "box_head.cls"),
    _caffe2(r"bbox_pred", "box_head.deltas"),
    _caffe2(r"_\[mask\]_fcn(\d)", r"mask_head.conv\1.conv"),
    _caffe2(r"conv5_mask", "mask_head.deconv"),
    _caffe2(r"mask_fcn_logits", "mask_head.logits"),
    _caffe2(r"conv_fcn(\d)", r"keypoint_head.conv\1.conv"),
    _caffe2(r"kps_score_lowres", "keypoint_head.deconv"),
)

LAYOUTS = {
    "torchvision": Layout(
        TORCHVISION, ((r"fc\.", "the classifier of ImageNet"),), "torchvision", background="first"
    ),
    "detectron2": Layout(
        DETECTRON2,
        (
            (r"pixel_(mean|std)$", "stands in the configuration: input.mean, input.std"),
            (r"proposal_generator\.anchor_generator\.", "anchors follow from the configuration"),
            (r"(stem\.)?fc\.|linear\.", "the classifier of ImageNet"),
        ),
        "detectron2",
        background="last",
        mean=(103.53, 116.28, 123.675),
    ),
    "caffe2": Layout(
        CAFFE2,
        (
            (r".*_momentum$", "the optimiser's"),
            (r"lr$", "the optimiser's"),
            (r"(fc1000|pred)_[wb]$", "the classifier of ImageNet"),
            (r"kps_score_[wb]$", "bilinear interpolation, not learnt"),
        ),
        "detectron",
        background="first",
        mean=(102.9801, 115.9465, 122.7717),
        affine_norms=True,
    ),
}
