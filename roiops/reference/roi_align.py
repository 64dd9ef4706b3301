"""RoIAlign (He et al., Mask R-CNN, section 3): the value of a region, sampled, never rounded.

An RoI is cut into PH x PW bins, each bin into a grid of samples, each sample is interpolated
bilinearly from four feature cells. `roi_sampling.bin_samples` places and weighs them, along one
axis. For the mean that makes a sparse matrix per axis, the rest is linear algebra per channel:

    out        = Wy F Wx^T / n
    grad_input = Wy^T g Wx / n
    grad_x1    = s / n sum(g (Wy F Sx^T)),  grad_x2 = s / n sum(g (Wy F Ex^T)),  y alike

with Sx and Ex the derivatives of Wx by the start and the end of the RoI.

The maximum visits the samples of a bin one by one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roiops.reference.fpn_levels import fpn_levels
from roiops.reference.precision import compute_dtype
from roiops.reference.roi_sampling import (
    Axis,
    AxisWeights,
    BinSamples,
    axis_weights,
    bin_samples,
    bins_with_cells,
    roi_axis,
    weighted_sum,
)


@dataclass(frozen=True)
class Region:
    """One RoI that can be sampled."""

    image: int
    y: Axis
    x: Axis
    count: float  # n: all samples of a bin, the outside ones too


def regions(
    rois: np.ndarray,
    output_size: tuple[int, int],
    spatial_scales: Sequence[float],
    sizes: Sequence[tuple[int, int]],
    levels: np.ndarray,
    sampling_ratio: int,
    placement: str,
) -> Iterator[tuple[int, Region]]:
    """(row of rois, Region) of every RoI whose geometry is finite; of the others there is none."""
    coordinates = rois.astype(compute_dtype(rois))
    for k, (roi, level) in enumerate(zip(coordinates, levels, strict=True)):
        with np.errstate(all="ignore"):
            y, x = (
                roi_axis(
                    roi[low],
                    roi[high],
                    spatial_scales[level],
                    sampling_ratio,
                    placement,
                    bins,
                    size,
                )
                for low, high, bins, size in zip(
                    (2, 1), (4, 3), output_size, sizes[level], strict=True
                )
            )
        ends = (y.start, y.bin_extent, x.start, x.bin_extent)
        if np.isfinite(roi).all() and np.isfinite(ends).all():
            yield k, Region(int(roi[0]), y, x, max(float(y.grid) * float(x.grid), 1.0))


def bin_maximum(
    features: np.ndarray, y: BinSamples, x: BinSamples
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Greatest sample of a bin per channel, and its position (row sample, column sample).

    features (C, H, W). Samples in row-major order; one wins if it is strictly greater than all
    before it, the first NaN for good. A sample outside is 0 and has position (-1, -1).
    """
    channels = len(features)
    best = np.zeros(channels, features.dtype)
    winner = np.full((2, channels), -1)
    seen = False
    for row in sample_numbers(y):
        for column in sample_numbers(x):
            if row < 0 or column < 0:
                value, at = np.zeros(channels, features.dtype), (-1, -1)
            else:
                value, at = interpolate(features, y, x, row, column), (row, column)
            better = (value > best) | (np.isnan(value) & ~np.isnan(best)) | (not seen)
            best = np.where(better, value, best)
            winner[:, better] = np.array(at)[:, None]
            seen = True
    return best, winner[0], winner[1]


def sample_numbers(samples: BinSamples) -> list[int]:
    """Numbers of the visited samples in order, -1 for an outside one (or a run not visited)."""
    visited = [k if valid else -1 for k, valid in enumerate(samples.valid)]
    return [-1] * int(samples.skipped_before) + visited + [-1] * int(samples.skipped_after)


def interpolate(
    features: np.ndarray, y: BinSamples, x: BinSamples, row: int, column: int
) -> np.ndarray:
    """Bilinear value (C,) at one sample, in the features' accumulation precision."""
    real = features.dtype.type
    low_y, high_y = real(y.weight_low[row]), real(y.weight_high[row])
    low_x, high_x = real(x.weight_low[column]), real(x.weight_high[column])
    top, bottom = features[:, y.low[row]], features[:, y.high[row]]
    left, right = x.low[column], x.high[column]
    return (
        low_y * low_x * top[:, left]
        + low_y * high_x * top[:, right]
        + high_y * low_x * bottom[:, left]
        + high_y * high_x * bottom[:, right]
    )


def as_rois(boxes: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """rois (K, 5) from themselves or from a list of boxes (L_i, 4), one array per image."""
    if isinstance(boxes, np.ndarray):
        return boxes
    rows = [
        np.concatenate([np.full((len(image), 1), index, image.dtype), image], axis=1)
        for index, image in enumerate(boxes)
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)


def multiscale_roi_align(
    inputs: Sequence[np.ndarray],
    boxes: np.ndarray | Sequence[np.ndarray],
    output_size: int | tuple[int, int],
    spatial_scales: Sequence[float],
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    levels: np.ndarray | None = None,
    canonical_scale: float = 224,
    canonical_level: int = 4,
    reduction: str = "mean",
) -> np.ndarray:
    """RoIAlign of each RoI on the pyramid level it belongs to: (K, C, PH, PW), in RoI order.

    levels (K,) index `inputs`; None assigns them by `fpn_levels` (FPN, section 4.2).
    """
    rois = as_rois(boxes)
    size = as_pair(output_size)
    levels = assigned_levels(rois, spatial_scales, levels, canonical_scale, canonical_level)
    placement = "aligned" if aligned else "align"
    return pooled(inputs, rois, size, spatial_scales, sampling_ratio, placement, levels, reduction)


def pooled(
    inputs: Sequence[np.ndarray],
    rois: np.ndarray,
    size: tuple[int, int],
    spatial_scales: Sequence[float],
    sampling_ratio: int,
    placement: str,
    levels: np.ndarray,
    reduction: str,
) -> np.ndarray:
    """The bins of all RoIs whose samples are placed by `roi_sampling.roi_axis`."""
    accumulation = compute_dtype(*inputs)
    features = [array.astype(accumulation) for array in inputs]
    out = np.zeros((len(rois), inputs[0].shape[1], *size), accumulation)
    maps = [array.shape[2:] for array in inputs]
    for k, region in regions(rois, size, spatial_scales, maps, levels, sampling_ratio, placement):
        image = features[levels[k]][region.image]
        if reduction == "mean":
            y, x = axis_weights(region.y), axis_weights(region.x)
            cells = patch(image, y, x)[:, None, None]
            out[k] = weighted_sum(y.value, cells, x.value, y.weighing, x.weighing) / region.count
        else:
            for ph in range(size[0]):
                for pw in range(size[1]):
                    rows, cols = bin_samples(region.y, ph), bin_samples(region.x, pw)
                    out[k, :, ph, pw] = bin_maximum(image, rows, cols)[0]
    return out.astype(inputs[0].dtype)


def multiscale_roi_align_backward(
    grad_output: np.ndarray,
    inputs: Sequence[np.ndarray],
    boxes: np.ndarray | Sequence[np.ndarray],
    spatial_scales: Sequence[float],
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    levels: np.ndarray | None = None,
    canonical_scale: float = 224,
    canonical_level: int = 4,
    reduction: str = "mean",
) -> tuple[list[np.ndarray], np.ndarray]:
    """Gradients of sum(grad_output * multiscale_roi_align(...)).

    By each of the inputs, and by the rois (K, 5), column 0 zero. The number of samples counts as
    constant, and so does the maximum's choice: a maximum has the gradient of its winner alone.
    """
    rois = as_rois(boxes)
    levels = assigned_levels(rois, spatial_scales, levels, canonical_scale, canonical_level)
    placement = "aligned" if aligned else "align"
    return pooled_backward(
        grad_output, inputs, rois, spatial_scales, sampling_ratio, placement, levels, reduction
    )


def pooled_backward(
    grad_output: np.ndarray,
    inputs: Sequence[np.ndarray],
    rois: np.ndarray,
    spatial_scales: Sequence[float],
    sampling_ratio: int,
    placement: str,
    levels: np.ndarray,
    reduction: str,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Gradients of sum(grad_output * pooled(...)) by the inputs and by the rois."""
    size = grad_output.shape[2:]
    accumulation = compute_dtype(*inputs)
    features = [array.astype(accumulation) for array in inputs]
    grad_inputs = [np.zeros(array.shape) for array in inputs]
    grad_rois = np.zeros(rois.shape)
    maps = [array.shape[2:] for array in inputs]
    for k, region in regions(rois, size, spatial_scales, maps, levels, sampling_ratio, placement):
        image = features[levels[k]][region.image]
        to_image = grad_inputs[levels[k]][region.image]
        grad = grad_output[k].astype(np.float64)
        backward = mean_backward if reduction == "mean" else maximum_backward
        by_ends = backward(grad, image, region, to_image)
        grad_rois[k, 1:] = by_ends * float(spatial_scales[levels[k]])
    return (
        [grad.astype(array.dtype) for grad, array in zip(grad_inputs, inputs, strict=True)],
        grad_rois.astype(rois.dtype),
    )


def patch(image: np.ndarray, y: AxisWeights, x: AxisWeights) -> np.ndarray:
    """The cells of an image (C, H, W) that an RoI reads, in float64."""
    return image[:, y.cells[:, None], x.cells].astype(np.float64)


def mean_backward(
    grad: np.ndarray, image: np.ndarray, region: Region, to_image: np.ndarray
) -> np.ndarray:
    """Adds to the gradient of the image (C, H, W); returns that of x1', y1', x2', y2'."""
    y, x = axis_weights(region.y), axis_weights(region.x)
    grad = np.where(bins_with_cells(y, x), grad / region.count, 0)
    to_image[:, y.cells[:, None], x.cells] += weighted_sum(
        y.value.T, grad[:, None, None], x.value.T, y.weighing.T, x.weighing.T
    )
    cells = patch(image, y, x)[:, None, None]
    return np.array(
        [
            np.sum(grad * weighted_sum(along_y, cells, along_x, y.touched, x.touched))
            for along_y, along_x in (
                (y.value, x.by_start),
                (y.by_start, x.value),
                (y.value, x.by_end),
                (y.by_end, x.value),
            )
        ]
    )


def maximum_backward(
    grad: np.ndarray, image: np.ndarray, region: Region, to_image: np.ndarray
) -> np.ndarray:
    """As mean_backward, through the winning sample of each bin and channel."""
    by_ends = np.zeros(4)
    for ph in range(region.y.bins):
        for pw in range(region.x.bins):
            y, x = bin_samples(region.y, ph), bin_samples(region.x, pw)
            _, rows, columns = bin_maximum(image, y, x)
            for c in np.flatnonzero(rows >= 0):
                row, column = rows[c], columns[c]
                corners = np.ix_((y.low[row], y.high[row]), (x.low[column], x.high[column]))
                wy = np.array([y.weight_low[row], y.weight_high[row]], np.float64)
                wx = np.array([x.weight_low[column], x.weight_high[column]], np.float64)
                weights = np.outer(wy, wx)
                # A cell without weight gets nothing, not the NaN of an infinite gradient times 0.
                parts = np.zeros((2, 2))
                np.multiply(grad[c, ph, pw], weights, out=parts, where=weights != 0)
                # add.at: the two taps are one cell where the sample was clamped
                np.add.at(to_image[c], corners, parts)
                taps = image[c][corners].astype(np.float64)
                # Products, not branches: a NaN that won is the gradient's too.
                slope_y = y.slope[row] * ((taps[1] - taps[0]) @ wx)
                slope_x = x.slope[column] * (wy @ (taps[:, 1] - taps[:, 0]))
                t_y = 0.0 if region.y.clamped else float(y.relative[row])
                t_x = 0.0 if region.x.clamped else float(x.relative[column])
                by_ends += grad[c, ph, pw] * np.array(
                    [slope_x * (1 - t_x), slope_y * (1 - t_y), slope_x * t_x, slope_y * t_y]
                )
    return by_ends


def roi_align(
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    reduction: str = "mean",
) -> np.ndarray:
    """input (N, C, H, W), boxes (K, 5) or a list of (L_i, 4) → (K, C, PH, PW).

    One level of `multiscale_roi_align`. As torchvision (its CPU and CUDA kernels; its
    deterministic path clamps the samples outside the map instead of zeroing them).
    """
    rois = as_rois(boxes)
    one_level = np.zeros(len(rois), np.int64)
    return multiscale_roi_align(
        [input],
        rois,
        output_size,
        [spatial_scale],
        sampling_ratio,
        aligned,
        levels=one_level,
        reduction=reduction,
    )


def roi_align_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    boxes: np.ndarray | Sequence[np.ndarray],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    reduction: str = "mean",
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of sum(grad_output * roi_align(...)): by the input, and by the rois (K, 5)."""
    rois = as_rois(boxes)
    grad_inputs, grad_rois = multiscale_roi_align_backward(
        grad_output,
        [input],
        rois,
        [spatial_scale],
        sampling_ratio,
        aligned,
        levels=np.zeros(len(rois), np.int64),
        reduction=reduction,
    )
    return grad_inputs[0], grad_rois


def as_pair(output_size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (output_size,) * 2 if isinstance(output_size, int) else output_size
    return height, width


def assigned_levels(
    rois: np.ndarray,
    spatial_scales: Sequence[float],
    levels: np.ndarray | None,
    canonical_scale: float,
    canonical_level: int,
) -> np.ndarray:
    """Index into the inputs of each roi; the level of a map is -log2 of its scale."""
    if levels is not None:
        return levels
    finest, coarsest = (
        -round(math.log2(scale)) for scale in (spatial_scales[0], spatial_scales[-1])
    )
    return (
        fpn_levels(
            rois,
            finest,
            coarsest,
            canonical_scale=canonical_scale,
            canonical_level=canonical_level,
        )
        - finest
    )
