"""Where the samples of an RoI lie, and what they read: the one rule of RoIAlign, RoIWarp and their
gradients.

Rows and columns do not know of each other, so the rule is for one axis.
"""

from dataclasses import dataclass

import numpy as np

from roiops.reference.rounding import round_half_away

MAX_SAMPLING_RATIO = 4096


@dataclass(frozen=True)
class Axis:
    """One axis of one RoI on a map of `size` cells, in the boxes' precision."""

    start: np.floating  # scaled and shifted end x1'
    bin_extent: np.floating  # w / PW
    bins: int  # PW
    grid: np.floating  # samples of a bin, a whole number (a float: it may be enormous)
    clamped: bool  # the extent was raised to the least, and does not move with the ends
    size: int  # W
    inset: np.floating  # where in its part of the bin a sample lies: 1/2, or 0 at the corner
    lowest: np.floating  # a sample in [lowest, highest] is read, others are 0
    highest: np.floating


@dataclass(frozen=True)
class BinSamples:
    """The samples of one bin along one axis that can touch the map, in order."""

    valid: np.ndarray  # inside [lowest, highest]; the others are 0 and still count
    low: np.ndarray  # lower tap
    high: np.ndarray  # upper tap
    weight_low: np.ndarray
    weight_high: np.ndarray
    slope: np.ndarray  # the position moves the value: not where it is clamped to the border
    relative: np.ndarray  # t, the position in the RoI, 0 at its start and 1 at its end
    skipped_before: bool  # samples not visited, all outside
    skipped_after: bool


def roi_axis(
    low_end: np.floating,
    high_end: np.floating,
    spatial_scale: float,
    sampling_ratio: int,
    placement: str,
    bins: int,
    size: int,
) -> Axis:
    """The ends of the RoI in feature cells and its sample count.

    placement "align", "aligned": RoIAlign as torchvision computes it, without and with the shift by
    half a cell. "warp": RoIWarp as the Mask R-CNN paper tells it, both ends rounded as in RoIPool,
    then as "align". "warp_mnc": as the MNC layer: rounded ends, nothing widened, one sample at the
    low corner of each bin, read up to half a cell outside the map.
    """
    real = type(low_end)
    offset = real(0.5 if placement == "aligned" else 0.0)
    start = low_end * real(spatial_scale) - offset
    end = high_end * real(spatial_scale) - offset
    if placement in ("warp", "warp_mnc"):
        start, end = round_half_away(start), round_half_away(end)
    mnc = placement == "warp_mnc"
    least = real(0 if mnc else 1)
    extent = end - start
    clamped = placement != "aligned" and bool(extent < least)
    if clamped:
        extent = least
    bin_extent = extent / real(bins)
    grid = real(sampling_ratio) if sampling_ratio > 0 else real(np.ceil(bin_extent))
    if mnc:
        return Axis(
            start, bin_extent, bins, real(1), clamped, size, real(0), real(-0.5), real(size - 0.5)
        )
    return Axis(start, bin_extent, bins, grid, clamped, size, real(0.5), real(-1), real(size))


def bin_samples(axis: Axis, bin_index: int) -> BinSamples:
    """THE sampling rule: position, validity, taps and weights of the samples of one bin.

    position = start + bin_index * bin_extent + (i + inset) * bin_extent / grid. Outside
    [lowest, highest] it is 0; else it is clamped to [0, size - 1] and lies between two taps.
    """
    real = type(axis.start)
    bin_start = axis.start + real(bin_index) * axis.bin_extent
    first, count = visited_range(axis, bin_index)
    i = first + np.arange(count, dtype=np.float64)
    offset = i.astype(real) + axis.inset
    with np.errstate(over="ignore"):  # an infinite position is an outside one
        position = bin_start + offset * axis.bin_extent / axis.grid
    valid = (position >= axis.lowest) & (position <= axis.highest)
    inside = np.clip(position, real(0), real(axis.size - 1))
    low = np.floor(inside).astype(np.int64)
    high = np.minimum(low + 1, axis.size - 1)
    weight_high = inside - low.astype(real)
    return BinSamples(
        valid=valid,
        low=low,
        high=high,
        weight_low=real(1) - weight_high,
        weight_high=weight_high,
        slope=valid & (position > 0) & (position < axis.size - 1),
        relative=(real(bin_index) + offset / axis.grid) / real(axis.bins),
        skipped_before=bool(first > 0),
        skipped_after=bool(first + count < axis.grid),
    )


def visited_range(axis: Axis, bin_index: int) -> tuple[float, int]:
    """First sample and number of samples that can touch the map.

    An enormous box thus costs no more than the map. Solved for the sample number in float64, one
    sample wider on each side than exact arithmetic needs; `bin_samples` then tests each of them.
    """
    grid = float(axis.grid)
    if not grid > 0:
        return 0.0, 0
    first, last = 0.0, grid - 1
    step = float(axis.bin_extent) / grid
    if step > 0:  # else a flipped or empty RoI, whose grid was chosen and is not enormous
        bin_start = np.float64(axis.start) + bin_index * np.float64(axis.bin_extent)
        with np.errstate(over="ignore"):
            first = max(first, np.floor((-1 - bin_start) / step - 0.5) - 1)
            last = min(last, np.ceil((axis.size - bin_start) / step - 0.5) + 1)
    if not last >= first:
        return first, 0
    # A chosen grid has at most MAX_SAMPLING_RATIO samples. The steps of an adaptive one are
    # between 1/2 and 1: more than this many cannot touch the map.
    return first, int(min(last - first + 1, max(2 * axis.size + 8, MAX_SAMPLING_RATIO)))


@dataclass(frozen=True)
class AxisWeights:
    """The samples of all bins of one axis, summed: matrices (bins, cells), float64."""

    cells: np.ndarray  # the cells that are read, of all cells of the map along this axis
    value: np.ndarray  # bilinear weights
    by_start: np.ndarray  # their derivative when the RoI's start moves by one cell
    by_end: np.ndarray  # and when its end does

    @property
    def weighing(self) -> np.ndarray:
        """The cells that a mean reads: some sample of the bin gives them a weight."""
        return self.value != 0

    @property
    def touched(self) -> np.ndarray:
        """Those that the RoI's gradient reads: a sample on a cell will weigh the next, if moved."""
        return self.weighing | (self.by_start != 0) | (self.by_end != 0)


def axis_weights(axis: Axis) -> AxisWeights:
    """Add up the samples' weights, and their derivatives by the ends of the RoI.

    A sample lies at start + t * extent = (1 - t) start + t end, so it moves by 1 - t and t; where
    the extent was clamped, by 1 and 0.
    """
    value, by_start, by_end = np.zeros((3, axis.bins, axis.size))
    for bin_index in range(axis.bins):
        samples = bin_samples(axis, bin_index)
        for k in np.flatnonzero(samples.valid):
            low, high = samples.low[k], samples.high[k]
            value[bin_index, low] += samples.weight_low[k]
            value[bin_index, high] += samples.weight_high[k]
            if samples.slope[k]:
                share = 0.0 if axis.clamped else float(samples.relative[k])
                for tap, derivative in ((low, -1.0), (high, 1.0)):
                    by_start[bin_index, tap] += derivative * (1 - share)
                    by_end[bin_index, tap] += derivative * share
    every = AxisWeights(np.arange(axis.size), value, by_start, by_end)
    cells = np.flatnonzero(every.touched.any(axis=0))
    return AxisWeights(cells, value[:, cells], by_start[:, cells], by_end[:, cells])


def bins_with_cells(y: AxisWeights, x: AxisWeights) -> np.ndarray:
    """(P, Q): those that read the map. Of the others the output's gradient is not read either."""
    return np.outer(y.touched.any(axis=1), x.touched.any(axis=1))


def weighted_sum(
    along_y: np.ndarray,
    cells: np.ndarray,
    along_x: np.ndarray,
    read_y: np.ndarray,
    read_x: np.ndarray,
) -> np.ndarray:
    """Weights (P, R) and (Q, S) of each bin's cells (..., P, Q, R, S): the bins (..., P, Q).

    Cells (..., 1, 1, R, S) are the same for all bins. Those are read that are in read_y and in
    read_x, which are shaped as the weights: a NaN or infinity in others does not reach the bin.
    """
    rows = read_sum(along_x[:, None], cells, read_x[:, None])  # (..., P, Q, R)
    return read_sum(along_y[:, None], rows, read_y[:, None])


def read_sum(weights: np.ndarray, values: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Sum of weights * values along the last axis, over what is read."""
    with np.errstate(invalid="ignore"):
        return np.where(read, weights * values, 0).sum(axis=-1)
