"""What the operators are measured against: torchvision's functions for the same work, pycocotools'
for masks.

A peer gets the arguments of our operator, as tensors, and returns the call to be timed; whatever
can be made ready beforehand is not timed. Its result is compared with ours before it is timed
(`agree`), and where the two may differ by definition, that is said there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torchvision.ops as tv
from torch import Tensor
from torchvision.models.detection import _utils as detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import (
    heatmaps_to_keypoints,
    keypoints_to_heatmap,
    paste_masks_in_image,
    project_masks_on_boxes,
)
from torchvision.ops.poolers import MultiScaleRoIAlign

import roiops

Call = Callable[[], Any]


class NotOffered(Exception):
    """The peer has no such operator, option or type."""


@dataclass(frozen=True)
class Peer:
    name: str
    prepare: Callable[..., Call]
    agree: Callable[[Any, Any], bool]


# Not ps_roi_pool: torchvision's gradient of the last row and column is another.
DIFFERENTIABLE = ("roi_align", "multiscale_roi_align", "roi_pool", "roi_warp", "ps_roi_align")


def ours(operator: str) -> Callable[..., Call]:
    """Our call for the same work, prepared alike."""
    forward = operator.removesuffix("_backward")
    if operator != forward and forward in DIFFERENTIABLE:
        return backward_of(ours(forward))
    function = getattr(roiops, operator)
    if operator in ("cell_anchors", "grid_anchors"):
        return anchors_of(function)
    return lambda *a, **k: lambda: function(*a, **k)


def anchors_of(function: Callable[..., Any]) -> Callable[..., Call]:
    def prepared(*arguments, **options):
        like = torch.zeros(0)
        return lambda: function(*arguments, **options, like=like)

    return prepared


def flat(value: Any) -> list[Tensor]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [torch.as_tensor(value).cpu()]


def close(ours: Any, theirs: Any) -> bool:
    """Equal up to rounding, which for 16-bit results is that of one element."""
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        if a.shape != b.shape:
            return False
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return False
            continue
        eps = 1e-4 if a.dtype in (torch.float32, torch.float64) else 2e-2
        a, b = a.double(), b.double()
        # Written so that a NaN, on either side, disagrees.
        if a.numel() and not bool((a - b).abs().max() <= eps * b.abs().max()):
            return False
    return True


def equal(ours: Any, theirs: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(flat(ours), flat(theirs), strict=True))


def nearly_all_equal(ours: Any, theirs: Any) -> bool:
    """Pixels that lie on the threshold to the last bit may fall on either side."""
    pairs = list(zip(flat(ours), flat(theirs), strict=True))
    different = sum(int((a != b).sum()) for a, b in pairs)
    return different <= 1e-5 * sum(a.numel() for a, _ in pairs)


# --- the pooling of regions -----------------------------------------------------------------------


def roi_align(input, boxes, size, scale=1.0, sampling_ratio=-1, aligned=False, reduction="mean"):
    if reduction != "mean":
        raise NotOffered("torchvision has the mean alone")
    if input.dtype != boxes.dtype:
        raise NotOffered("torchvision wants boxes of the features' type")
    return lambda: tv.roi_align(input, boxes, size, scale, sampling_ratio, aligned)


def backward_of(prepare: Callable[..., Call]) -> Callable[..., Call]:
    """The backward pass through autograd, on a graph that stands. The gradient of the features
    alone: of boxes torchvision has none."""

    def prepared(grad, input, boxes, *options, **named):
        inputs = [x.requires_grad_() for x in (input if isinstance(input, list) else [input])]
        out = prepare(input, boxes, tuple(grad.shape[2:]), *options, **named)()
        return lambda: torch.autograd.grad(out, inputs, grad, retain_graph=True)

    return prepared


def multiscale(inputs, boxes, size, scales, sampling_ratio=-1):
    if inputs[0].dtype != boxes.dtype:
        raise NotOffered("torchvision wants boxes of the features' type")
    names = [str(i) for i in range(len(inputs))]
    pool = MultiScaleRoIAlign(names, size, sampling_ratio)
    maps = dict(zip(names, inputs, strict=True))
    images = inputs[0].shape[0]
    shape = [(round(inputs[0].shape[2] / scales[0]), round(inputs[0].shape[3] / scales[0]))]
    per_image = [boxes[boxes[:, 0] == i, 1:] for i in range(images)]
    return lambda: pool(maps, per_image, shape * images)


def roi_pool(input, boxes, size, scale=1.0):
    if input.dtype != boxes.dtype:
        raise NotOffered("torchvision wants boxes of the features' type")
    return lambda: tv.roi_pool(input, boxes, size, scale)


def position_sensitive(function: Callable[..., Tensor]) -> Callable[..., Call]:
    def prepared(input, boxes, *options):
        if input.dtype != boxes.dtype:
            raise NotOffered("torchvision wants boxes of the features' type")
        return lambda: function(input, boxes, *options)

    return prepared


def numpy_soft_nms(boxes, scores, method="linear"):
    """With the options' defaults, and of what is left only what is needed again."""
    if not boxes.is_cpu:
        raise NotOffered("NumPy has no GPU")
    boxes, scores = boxes.numpy(), scores.numpy()

    def call():
        x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
        area, left, number = (x2 - x1) * (y2 - y1), scores.copy(), np.arange(len(scores))
        keep, kept_scores = [], []
        while len(left):
            i = left.argmax()
            keep.append(number[i])
            kept_scores.append(left[i])
            width = np.minimum(x2, x2[i]) - np.maximum(x1, x1[i])
            height = np.minimum(y2, y2[i]) - np.maximum(y1, y1[i])
            common = np.maximum(width, 0) * np.maximum(height, 0)
            iou = common / (area + area[i] - common)
            if method == "linear":
                left *= np.where(iou > np.float32(0.3), 1 - iou, np.float32(1))
            else:
                left *= np.exp(-(iou * iou) / np.float32(0.5))
            left[i] = 0
            stay = left >= np.float32(0.001)
            x1, y1, x2, y2, area = x1[stay], y1[stay], x2[stay], y2[stay], area[stay]
            left, number = left[stay], number[stay]
        return torch.tensor(np.array(keep)), torch.tensor(np.array(kept_scores))

    return call


# --- boxes ----------------------------------------------------------------------------------------


def decode(deltas, boxes, clip_to=None):
    coder = detection.BoxCoder((1.0, 1.0, 1.0, 1.0))

    def call():
        decoded = coder.decode_single(deltas, boxes)
        return decoded if clip_to is None else tv.clip_boxes_to_image(decoded, clip_to)

    return call


def encode(reference_boxes, proposals):
    coder = detection.BoxCoder((1.0, 1.0, 1.0, 1.0))
    return lambda: coder.encode_single(reference_boxes, proposals)


def match(targets, boxes, high, low, allow_low_quality=False):
    matcher = detection.Matcher(high, low, allow_low_quality_matches=allow_low_quality)
    return lambda: matcher(tv.box_iou(targets, boxes))


def matches_agree(ours, theirs) -> bool:
    """Their one result has the target of a positive box, -1 for a negative, -2 for one between."""
    matched, labels, _ = ours
    negative = torch.where(labels == 0, -1, -2)
    return torch.equal(torch.where(labels == 1, matched, negative), theirs)


def anchors(feature_sizes, strides, sizes, aspect_ratios):
    generator = AnchorGenerator(tuple(sizes), tuple(aspect_ratios))
    generator.set_cell_anchors(torch.float32, torch.empty(0).device)
    steps = [[torch.tensor(s), torch.tensor(s)] for s in strides]
    return lambda: generator.grid_anchors(feature_sizes, steps)


# --- masks ----------------------------------------------------------------------------------------


def paste(masks, boxes, size, convention="torchvision"):
    if convention != "torchvision":
        raise NotOffered("another convention")
    return lambda: paste_masks_in_image(masks[:, None], boxes, size)[:, 0] > 0.5


def masks_of_coco() -> Any:
    """Asked for where it is needed: not every machine with a GPU has it."""
    try:
        import pycocotools.mask
    except ImportError as error:
        raise NotOffered("pycocotools is not installed") from error
    return pycocotools.mask


def paste_rle(masks, boxes, size):
    def call():
        pasted = (paste_masks_in_image(masks[:, None], boxes, size)[:, 0] > 0.5).byte()
        return [masks_of_coco().encode(np.asfortranarray(mask)) for mask in pasted.cpu().numpy()]

    return call


def texts_nearly_equal(ours, theirs) -> bool:
    decoded = ([torch.from_numpy(masks_of_coco().decode(r)) for r in x] for x in (ours, theirs))
    return nearly_all_equal(*decoded)


def crop(masks, boxes, size, convention="torchvision"):
    if convention != "torchvision":
        raise NotOffered("another convention")
    rows = torch.arange(len(masks))
    return lambda: project_masks_on_boxes(masks, boxes, rows, size)


def rasterize(polygons, boxes, size):
    """Detectron's way with pycocotools, one object after the other."""
    masks_of_coco()

    def call():
        targets = []
        for outlines, (x1, y1, x2, y2) in zip(polygons, boxes.double().tolist(), strict=True):
            scale = size / max(x2 - x1, 1), size / max(y2 - y1, 1)
            moved = []
            for outline in outlines:
                corners = torch.as_tensor(outline).cpu().numpy()
                points = (np.reshape(corners, (-1, 2)) - (x1, y1)) * scale
                moved.append(points.ravel().tolist())
            runs = masks_of_coco().frPyObjects(moved, size, size)
            targets.append(masks_of_coco().decode(masks_of_coco().merge(runs)))
        return torch.from_numpy(np.stack(targets)).bool()

    return call


# --- keypoints ------------------------------------------------------------------------------------


def keypoints_agree(ours, theirs) -> bool:
    places, scores = theirs
    return close(ours, torch.cat([places[..., :2], scores[..., None]], -1))


PEERS: dict[str, Peer] = {
    "roi_align": Peer("torchvision", roi_align, close),
    "multiscale_roi_align": Peer("torchvision", multiscale, close),
    "roi_pool": Peer("torchvision", roi_pool, close),
    "ps_roi_align": Peer("torchvision", position_sensitive(tv.ps_roi_align), close),
    "ps_roi_pool": Peer("torchvision", position_sensitive(tv.ps_roi_pool), close),
    "nms": Peer("torchvision", lambda *a: lambda: tv.nms(*a), equal),
    "batched_nms": Peer("torchvision", lambda *a: lambda: tv.batched_nms(*a), equal),
    "soft_nms": Peer("NumPy", numpy_soft_nms, close),
    "box_iou": Peer("torchvision", lambda *a: lambda: tv.box_iou(*a), close),
    **{
        name: Peer("torchvision", lambda *a, name=name: lambda: getattr(tv, name)(*a), close)
        for name in (
            "generalized_box_iou",
            "distance_box_iou",
            "complete_box_iou",
            "box_area",
            "box_convert",
            "remove_small_boxes",
            "masks_to_boxes",
        )
    },
    "clip_boxes_to_image": Peer(
        "torchvision", lambda *a: lambda: tv.clip_boxes_to_image(*a), equal
    ),
    "decode_boxes": Peer("torchvision", decode, close),
    "encode_boxes": Peer("torchvision", encode, close),
    "match_boxes": Peer("torchvision", match, matches_agree),
    "grid_anchors": Peer("torchvision", anchors, equal),
    "paste_masks": Peer("torchvision", paste, nearly_all_equal),
    "paste_masks_rle": Peer("torchvision and pycocotools", paste_rle, texts_nearly_equal),
    "crop_masks": Peer("torchvision", crop, close),
    "rasterize_polygons": Peer("pycocotools", rasterize, nearly_all_equal),
    "keypoints_to_heatmap": Peer(
        "torchvision", lambda *a: lambda: keypoints_to_heatmap(*a), nearly_all_equal
    ),
    "heatmaps_to_keypoints": Peer(
        "torchvision", lambda *a: lambda: heatmaps_to_keypoints(*a), keypoints_agree
    ),
}
PEERS |= {
    f"{name}_backward": Peer("torchvision", backward_of(PEERS[name].prepare), close)
    for name in DIFFERENTIABLE
    if name in PEERS
}
