"""roi_align and its gradients: against the reference, and the reference against the definition."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from backends import Backend
from comparison import assert_same_bits, assert_sums_agree
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    CHANNELS,
    EVERY_KIND,
    LAYOUTS,
    ORDINARY,
    SAMPLING_RATIOS,
    box_arrays,
    float_dtypes,
    generators,
    layouts,
    several_times,
    to_rois,
)

from roiops import reference

# Samples and cells that are added up for one output value, generously: sampling grids and maps of
# the tests are small.
TERMS = 64


@dataclass
class Case:
    """One call of roi_align."""

    input: np.ndarray
    rois: np.ndarray
    output_size: tuple[int, int]
    spatial_scale: float
    sampling_ratio: int
    aligned: bool
    reduction: str
    rng: np.random.Generator

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (
            self.input,
            self.rois,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
        )

    @property
    def backward_arguments(self) -> tuple[Any, ...]:
        return (self.input, self.rois, self.spatial_scale, self.sampling_ratio, self.aligned)

    def grad_output(self) -> np.ndarray:
        shape = (len(self.rois), self.input.shape[1], *self.output_size)
        return self.rng.standard_normal(shape).astype(self.input.dtype)


@st.composite
def cases(
    draw: st.DrawFn,
    kinds: tuple[str, ...] = EVERY_KIND,
    reductions: tuple[str, ...] = ("mean", "max"),
    dtypes: st.SearchStrategy[type] = float_dtypes,
    min_boxes: int = 1,
    max_boxes: int = 5,
    scales: tuple[float, ...] = (1.0, 0.25, 0.7, 2.0),
) -> Case:
    rng = draw(generators)
    images = draw(st.integers(1, 3))
    shape = (
        images,
        draw(st.sampled_from(CHANNELS)),
        draw(st.integers(1, 12)),
        draw(st.integers(1, 12)),
    )
    scale = draw(st.sampled_from(scales))
    boxes = draw(box_arrays(kinds, min_boxes, max_boxes, extent=max(shape[2:]) / scale))
    return Case(
        input=rng.standard_normal(shape).astype(draw(dtypes)),
        rois=to_rois(boxes, images, rng).astype(draw(dtypes)),
        output_size=(draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        spatial_scale=scale,
        sampling_ratio=draw(st.sampled_from(SAMPLING_RATIOS)),
        aligned=draw(st.booleans()),
        reduction=draw(st.sampled_from(reductions)),
        rng=rng,
    )


# --- every backend against the reference ----------------------------------------------------------


@several_times
@given(case=cases(), layout=layouts, box_layout=layouts)
def test_forward_is_the_references(compiled: Backend, case, layout, box_layout) -> None:
    expected = reference.roi_align(*case.arguments, reduction=case.reduction)
    magnitude = reference.roi_align(np.abs(case.input), *case.arguments[1:])
    if case.reduction == "max":
        magnitude = np.abs(case.input).max(initial=0)
    case.input, case.rois = layout(case.input), box_layout(case.rois)
    got = compiled("roi_align", *case.arguments, reduction=case.reduction)
    assert_sums_agree(got, expected, magnitude, TERMS)


@several_times
@given(case=cases(), layout=layouts, grad_layout=layouts)
def test_backward_is_the_references(compiled: Backend, case, layout, grad_layout) -> None:
    grad = case.grad_output()
    expected, expected_rois = reference.roi_align_backward(
        grad, *case.backward_arguments, reduction=case.reduction
    )
    magnitude, _ = reference.roi_align_backward(
        np.abs(grad), *case.backward_arguments, reduction=case.reduction
    )
    steepest = 2 * np.abs(case.input).max(initial=0) * case.spatial_scale
    rois_magnitude = steepest * np.abs(grad).sum(axis=(1, 2, 3))[:, None]
    case.input = layout(case.input)
    got, got_rois = compiled(
        "roi_align_backward",
        grad_layout(grad),
        *case.backward_arguments,
        reduction=case.reduction,
    )
    assert_sums_agree(got, expected, magnitude, TERMS)
    # sums are in the features' precision, the result is in the boxes'
    coarser = max(np.finfo(case.input.dtype).eps, np.finfo(case.rois.dtype).eps)
    coarser /= np.finfo(case.rois.dtype).eps
    assert_sums_agree(got_rois, expected_rois, rois_magnitude * coarser, TERMS)
    assert not got_rois[:, 0].any()


@given(case=cases(kinds=ORDINARY))
def test_maps_of_ties_have_the_references_winners(compiled: Backend, case) -> None:
    # Whole numbers, many equal, among them the 0 that an outside sample is worth. Corner samples
    # tie exactly: the first of them must win on every backend.
    case.input = np.clip(np.round(case.input), -1, 0)
    grad = np.round(case.grad_output())
    case.sampling_ratio, case.reduction = 2, "max"
    expected, _ = reference.roi_align_backward(grad, *case.backward_arguments, reduction="max")
    magnitude, _ = reference.roi_align_backward(
        np.abs(grad), *case.backward_arguments, reduction="max"
    )
    got, _ = compiled("roi_align_backward", grad, *case.backward_arguments, reduction="max")
    assert_sums_agree(got, expected, magnitude, TERMS)


def test_the_mean_is_as_precise_as_the_features(backend: Backend) -> None:
    # Coordinates are in the boxes' precision, sums in the features'.
    ones = np.ones((1, 1, 20, 20), np.float64)
    rois = np.array([[0, 3, 3, 12, 12]], np.float32)
    for sampling_ratio in (3, 5, 7):
        out = backend("roi_align", ones, rois, 1, 1.0, sampling_ratio)
        np.testing.assert_allclose(out, 1, rtol=1e-14)


# --- every backend, the reference too, against the definition -------------------------------------


def sample(channel: np.ndarray, y: np.floating, x: np.floating) -> float:
    """Bilinear value of one channel (H, W) at one point, 0 outside."""
    height, width = channel.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = (min(max(at, 0), size - 1) for at, size in ((y, height), (x, width)))
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    to_bottom, to_right = float(y) - top, float(x) - left
    upper = (1 - to_right) * channel[top, left] + to_right * channel[top, right]
    lower = (1 - to_right) * channel[bottom, left] + to_right * channel[bottom, right]
    return (1 - to_bottom) * upper + to_bottom * lower


def by_definition(case: Case) -> np.ndarray:
    """Every sample of every bin, one after the other."""
    real = case.rois.dtype.type
    scale, offset = real(case.spatial_scale), real(0.5 if case.aligned else 0)
    bins_y, bins_x = case.output_size
    channels = case.input.shape[1]
    out = np.zeros((len(case.rois), channels, bins_y, bins_x))
    for k, roi in enumerate(case.rois):
        x1, y1, x2, y2 = (end * scale - offset for end in roi[1:])
        height, width = y2 - y1, x2 - x1
        if not case.aligned:
            height, width = max(height, real(1)), max(width, real(1))
        bin_height, bin_width = height / real(bins_y), width / real(bins_x)
        adaptive = case.sampling_ratio <= 0
        grid_y = math.ceil(bin_height) if adaptive else case.sampling_ratio
        grid_x = math.ceil(bin_width) if adaptive else case.sampling_ratio
        ys = [
            [
                y1 + real(p) * bin_height + real(i + 0.5) * bin_height / real(grid_y)
                for i in range(grid_y)
            ]
            for p in range(bins_y)
        ]
        xs = [
            [
                x1 + real(p) * bin_width + real(i + 0.5) * bin_width / real(grid_x)
                for i in range(grid_x)
            ]
            for p in range(bins_x)
        ]
        for c in range(channels):
            channel = case.input[int(roi[0]), c].astype(np.float64)
            for ph in range(bins_y):
                for pw in range(bins_x):
                    values = [sample(channel, y, x) for y in ys[ph] for x in xs[pw]]
                    if values:
                        out[k, c, ph, pw] = (
                            max(values) if case.reduction == "max" else sum(values) / len(values)
                        )
    return out.astype(case.input.dtype)


@given(case=cases(kinds=(*ORDINARY, "tiny", "empty", "reversed", "half_reversed"), max_boxes=2))
def test_forward_is_the_definition(backend: Backend, case) -> None:
    case.input = case.input[:, :3]  # it is slow
    got = backend("roi_align", *case.arguments, reduction=case.reduction)
    # weights are as precise as the boxes
    coarser = max(np.finfo(case.rois.dtype).eps / np.finfo(case.input.dtype).eps, 1)
    magnitude = np.abs(case.input).max(initial=0) * coarser
    assert_sums_agree(got, by_definition(case), magnitude, TERMS)


@given(case=cases(kinds=(*ORDINARY, "far", "tiny", "empty", "reversed"), reductions=("mean",)))
def test_forward_and_input_gradient_equal_torchvision(backend: Backend, case) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.ops import roi_align

    case.rois = case.rois.astype(case.input.dtype)
    input = torch.from_numpy(case.input).requires_grad_()
    theirs = roi_align(input, torch.from_numpy(case.rois), *case.arguments[2:])
    grad = case.grad_output()
    theirs.backward(torch.from_numpy(grad))
    largest = np.abs(case.input).max(initial=0)
    ours = backend("roi_align", *case.arguments)
    assert_sums_agree(ours, theirs.detach().numpy(), largest, TERMS)
    grad_input, _ = backend("roi_align_backward", grad, *case.backward_arguments)
    assert_sums_agree(grad_input, input.grad.numpy(), np.abs(grad).sum(), TERMS)


@given(case=cases(kinds=("inside",), reductions=("mean",)))
def test_a_ramp_gives_the_centres_of_the_bins(backend: Backend, case) -> None:
    # Bilinear interpolation is exact on a ramp, and samples lie symmetrically in their bin.
    height, width = 40, 50
    slope_y, slope_x = 0.5, -0.25
    ramp = slope_y * np.arange(height)[:, None] + slope_x * np.arange(width)[None]
    case.input = np.broadcast_to(ramp, (case.input.shape[0], 2, height, width)).copy()
    case.rois = case.rois.astype(np.float64)
    case.rois[:, 1:] = case.rois[:, 1:] + 2 / case.spatial_scale  # away from the low borders
    got = backend("roi_align", *case.arguments)
    start = case.rois[:, [2, 1]] * case.spatial_scale - (0.5 if case.aligned else 0)
    extent = (case.rois[:, [4, 3]] - case.rois[:, [2, 1]]) * case.spatial_scale
    if not case.aligned:
        extent = np.maximum(extent, 1)
    bins_y, bins_x = case.output_size
    y = start[:, :1] + (np.arange(bins_y) + 0.5) / bins_y * extent[:, :1]
    x = start[:, 1:] + (np.arange(bins_x) + 0.5) / bins_x * extent[:, 1:]
    expected = slope_y * y[:, None, :, None] + slope_x * x[:, None, None, :]
    sampled = (extent > 0).all(axis=1) | (case.sampling_ratio > 0)
    np.testing.assert_allclose(
        got, np.where(sampled[:, None, None, None], expected, 0) + np.zeros_like(got), atol=1e-11
    )


@given(case=cases(reductions=("mean",)), seed=generators)
def test_mean_backward_is_the_adjoint_of_forward(backend: Backend, case, seed) -> None:
    # <g, A F> = <A^T g, F>: this holds on any boxes, on kinks as elsewhere.
    grad = case.grad_output()
    out = backend("roi_align", *case.arguments)
    grad_input, _ = backend("roi_align_backward", grad, *case.backward_arguments)
    out_side = np.sum(grad.astype(np.float64) * out)
    input_side = np.sum(grad_input.astype(np.float64) * case.input)
    magnitude = np.sum(np.abs(grad)) * np.abs(case.input).max(initial=0)
    coarser = np.finfo(case.input.dtype).eps
    assert abs(out_side - input_side) <= TERMS * coarser * magnitude


KINK = 1e-3


def away_from_kinks(case: Case) -> Case:
    """Boxes whose samples keep their distance from what is not differentiable."""
    smooth = []
    for roi in case.rois:
        samples = sample_positions(case, roi)
        size = np.array(case.input.shape[2:])
        extent = (roi[[4, 3]] - roi[[2, 1]]) * case.spatial_scale
        bins = extent / case.output_size
        distances = [
            np.abs(axis - np.round(axis)).min(initial=1.0) for axis in samples if axis.size
        ]
        clear = min(distances, default=1.0) > KINK
        if case.sampling_ratio <= 0:
            clear &= bool((np.abs(bins - np.round(bins)) > KINK).all())
        if not case.aligned:
            clear &= bool((np.abs(extent - 1) > KINK).all())
        if clear and size.all():
            smooth.append(roi)
    case.rois = np.array(smooth).reshape(-1, 5)
    return case


def sample_positions(case: Case, roi: np.ndarray) -> list[np.ndarray]:
    """y of all samples, x of all samples, of one roi in float64."""
    offset = 0.5 if case.aligned else 0.0
    positions = []
    for low, high, bins in ((2, 4, case.output_size[0]), (1, 3, case.output_size[1])):
        start = roi[low] * case.spatial_scale - offset
        extent = (roi[high] - roi[low]) * case.spatial_scale
        if not case.aligned:
            extent = max(extent, 1)
        grid = case.sampling_ratio if case.sampling_ratio > 0 else math.ceil(extent / bins)
        count = max(bins * grid, 0)
        positions.append(start + (np.arange(count) + 0.5) * extent / max(count, 1))
    return positions


smooth_cases = cases(
    kinds=("inside", "overhanging", "larger", "tiny", "reversed"),
    dtypes=st.just(np.float64),
    max_boxes=2,
).map(away_from_kinks)


@given(case=smooth_cases)
def test_gradients_are_finite_differences(backend: Backend, case) -> None:
    case.input = case.input[:, :3]
    grad = case.grad_output()
    grad_input, grad_rois = backend(
        "roi_align_backward", grad, *case.backward_arguments, reduction=case.reduction
    )

    def objective(input: np.ndarray, rois: np.ndarray) -> float:
        out = reference.roi_align(input, rois, *case.arguments[2:], reduction=case.reduction)
        return float(np.sum(grad * out))

    step = 1e-6
    for k in range(len(case.rois)):
        for column in range(1, 5):
            move = np.zeros_like(case.rois)
            move[k, column] = step
            up = objective(case.input, case.rois + move)
            down = objective(case.input, case.rois - move)
            slope = (up - down) / (2 * step)
            assert abs(slope - grad_rois[k, column]) < 1e-5 * max(1, np.abs(grad).sum())
    for _ in range(2):  # directions in the space of inputs
        move = step * case.rng.standard_normal(case.input.shape)
        up, down = (objective(case.input + sign * move, case.rois) for sign in (1, -1))
        slope = (up - down) / (2 * step)
        assert abs(slope - np.sum(move / step * grad_input)) < 1e-5 * max(1, np.abs(grad).sum())


# --- borders, odd boxes, odd values ---------------------------------------------------------------


def test_samples_beyond_one_cell_outside_are_zero_and_counted(backend: Backend) -> None:
    ones = np.ones((1, 1, 4, 4), np.float32)
    # One bin, samples at x = -1.5, -0.5, 0.5, 1.5: one of four is outside; y is inside.
    rois = np.array([[0, -2, 0, 2, 4]], np.float32)
    out = backend("roi_align", ones, rois, 1, 1.0, 4, False)
    np.testing.assert_array_equal(out, np.float32(0.75))
    # Exactly -1 and exactly 4 are inside, the next numbers outside are not. An aligned box of no
    # width has its samples exactly where it lies, less half a cell.
    for x, expected in (
        (-1.0, 1.0),
        (np.nextafter(-1.0, -2.0), 0.0),
        (4.0, 1.0),
        (np.nextafter(4.0, 5.0), 0.0),
    ):
        across = np.array([[0, x + 0.5, 1.5, x + 0.5, 2.5]])
        down = across[:, [0, 2, 1, 4, 3]]
        for rois in (across, down):
            assert rois.max() - 0.5 == x or rois.min() - 0.5 == x  # nothing was rounded away
            out = backend("roi_align", ones, rois, 1, 1.0, 1, True)
            np.testing.assert_array_equal(out, np.float32(expected))


@pytest.mark.parametrize("reduction", ["mean", "max"])
@pytest.mark.parametrize("aligned", [False, True])
def test_boxes_that_are_not_finite_give_zeros(backend: Backend, reduction, aligned) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, 3, 6, 6)).astype(np.float32) + 5
    good = np.array([0, 1, 1, 4, 4], np.float32)
    bad = []
    for value in (np.nan, np.inf, -np.inf):
        for column in range(1, 5):
            bad.append(good.copy())
            bad[-1][column] = value
    bad.append(np.float32([0, -3e38, 0, 3e38, 4]))  # a width that overflows
    rois = np.stack([good, *bad, good])
    out = backend("roi_align", features, rois, 2, 1.0, 2, aligned, reduction=reduction)
    assert not out[1:-1].any()
    assert out[0].all()
    assert_same_bits(out[0], out[-1])
    grad_input, grad_rois = backend(
        "roi_align_backward",
        np.ones_like(out),
        features,
        rois,
        1.0,
        2,
        aligned,
        reduction=reduction,
    )
    assert np.isfinite(grad_input).all()
    assert not grad_rois[1:-1].any()
    only_good, _ = backend(
        "roi_align_backward",
        np.ones_like(out[[0, -1]]),
        features,
        rois[[0, -1]],
        1.0,
        2,
        aligned,
        reduction=reduction,
    )
    assert_same_bits(grad_input, only_good)


def test_enormous_boxes_cost_no_more_than_the_map(backend: Backend) -> None:
    # With every sample visited this would take years. A box of 2^20 cells around a map of 8 x 8
    # ones: 64 of its 2^40 unit samples are inside, plus those in the border of width one.
    ones = np.ones((1, 1, 8, 8), np.float64)
    half = 2.0**19
    rois = np.array([[0, -half + 0.5, -half + 0.5, half + 0.5, half + 0.5]])
    out = backend("roi_align", ones, rois, 1, 1.0, -1, False)
    inside = 8 + 2  # samples at -1, 0, ..., 8
    np.testing.assert_allclose(out, inside**2 / 2.0**40, rtol=1e-12)
    for extent in (1e9, 1e30, 1e150):
        out = backend("roi_align", ones, np.array([[0, -extent, -extent, extent, extent]]), 2)
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_that_are_not_visited_are_zero_in_the_maximum(backend: Backend, dtype) -> None:
    # At 1e8, float32 coordinates are 8 cells apart: all the visited samples fall inside.
    features = np.full((1, 1, 8, 8), -1, np.float32)
    for extent in (1e3, 1e5, 1e8, 1e12, 1e30):
        for rois in ([[0, -extent, 1, extent, 5]], [[0, 1, -extent, 5, extent]]):
            arguments = (features, np.array(rois, dtype))
            out = backend("roi_align", *arguments, 1, reduction="max")
            np.testing.assert_array_equal(out, np.zeros_like(out))
            grad, _ = backend("roi_align_backward", out + 1, *arguments, reduction="max")
            assert not grad.any()


def test_far_samples_of_a_large_grid_are_all_counted(backend: Backend) -> None:
    # 4096 samples a bin and axis, all of them inside.
    rng = np.random.default_rng(0)
    ramp = np.arange(8.0)[None, None, :, None] + rng.standard_normal(8) * 0
    out = backend("roi_align", ramp, np.array([[0, 2.0, 2.0, 5.0, 5.0]]), 1, 1.0, 4096)
    np.testing.assert_allclose(out, 3.5, rtol=1e-12)


def test_features_far_from_the_box_are_not_read(backend: Backend) -> None:
    features = np.full((2, 2, 20, 20), np.nan, np.float32)
    features[1, :, 5:10, 5:10] = 1
    rois = np.array([[1, 6, 6, 8.5, 8.5]], np.float32)
    for reduction in ("mean", "max"):
        out = backend("roi_align", features, rois, 2, reduction=reduction)
        np.testing.assert_allclose(out, 1, rtol=1e-6)


def test_maximum_propagates_nan_and_counts_outside_samples_as_zero(backend: Backend) -> None:
    features = np.full((1, 2, 6, 6), -1, np.float64)
    features[0, 1, 2, 2] = np.nan
    inside, overhanging = [0, 1.2, 1.2, 3.2, 3.2], [0, -9.0, 1.2, 3.2, 3.2]
    out = backend("roi_align", features, np.array([inside, overhanging]), 1, reduction="max")
    np.testing.assert_allclose(out[:, 0, 0, 0], [-1, 0])
    assert np.isnan(out[:, 1]).all()
    grad, _ = backend(
        "roi_align_backward",
        np.ones((2, 2, 1, 1)),
        features,
        np.array([overhanging, overhanging]),
        reduction="max",
    )
    assert not grad[0, 0].any()  # an outside sample won, there is nothing to move
    np.testing.assert_allclose(grad[0, 1].sum(), 2)  # the first NaN took it all


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_an_empty_box(backend: Backend, aligned, sampling_ratio) -> None:
    features = np.full((1, 1, 8, 8), 3.0, np.float32)
    rois = np.array([[0, 4, 4, 4, 4], [0, 5, 5, 3, 3]], np.float32)
    for reduction in ("mean", "max"):
        out = backend(
            "roi_align", features, rois, 2, 1.0, sampling_ratio, aligned, reduction=reduction
        )
        # unaligned boxes are at least one cell wide; aligned ones have an empty adaptive grid
        expected = 0 if aligned and sampling_ratio <= 0 else 3
        np.testing.assert_array_equal(out, np.float32(expected))


# --- arguments ------------------------------------------------------------------------------------


@given(case=cases(kinds=ORDINARY))
def test_a_list_of_boxes_is_the_same_as_rois(backend: Backend, case) -> None:
    images = case.input.shape[0]
    per_image = [case.rois[case.rois[:, 0] == i, 1:] for i in range(images)]
    ordered = case.rois[np.argsort(case.rois[:, 0], kind="stable")]
    got = backend("roi_align", case.input, per_image, *case.arguments[2:], reduction=case.reduction)
    expected = backend(
        "roi_align", case.input, ordered, *case.arguments[2:], reduction=case.reduction
    )
    assert_same_bits(got, expected)


def test_no_boxes(backend: Backend) -> None:
    features = np.zeros((2, 3, 4, 4), np.float32)
    for boxes in (np.zeros((0, 5), np.float32), [np.zeros((0, 4), np.float32)] * 2):
        out = backend("roi_align", features, boxes, (2, 3))
        assert out.shape == (0, 3, 2, 3)
        assert out.dtype == np.float32
        grads = backend("roi_align_backward", out, features, boxes)
        assert grads[0].shape == features.shape
        assert not grads[0].any()
        assert grads[1].shape == (0, 5)


def test_output_size_may_be_one_number(backend: Backend) -> None:
    features = np.random.default_rng(0).standard_normal((1, 2, 7, 7)).astype(np.float32)
    rois = np.array([[0, 1, 1, 5, 6]], np.float32)
    assert_same_bits(
        backend("roi_align", features, rois, 3), backend("roi_align", features, rois, (3, 3))
    )


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@given(case=cases())
def test_layouts_give_the_same_bits(compiled: Backend, layout, case) -> None:
    lay = LAYOUTS[layout]
    plain = compiled("roi_align", *case.arguments, reduction=case.reduction)
    grad = case.grad_output()
    plain_grads = compiled(
        "roi_align_backward", grad, *case.backward_arguments, reduction=case.reduction
    )
    case.input, case.rois = lay(case.input), lay(case.rois)
    assert_same_bits(compiled("roi_align", *case.arguments, reduction=case.reduction), plain)
    grads = compiled(
        "roi_align_backward", lay(grad), *case.backward_arguments, reduction=case.reduction
    )
    for got, expected in zip(grads, plain_grads, strict=True):
        assert_same_bits(got, expected)


def test_no_image_and_no_boxes(backend: Backend) -> None:
    assert backend("roi_align", np.zeros((0, 3, 4, 5), np.float32), [], 2).shape == (0, 3, 2, 2)


def test_a_region_that_no_memory_holds_is_an_error(cpu: Backend) -> None:
    whole = np.broadcast_to(np.ones(1, np.float32), (1, 1, 2**30, 2**30))
    with pytest.raises(MemoryError):
        cpu("roi_align", whole, np.array([[0, 0, 0, 2**30, 2**30]], np.float32), 7, 1.0, 1)


def test_a_maximum_of_more_samples_than_can_be_numbered_is_an_error(cpu: Backend) -> None:
    side = 2**17
    whole = np.broadcast_to(np.ones(1, np.float32), (1, 1, side, side))
    with pytest.raises(ValueError, match=r"^roi_align: boxes\[0\] must take at most 2\^30 samples"):
        cpu("roi_align", whole, np.array([[0, 0, 0, side, side]], np.float32), 1, reduction="max")


def test_a_map_with_an_enormous_side_is_refused_or_right(compiled: Backend) -> None:
    # Without the memory: a stride of 0. 2^30 is the longest side whose coordinates fit an int32.
    one = np.ones(1, np.float32)
    rois = np.array([[0, 2**30 - 300, 0, 2**30, 1]], np.float32)
    longest = np.broadcast_to(one, (1, 1, 1, 2**30))
    assert compiled("roi_align", longest, rois, 1, 1.0, 2, True) == 1
    with pytest.raises(ValueError, match=r"H, W from 1 to 2\^30"):
        compiled("roi_align", np.broadcast_to(one, (1, 1, 1, 2**30 + 1)), rois, 1)
