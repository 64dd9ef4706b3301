"""Position-sensitive RoIAlign: the samples of RoIAlign, each bin from a channel of its own (R-FCN).

Bin (ph, pw) of output channel c reads input channel (c PH + ph) PW + pw. With the matrices of
`roi_align`, and F[c, ph, pw] the patch that a bin reads:

    out[c, ph, pw] = Wy[ph] F[c, ph, pw] Wx[pw]^T / n
"""

from collections.abc import Iterator, Sequence

import numpy as np

from roiops.reference.roi_align import Region, as_pair, as_rois, regions
from roiops.reference.roi_sampling import axis_weights, bins_with_cells, weighted_sum


def by_bin(input: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, C PH PW, H, W) seen as (N, C, PH, PW, H, W)."""
    images, channels, *cells = input.shape
    return input.reshape(images, channels // (size[0] * size[1]), *size, *cells)


def sampled(
    input: np.ndarray,
    rois: np.ndarray,
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
) -> Iterator[tuple[int, Region]]:
    """(row of rois, Region), the samples being those of roi_align with aligned=True."""
    levels = np.zeros(len(rois), np.int64)
    maps = [input.shape[2:]]
    return regions(rois, size, [spatial_scale], maps, levels, sampling_ratio, "aligned")


def ps_roi_align(
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> np.ndarray:
    """input (N, C PH PW, H, W), boxes (K, 5) or a list of (L_i, 4) → (K, C, PH, PW).

    An empty bin is 0 as in roi_align (torchvision divides 0 by 0 there).
    """
    rois, size = as_rois(boxes), as_pair(output_size)
    features = by_bin(input, size)
    out = np.zeros((len(rois), features.shape[1], *size))
    for k, region in sampled(input, rois, size, spatial_scale, sampling_ratio):
        y, x = axis_weights(region.y), axis_weights(region.x)
        read = features[region.image][..., y.cells[:, None], x.cells].astype(np.float64)
        out[k] = weighted_sum(y.value, read, x.value, y.weighing, x.weighing) / region.count
    return out.astype(input.dtype)


def ps_roi_align_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of sum(grad_output * ps_roi_align(...)): by the input, and by the rois (K, 5)."""
    rois, size = as_rois(boxes), grad_output.shape[2:]
    features, grad_rois = by_bin(input, size), np.zeros(rois.shape)
    grad_features = np.zeros(features.shape)
    for k, region in sampled(input, rois, size, spatial_scale, sampling_ratio):
        y, x = axis_weights(region.y), axis_weights(region.x)
        grad = grad_output[k].astype(np.float64) / region.count
        grad = np.where(bins_with_cells(y, x), grad, 0)
        weights = y.value[:, None, :, None] * x.value[:, None, :]
        weighing = y.weighing[:, None, :, None] & x.weighing[:, None, :]
        with np.errstate(invalid="ignore"):
            to_cells = np.where(weighing, weights * grad[..., None, None], 0)
        grad_features[region.image][..., y.cells[:, None], x.cells] += to_cells
        read = features[region.image][..., y.cells[:, None], x.cells].astype(np.float64)
        for column, along_y, along_x in (
            (1, y.value, x.by_start),
            (2, y.by_start, x.value),
            (3, y.value, x.by_end),
            (4, y.by_end, x.value),
        ):
            moved = weighted_sum(along_y, read, along_x, y.touched, x.touched)
            grad_rois[k, column] = float(spatial_scale) * np.sum(grad * moved)
    return grad_features.reshape(input.shape).astype(input.dtype), grad_rois.astype(rois.dtype)
