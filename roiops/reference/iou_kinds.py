"""What goes on where two boxes do not meet: generalized, distance and complete IoU.

Every pair of boxes1 (..., N, 4) and boxes2 (..., M, 4): (..., N, M). The hull is the smallest box
around both. A pair whose union is not finite is worth 0; any other term that is not finite (an
empty hull, a box without width and height) counts nothing.
"""

import numpy as np

from roiops.reference.boxes import area, as_floats, pairwise_iou


def generalized_box_iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """IoU - (hull - union) / hull, of areas (Rezatofighi et al., 2019)."""
    pairs = Pairs(boxes1, boxes2)
    with np.errstate(all="ignore"):
        hull = pairs.width * pairs.height
        return pairs.result(pairs.iou - finite_or_zero((hull - pairs.union) / hull))


def distance_box_iou(boxes1: np.ndarray, boxes2: np.ndarray, eps: float = 1e-7) -> np.ndarray:
    """IoU - (distance of the centres / diagonal of the hull)^2 (Zheng et al., 2020)."""
    pairs = Pairs(boxes1, boxes2)
    return pairs.result(pairs.distance_iou(eps))


def complete_box_iou(boxes1: np.ndarray, boxes2: np.ndarray, eps: float = 1e-7) -> np.ndarray:
    """Distance IoU - alpha v, v the difference of the shapes (Zheng et al., 2020)."""
    pairs = Pairs(boxes1, boxes2)
    with np.errstate(all="ignore"):
        angle1, angle2 = (
            np.arctan((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1]))
            for b in (pairs.first, pairs.second)
        )
        v = pairs.real(4 / np.pi**2) * (angle1 - angle2) ** 2
        alpha = v / (1 - pairs.iou + v + pairs.real(eps))
        return pairs.result(pairs.distance_iou(eps) - finite_or_zero(alpha * v))


class Pairs:
    """What the three have in common."""

    def __init__(self, boxes1: np.ndarray, boxes2: np.ndarray) -> None:
        self.integers = boxes1.dtype.kind in "iu"
        self.first = as_floats(boxes1)[..., :, None, :]
        self.second = as_floats(boxes2)[..., None, :, :]
        self.real = self.first.dtype.type
        first, second = self.first, self.second
        with np.errstate(all="ignore"):
            shared = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
                first[..., :2], second[..., :2]
            )
            common = np.maximum(shared, 0).prod(axis=-1)
            self.union = area(first) + area(second) - common
            sides = np.maximum(first[..., 2:], second[..., 2:]) - np.minimum(
                first[..., :2], second[..., :2]
            )
        self.width, self.height = np.moveaxis(np.maximum(sides, 0), -1, 0)
        self.iou = pairwise_iou(first, second)

    def distance_iou(self, eps: float) -> np.ndarray:
        first, second = self.first, self.second
        with np.errstate(all="ignore"):
            shift = (first[..., :2] + first[..., 2:]) / 2 - (second[..., :2] + second[..., 2:]) / 2
            diagonal = self.width**2 + self.height**2 + self.real(eps)
            return self.iou - finite_or_zero((shift**2).sum(axis=-1) / diagonal)

    def result(self, values: np.ndarray) -> np.ndarray:
        values = np.where(np.isfinite(self.union), values, self.real(0))
        return values.astype(np.float32) if self.integers else values


def finite_or_zero(term: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(term), term, term.dtype.type(0))
