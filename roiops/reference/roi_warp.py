"""RoIWarp (Dai et al. 2016): ends rounded to cells as in RoIPool, bilinear samples as in RoIAlign.

Only the placement of the samples is its own: `roi_sampling.roi_axis`. The gradient of the boxes
goes straight through the rounding, as if it were not there.
"""

from collections.abc import Sequence

import numpy as np

from roiops.reference.roi_align import as_pair, as_rois, pooled, pooled_backward

PLACEMENTS = {"paper": "warp", "mnc": "warp_mnc"}


def roi_warp(
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    *,
    reduction: str = "mean",
    convention: str = "paper",
) -> np.ndarray:
    """input (N, C, H, W), boxes (K, 5) or a list of (L_i, 4) → (K, C, PH, PW)."""
    rois = as_rois(boxes)
    levels = np.zeros(len(rois), np.int64)
    size, scales, placement = as_pair(output_size), [spatial_scale], PLACEMENTS[convention]
    return pooled([input], rois, size, scales, sampling_ratio, placement, levels, reduction)


def roi_warp_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    *,
    reduction: str = "mean",
    convention: str = "paper",
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of sum(grad_output * roi_warp(...)): by the input, and by the rois (K, 5)."""
    rois = as_rois(boxes)
    levels = np.zeros(len(rois), np.int64)
    scales, placement = [spatial_scale], PLACEMENTS[convention]
    grad_inputs, grad_rois = pooled_backward(
        grad_output, [input], rois, scales, sampling_ratio, placement, levels, reduction
    )
    return grad_inputs[0], grad_rois
