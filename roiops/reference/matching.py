"""Which target a box (an anchor, a proposal) is responsible for (Faster R-CNN, section 3.1.2)."""

from collections.abc import Sequence

import numpy as np

from roiops.reference.boxes import pairwise_iou
from roiops.reference.precision import compute_dtype

Match = tuple[np.ndarray, np.ndarray, np.ndarray]


def match_boxes(
    targets: np.ndarray | Sequence[np.ndarray],
    boxes: np.ndarray | Sequence[np.ndarray],
    high: float,
    low: float,
    *,
    allow_low_quality: bool = False,
) -> Match | tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Match boxes (N, 4) to targets (G, 4): matched_idxs, labels, ious, each (N,).

    matched_idxs (int64): the target of greatest overlap, the lowest index among equals; 0 when
    there is no target. labels (int8): 1 where that overlap is >= high, 0 where it is < low, else
    -1 (ignored). With allow_low_quality, every box that ties a target's best overlap also becomes
    positive and keeps its own target; a best overlap of 0 makes none. Without targets everything
    is negative. The thresholds are converted to the type the overlaps are computed in.

    A list of targets is a batch: with shared boxes (N, 4) the results are stacked to (B, N), with
    a list of boxes each result is a list.
    """
    if isinstance(targets, np.ndarray):
        assert isinstance(boxes, np.ndarray)
        return match_one_image(targets, boxes, high, low, allow_low_quality)
    shared = isinstance(boxes, np.ndarray)
    per_image = [boxes] * len(targets) if shared else boxes
    matches = [
        match_one_image(image_targets, image_boxes, high, low, allow_low_quality)
        for image_targets, image_boxes in zip(targets, per_image, strict=True)
    ]
    matched_idxs, labels, ious = (list(column) for column in zip(*matches, strict=True))
    if shared:
        return np.stack(matched_idxs), np.stack(labels), np.stack(ious)
    return matched_idxs, labels, ious


def match_one_image(
    targets: np.ndarray, boxes: np.ndarray, high: float, low: float, allow_low_quality: bool
) -> Match:
    dtype = compute_dtype(targets, boxes)
    count = len(boxes)
    if len(targets) == 0:
        return np.zeros(count, np.int64), np.zeros(count, np.int8), np.zeros(count, dtype)
    overlap = pairwise_iou(targets.astype(dtype)[:, None], boxes.astype(dtype)[None, :])
    matched_idxs = overlap.argmax(axis=0)  # the first of equal maxima
    ious = overlap.max(axis=0)
    labels = np.full(count, -1, np.int8)
    labels[ious < dtype.type(low)] = 0
    labels[ious >= dtype.type(high)] = 1
    if allow_low_quality and count:
        best = overlap.max(axis=1, keepdims=True)
        labels[((overlap == best) & (best > 0)).any(axis=0)] = 1
    return matched_idxs, labels, ious
