"""The gradients of boxes, of roi_align and multiscale_roi_align: the slopes of the definition.

RoIAlign stands here once more, sample by sample, and is differenced in float64. With one end of a
box, every sample moves along a line, so that away from the kinks a central difference is exact but
for rounding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from backends import Backend
from hypothesis import given
from hypothesis import strategies as st
from strategies import generators

STEP = 1e-5  # of a box's end, in image pixels
KINK = 1e-3  # distance that samples, in cells, and maxima keep from what is not differentiable

# --- the definition -------------------------------------------------------------------------------


@dataclass
class Sampling:
    bins: tuple[int, int]
    ratio: int
    aligned: bool
    reduction: str


def extent(low: float, high: float, scale: float, aligned: bool) -> float:
    """Length of a box's side in cells."""
    length = high * scale - low * scale
    return length if aligned else max(length, 1.0)


def grid_of(length: float, bins: int, ratio: int) -> int:
    """Samples per bin along one axis."""
    return ratio if ratio > 0 else max(math.ceil(length / bins), 0)


def positions(low: float, high: float, scale: float, bins: int, grid: int, aligned: bool):
    """(bins, grid): where the samples lie along one axis, in cells."""
    start = low * scale - (0.5 if aligned else 0.0)
    bin = extent(low, high, scale, aligned) / bins
    p, i = np.mgrid[:bins, :grid]
    return start + p * bin + (i + 0.5) * bin / grid


def taps(at: float, size: int) -> tuple[int, int, float] | None:
    """Lower cell, upper cell and weight of the upper one; None beyond the map."""
    if at < -1 or at > size:
        return None
    at = max(at, 0.0)
    low = math.floor(at)
    return (size - 1, size - 1, 0.0) if low >= size - 1 else (low, low + 1, at - low)


def values(features: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """(samples, C) of one bin, row by row."""
    out = np.zeros((len(ys), len(xs), len(features)))
    for i, y in enumerate(ys):
        for j, x in enumerate(xs):
            along_y, along_x = taps(y, features.shape[1]), taps(x, features.shape[2])
            if along_y and along_x:
                (top, bottom, ly), (left, right, lx) = along_y, along_x
                out[i, j] = (1 - ly) * (
                    (1 - lx) * features[:, top, left] + lx * features[:, top, right]
                ) + ly * ((1 - lx) * features[:, bottom, left] + lx * features[:, bottom, right])
    return out.reshape(-1, len(features))


def sample_places(
    roi: np.ndarray, scale: float, how: Sampling, grids: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    return tuple(
        positions(roi[low], roi[high], scale, bins, grid, how.aligned)
        for low, high, bins, grid in zip((2, 1), (4, 3), how.bins, grids, strict=True)
    )


def grids(roi: np.ndarray, scale: float, how: Sampling) -> tuple[int, int]:
    return tuple(
        grid_of(extent(roi[low], roi[high], scale, how.aligned), bins, how.ratio)
        for low, high, bins in zip((2, 1), (4, 3), how.bins, strict=True)
    )


def pooled(
    features: np.ndarray, roi: np.ndarray, scale: float, how: Sampling, grid: tuple[int, int]
) -> np.ndarray:
    """(C, PH, PW) of one box, with the numbers of samples of the box that is differentiated."""
    y, x = sample_places(roi, scale, how, grid)
    out = np.zeros((features.shape[1], *how.bins))
    for ph, pw in np.ndindex(*how.bins):
        samples = values(features[int(roi[0])], y[ph], x[pw])
        if len(samples):
            out[:, ph, pw] = samples.mean(0) if how.reduction == "mean" else samples.max(0)
    return out


def is_smooth(features: np.ndarray, roi: np.ndarray, scale: float, how: Sampling) -> bool:
    """Nothing here changes its rule, or its winner, within KINK."""
    for low, high, bins in ((2, 4, how.bins[0]), (1, 3, how.bins[1])):
        length = (roi[high] - roi[low]) * scale
        if not how.aligned and abs(length - 1) < KINK:
            return False
        if how.ratio <= 0 and abs(length / bins - round(length / bins)) < KINK:
            return False
    y, x = sample_places(roi, scale, how, grids(roi, scale, how))
    for at in (y, x):  # whole numbers: taps change; 0, -1 and the size are among them
        if (np.abs(at - np.round(at)) < KINK).any():
            return False
    for ph, pw in np.ndindex(*how.bins if how.reduction == "max" else (0, 0)):
        inside = values(
            features[int(roi[0])],
            np.array([at for at in y[ph] if taps(at, features.shape[2])]),
            np.array([at for at in x[pw] if taps(at, features.shape[3])]),
        )
        # all samples outside are one: they are 0 whatever moves
        outside = np.zeros((int(len(inside) < y.shape[1] * x.shape[1]), inside.shape[1]))
        samples = np.concatenate([inside, outside])
        best = np.sort(samples, axis=0)[-2:]
        if len(best) == 2 and (best[1] - best[0] < KINK).any():
            return False
    return True


def slopes(features: np.ndarray, roi, scale: float, how: Sampling, grad: np.ndarray) -> np.ndarray:
    """d sum(grad * pooled) / d (x1, y1, x2, y2), by central differences."""
    grid = grids(roi, scale, how)
    result = np.zeros(4)
    for side in range(4):
        move = np.zeros(5)
        move[1 + side] = STEP
        up, down = (pooled(features, roi + s * move, scale, how, grid) for s in (1, -1))
        result[side] = np.sum(grad * (up - down)) / (2 * STEP)
    return result


# --- random boxes ---------------------------------------------------------------------------------


@st.composite
def samplings(draw: st.DrawFn, reduction: str) -> Sampling:
    bins = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Sampling(bins, draw(st.sampled_from([-1, 1, 2, 3])), draw(st.booleans()), reduction)


def random_box(rng: np.random.Generator, size: Sequence[float]) -> np.ndarray:
    """x1, y1, x2, y2 on a picture (height, width): inside, overhanging, tiny or reversed."""
    width_height = np.array(size)[::-1]
    low = rng.uniform(-0.4, 1, 2) * width_height
    high = low + np.exp(rng.uniform(-3, 0.4, 2)) * width_height
    low, high = np.where(rng.random(2) < 0.1, (high, low), (low, high))
    return np.concatenate([low, high])


def smooth_roi(rng: np.random.Generator, features: np.ndarray, scale: float, how: Sampling):
    """A box that some sample of finds the map, away from kinks."""
    size = np.array(features.shape[2:]) / scale
    for _ in range(200):
        image = rng.integers(0, len(features))
        roi = np.array([image, *random_box(rng, size)])
        if (
            is_smooth(features, roi, scale, how)
            and pooled(features, roi, scale, how, grids(roi, scale, how)).any()
        ):
            return roi
    raise AssertionError("no box is away from the kinks")


def assert_slopes(got: np.ndarray, expected: np.ndarray, grad: np.ndarray, scale: float) -> None:
    assert got[0] == 0
    error = np.abs(got[1:] - expected).max()
    assert error < 1e-8 * (1 + np.abs(grad).sum()) * max(scale, 1), (got[1:], expected)


reductions = pytest.mark.parametrize("reduction", ["mean", "max"])


@reductions
@given(data=st.data(), rng=generators, scale=st.sampled_from([1.0, 0.25, 2.0]))
def test_roi_align(backend: Backend, reduction, data, rng, scale) -> None:
    how = data.draw(samplings(reduction))
    # on a map of a cell or two, samples held at its borders are maxima that tie
    sides = st.sampled_from([1, 2, 3, 5, 9] if reduction == "mean" else [5, 7, 9])
    features = rng.standard_normal((2, 2, data.draw(sides), data.draw(sides)))
    rois = np.stack([smooth_roi(rng, features, scale, how) for _ in range(2)])
    grad = rng.standard_normal((2, 2, *how.bins))
    _, grad_rois = backend(
        "roi_align_backward", grad, features, rois, scale, how.ratio, how.aligned,
        reduction=reduction,
    )  # fmt: skip
    for roi, g, got in zip(rois, grad, grad_rois, strict=True):
        assert_slopes(got, slopes(features, roi, scale, how, g), g, scale)


@reductions
@given(data=st.data(), rng=generators, assigned=st.booleans())
def test_multiscale_roi_align(backend: Backend, reduction, data, rng, assigned) -> None:
    how = data.draw(samplings(reduction))
    scales = [0.5, 0.25, 0.125]
    maps = [rng.standard_normal((2, 2, side, side + 1)) for side in (16, 8, 4)]
    rois, levels = [], []
    while len(rois) < 3:
        level = int(rng.integers(3))
        roi = smooth_roi(rng, maps[level], scales[level], how)
        if assigned:  # FPN, equation 1, from P1 to P3: a box of 16 pixels belongs to P2
            area = (roi[3] - roi[1]) * (roi[4] - roi[2])
            exact = 2 + math.log2(math.sqrt(area) / 16) if area > 0 else 1.0
            level = min(max(math.floor(exact), 1), 3) - 1
            if abs(exact - round(exact)) < KINK and area > 0:
                continue
            if not is_smooth(maps[level], roi, scales[level], how):
                continue
        rois.append(roi)
        levels.append(level)
    grad = rng.standard_normal((3, 2, *how.bins))
    options = {"canonical_scale": 16, "canonical_level": 2}
    if not assigned:
        options = {"levels": np.array(levels)}
    _, grad_rois = backend(
        "multiscale_roi_align_backward", grad, maps, np.stack(rois), scales, how.ratio,
        how.aligned, reduction=reduction, **options,
    )  # fmt: skip
    for roi, level, g, got in zip(rois, levels, grad, grad_rois, strict=True):
        assert_slopes(got, slopes(maps[level], roi, scales[level], how, g), g, scales[level])


# --- by hand, and exactly 0 -----------------------------------------------------------------------


def box_gradient(backend: Backend, features, box, reduction: str, ratio=1, aligned=True, **options):
    """d output.sum() / d box of one box in map (H, W), through both functions."""
    rois = np.array([[0.0, *box]])
    bins, scale = options.get("bins", (1, 1)), options.get("scale", 1.0)
    grad = options.get("grad", np.ones((1, 1, *bins)))
    features = np.asarray(features, np.float64)[None, None]
    how = (ratio, aligned)
    _, one = backend("roi_align_backward", grad, features, rois, scale, *how, reduction=reduction)
    _, many = backend(
        "multiscale_roi_align_backward", grad, [features, features], rois, [1e3, scale], *how,
        reduction=reduction, levels=np.array([1]),
    )  # fmt: skip
    np.testing.assert_array_equal(one, many)
    assert one.shape == (1, 5)
    assert one[0, 0] == 0
    return one[0, 1:]


def assert_array_is_zero(array: np.ndarray) -> None:
    np.testing.assert_array_equal(array, np.zeros_like(array))


def ramp(height: int = 6, width: int = 8) -> np.ndarray:
    """3 x + 10 y."""
    y, x = np.mgrid[:height, :width]
    return 3.0 * x + 10.0 * y


@reductions
def test_a_sample_moves_with_its_share_of_each_end(backend: Backend, reduction) -> None:
    # Of two bins of one sample, the first lies at 1/4 of the width, the second at 3/4.
    for bin, share in ((0, 0.25), (1, 0.75)):
        grad = np.zeros((1, 1, 1, 2))
        grad[..., bin] = 1
        got = box_gradient(backend, ramp(), (1.1, 1.2, 5.3, 4.4), reduction, bins=(1, 2), grad=grad)
        np.testing.assert_allclose(got, [3 * (1 - share), 5, 3 * share, 5], rtol=1e-12)
        halved = box_gradient(
            backend, ramp(), (2.2, 2.4, 10.6, 8.8), reduction, bins=(1, 2), grad=grad, scale=0.5
        )
        np.testing.assert_allclose(halved, got / 2, rtol=1e-12)


def test_mean_and_maximum_of_two_samples(backend: Backend) -> None:
    box = (1.1, 1.2, 5.3, 4.4)
    mean = box_gradient(backend, ramp(), box, "mean", ratio=2)
    np.testing.assert_allclose(mean, [1.5, 5, 1.5, 5], rtol=1e-12)
    # the greatest of four samples lies at 3/4 of both sides
    maximum = box_gradient(backend, ramp(), box, "max", ratio=2)
    np.testing.assert_allclose(maximum, [0.75, 2.5, 2.25, 7.5], rtol=1e-12)


@reductions
def test_the_far_end_of_a_widened_box_has_no_influence(backend: Backend, reduction) -> None:
    for box, zero in (
        ((2.1, 1.2, 2.6, 4.4), [2]),
        ((2.1, 1.2, 4.6, 1.3), [3]),
        ((2.1, 1.2, 2.2, 1.2), [2, 3]),
        ((3.1, 3.2, 2.2, 1.2), [2, 3]),  # reversed
    ):
        got = box_gradient(backend, ramp(), box, reduction, ratio=1, aligned=False)
        expected = np.array([1.5, 5, 1.5, 5])
        for side in zero:  # the near end moves the sample alone
            expected[side], expected[side - 2] = 0, 2 * expected[side - 2]
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        assert not got[zero].any()


@reductions
@pytest.mark.parametrize("ratio", [-1, 1, 3])
@pytest.mark.parametrize("aligned", [False, True])
def test_samples_outside_have_no_slope(backend: Backend, reduction, ratio, aligned) -> None:
    for box in (
        (-9, 1.2, -3, 4.3),
        (10.5, 1.2, 14, 4.3),
        (1.2, -9, 4.3, -3),
        (1.2, 8.5, 4.3, 12),
        (-9, -9, -3, -3),
        (-1e30, 1, -1e29, 3),
    ):
        got = box_gradient(backend, ramp() + 1, box, reduction, ratio, aligned)
        assert_array_is_zero(got)


@reductions
@pytest.mark.parametrize(
    ("x", "slope"),
    [
        (-1.0, 0),  # still inside, held at the border
        (-0.5, 0),
        (0.0, 0),
        (0.25, 3),
        (1.0, 3),
        (6.75, 3),
        (7.0, 0),  # the last cell
        (7.5, 0),
        (8.0, 0),
        (8.25, 0),
    ],
)
def test_held_at_the_border_along_one_axis(backend: Backend, reduction, x, slope) -> None:
    inside = x <= 8
    # one sample, half a cell before the middle of the box
    got = box_gradient(backend, ramp(), (x - 1, 2.25, x + 2, 3.25), reduction)
    np.testing.assert_allclose(got, [slope / 2, 5 * inside, slope / 2, 5 * inside], rtol=1e-12)
    assert slope or not got[[0, 2]].any()
    turned = box_gradient(backend, ramp().T, (2.25, x - 1, 3.25, x + 2), reduction)
    np.testing.assert_array_equal(turned, got[[1, 0, 3, 2]])


@reductions
def test_on_a_cell_the_slope_is_the_one_to_its_right(backend: Backend, reduction) -> None:
    row = np.array([[0.0, 1, 5, 12]]).repeat(3, axis=0)
    got = box_gradient(backend, row, (0.5, 0.75, 2.5, 2.25), reduction)  # the sample lies at 1
    np.testing.assert_array_equal(got, [2, 0, 2, 0])


@reductions
def test_a_map_of_one_column_or_row_has_no_slope_along_it(backend: Backend, reduction) -> None:
    box = (-0.3, 0.6, 1.1, 4.4)
    got = box_gradient(backend, ramp(6, 1), box, reduction, ratio=2)
    assert_array_is_zero(got[[0, 2]])
    assert got[[1, 3]].all()
    turned = box_gradient(backend, ramp(6, 1).T, (0.6, -0.3, 4.4, 1.1), reduction, ratio=2)
    np.testing.assert_array_equal(turned, got[[1, 0, 3, 2]])


@reductions
def test_boxes_without_samples_have_no_slope(backend: Backend, reduction) -> None:
    # aligned and adaptive: no side, or a negative one, has no sample
    for box in ((2, 2, 2, 4), (2, 2, 4, 2), (4, 2, 2, 4), (2, 4, 4, 2)):
        assert_array_is_zero(box_gradient(backend, ramp(), box, reduction, ratio=-1))
    for value in (np.nan, np.inf, -np.inf):
        for side in range(4):
            box = np.array([1.1, 1.2, 4.3, 4.4])
            box[side] = value
            for aligned in (False, True):
                assert_array_is_zero(box_gradient(backend, ramp(), box, reduction, 2, aligned))
