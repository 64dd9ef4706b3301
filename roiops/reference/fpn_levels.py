"""Which pyramid level a box is pooled from (Lin et al., Feature Pyramid Networks, equation 1)."""

import numpy as np

from roiops.reference.boxes import area
from roiops.reference.precision import compute_dtype


def fpn_levels(
    boxes: np.ndarray,
    min_level: int,
    max_level: int,
    *,
    canonical_scale: float = 224,
    canonical_level: int = 4,
) -> np.ndarray:
    """Level number (int64, in [min_level, max_level]) of boxes (N, 4) or rois (N, 5).

    floor(canonical_level + log2(sqrt(area) / canonical_scale) + 1e-6), torchvision's rule, without
    the logarithm: a box has level k if its area reaches the area at which level k begins. Those
    areas are computed once in float64 and rounded to the boxes' precision, so that no backend's
    logarithm can decide otherwise. An area that is not finite or not positive gives min_level.
    """
    dtype = compute_dtype(boxes)
    with np.errstate(all="ignore"):
        areas = area(boxes[:, -4:].astype(dtype))
    usable = np.isfinite(areas) & (areas > 0)
    levels = np.full(len(boxes), min_level, np.int64)
    for level in range(min_level + 1, max_level + 1):
        side = canonical_scale * 2.0 ** (level - canonical_level - 1e-6)
        levels[usable & (areas >= dtype.type(side**2))] = level
    return levels
