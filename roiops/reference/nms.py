"""Greedy non-maximum suppression, with every tie and every odd value decided.

Order: descending score, equal scores by lower index, NaN scores last. A box is suppressed if its
overlap with a kept box is strictly greater than the threshold, the overlap and the threshold in
the boxes' precision (float32 for half and float32 boxes). torchvision compares like this on a GPU,
but a float overlap with a double threshold on a CPU. A NaN-scored box suppresses nothing; a box
with a non-finite coordinate neither suppresses nor is suppressed.
"""

import numpy as np

from roiops.reference.boxes import pairwise_iou
from roiops.reference.precision import compute_dtype


def nms(
    boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, *, plus_one: bool = False
) -> np.ndarray:
    """Indices (int64, by descending score) of the boxes (N, 4) that are kept."""
    one_group = np.zeros(len(boxes), np.int64)
    return greedy(boxes, scores, one_group, iou_threshold, plus_one)


def batched_nms(
    boxes: np.ndarray, scores: np.ndarray, idxs: np.ndarray, iou_threshold: float
) -> np.ndarray:
    """As nms, but boxes with different idxs (N,) (class or level) never meet.

    The groups are compared, nothing is shifted: torchvision adds an offset to each group's
    coordinates, which brings boxes of negative coordinates into other groups, loses precision,
    and spreads one NaN over all of them.
    """
    return greedy(boxes, scores, idxs, iou_threshold, plus_one=False)


def padded_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    idxs: np.ndarray | None,
    iou_threshold: float,
    *,
    max_output: int,
    score_threshold: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """indices (B, max_output), padded with -1, and counts (B,), both int64, of B images.

    boxes (B, N, 4), scores (B, N), idxs (B, N) or None. Of each image the first of what
    batched_nms keeps of the boxes with a score greater than score_threshold (of all, if None).
    """
    indices = np.full((len(boxes), max_output), -1, np.int64)
    counts = np.zeros(len(boxes), np.int64)
    for b, score in enumerate(scores):
        group = np.zeros(len(score), np.int64) if idxs is None else idxs[b]
        taking_part = np.ones(len(score), bool)
        if score_threshold is not None:
            taking_part = score > compute_dtype(score).type(score_threshold)
        members = np.flatnonzero(taking_part)
        keep = greedy(boxes[b, members], score[members], group[members], iou_threshold, False)
        keep = members[keep[:max_output]]
        indices[b, : len(keep)] = keep
        counts[b] = len(keep)
    return indices, counts


def greedy(
    boxes: np.ndarray,
    scores: np.ndarray,
    idxs: np.ndarray,
    iou_threshold: float,
    plus_one: bool,
) -> np.ndarray:
    dtype = compute_dtype(boxes)
    boxes = boxes.astype(dtype)
    threshold = dtype.type(iou_threshold)
    finite = np.isfinite(boxes).all(axis=1)
    # argsort puts NaN last (but for bfloat16), and a stable sort leaves equal scores in index order
    order = np.argsort(-scores.astype(compute_dtype(scores)), kind="stable")
    alive = np.ones(len(boxes), bool)
    keep = []
    for rank, index in enumerate(order):
        if not alive[index]:
            continue
        keep.append(index)
        if np.isnan(scores[index]) or not finite[index]:
            continue
        rest = order[rank + 1 :]
        overlap = pairwise_iou(boxes[index], boxes[rest], plus_one)
        suppressed = (overlap > threshold) & (idxs[rest] == idxs[index]) & finite[rest]
        alive[rest[suppressed]] = False
    return np.array(keep, np.int64)
