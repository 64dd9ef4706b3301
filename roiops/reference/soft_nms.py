"""Soft-NMS (Bodla et al., 2017): overlapping boxes are not suppressed, their scores are lowered.

Overlaps and factors are computed in the boxes' precision, scores multiplied and compared in their
own. Every product is rounded once and the exponential is plain arithmetic, so that a score falls
below the threshold on every backend or on none.
"""

import numpy as np

from roiops.reference.boxes import pairwise_iou
from roiops.reference.exponential import exponential
from roiops.reference.precision import compute_dtype


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    *,
    idxs: np.ndarray | None = None,
    method: str = "linear",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (M,) in the order of selection, and the scores (M,) they were selected with.

    Again and again the best box that is left is selected, of equal ones the first, and the others
    of its group that overlap it lose score. A box whose score is not at least score_threshold is
    dropped, from the start too; so is one whose score is NaN. "hard" drops what overlaps by more
    than iou_threshold. A box with a non-finite coordinate overlaps nothing.
    """
    dtype = compute_dtype(boxes)
    boxes = boxes.astype(dtype)
    scores = scores.astype(compute_dtype(scores))
    idxs = np.zeros(len(boxes), np.int64) if idxs is None else idxs
    finite = np.isfinite(boxes).all(axis=1)
    least = scores.dtype.type(score_threshold)
    left = np.flatnonzero(scores >= least)
    keep = []
    while len(left):
        best = left[np.argmax(scores[left])]
        keep.append(best)
        left = left[left != best]
        meets = (idxs[left] == idxs[best]) & finite[left] & finite[best]
        overlap = np.where(meets, pairwise_iou(boxes[best], boxes[left]), dtype.type(0))
        if method == "hard":
            left = left[~(overlap > dtype.type(iou_threshold))]
            continue
        if method == "linear":
            factor = np.where(overlap > dtype.type(iou_threshold), 1 - overlap, dtype.type(1))
        else:
            factor = exponential(-(overlap * overlap) / dtype.type(sigma))
        with np.errstate(invalid="ignore"):  # an infinite score times 0 is NaN, and dropped
            scores[left] *= factor.astype(scores.dtype)
        left = left[scores[left] >= least]
    selected = np.array(keep, np.int64)
    return selected, scores[selected]
