"""roi_warp: against the reference, and the reference against both conventions' definitions."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_sums_agree
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    CHANNELS,
    EVERY_KIND,
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

TERMS = 64  # samples and cells of one output value, generously
CONVENTIONS = ("paper", "mnc")

conventions = st.sampled_from(CONVENTIONS)
reductions = st.sampled_from(("mean", "max"))


@st.composite
def maps_and_rois(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND):
    """(map (N, C, H, W), rois (K, 5), generator)."""
    rng = draw(generators)
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from(CHANNELS)),
             draw(st.integers(1, 11)), draw(st.integers(1, 11)))  # fmt: skip
    boxes = draw(box_arrays(kinds, 1, 5, extent=2.0 * max(shape[2:])))
    rois = to_rois(boxes, shape[0], rng).astype(draw(float_dtypes))
    return rng.standard_normal(shape).astype(draw(float_dtypes)), rois, rng


def round_half_away(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


@several_times
@given(maps_and_rois(), layouts, st.sampled_from(SAMPLING_RATIOS), reductions, conventions)
def test_forward_is_the_references(
    compiled: Backend, case, layout, sampling_ratio, reduction, convention
) -> None:
    map, rois, _ = case
    options = {"reduction": reduction, "convention": convention}
    expected = reference.roi_warp(map, rois, (2, 3), 0.5, sampling_ratio, **options)
    got = compiled("roi_warp", layout(map), rois, (2, 3), 0.5, sampling_ratio, **options)
    assert_sums_agree(got, expected, np.abs(map).max(), TERMS)


@several_times
@given(maps_and_rois(), layouts, st.sampled_from((1, 2, 3)), reductions, conventions)
def test_backward_is_the_references(
    compiled: Backend, case, layout, sampling_ratio, reduction, convention
) -> None:
    map, rois, rng = case
    grad = rng.standard_normal((len(rois), map.shape[1], 2, 3)).astype(map.dtype)
    options = {"reduction": reduction, "convention": convention}
    arguments = (rois, 0.5, sampling_ratio)
    expected = reference.roi_warp_backward(grad, map, *arguments, **options)
    got = compiled("roi_warp_backward", grad, layout(map), *arguments, **options)
    for g, e in zip(got, expected, strict=True):
        # The narrower of the two types decides: a gradient of float64 boxes of float32 features
        # is a sum of float32 terms.
        eps = max(np.finfo(map.dtype).eps, np.finfo(rois.dtype).eps) / np.finfo(e.dtype).eps
        magnitude = 4 * np.abs(map).max() * np.abs(grad).sum()
        assert_sums_agree(g, e, magnitude, TERMS * eps)


@given(maps_and_rois(ORDINARY), st.sampled_from((1, 2)))
def test_paper_is_roi_align_of_the_rounded_box(backend: Backend, case, sampling_ratio) -> None:
    map, rois, _ = case
    rounded = rois.copy()
    rounded[:, 1:] = round_half_away(rois[:, 1:] * rois.dtype.type(0.5))
    expected = backend("roi_align", map, rounded, 3, 1.0, sampling_ratio)
    assert_equal(backend("roi_warp", map, rois, 3, 0.5, sampling_ratio), expected)


@given(maps_and_rois(ORDINARY))
def test_mnc_samples_the_corner_of_each_bin(backend: Backend, case) -> None:
    map, rois, _ = case
    got = backend("roi_warp", map, rois, (2, 3), 0.5, convention="mnc")
    height, width = map.shape[2:]
    for k, roi in enumerate(rois.astype(np.float64)):
        x1, y1, x2, y2 = round_half_away(roi[1:] * 0.5)
        for i in range(2):
            for j in range(3):
                y, x = y1 + i * max(y2 - y1, 0) / 2, x1 + j * max(x2 - x1, 0) / 3
                expected = np.zeros(map.shape[1])
                if -0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5:
                    rows = 1 - np.abs(np.arange(height) - np.clip(y, 0, height - 1))
                    cols = 1 - np.abs(np.arange(width) - np.clip(x, 0, width - 1))
                    image = map[int(roi[0])].astype(np.float64)
                    expected = np.maximum(rows, 0) @ image @ np.maximum(cols, 0)
                np.testing.assert_allclose(got[k, :, i, j], expected, atol=2e-5)


@given(maps_and_rois(ORDINARY), conventions)
def test_whole_cell_boxes_have_the_gradient_of_unrounded_ones(
    backend: Backend, case, convention
) -> None:
    # Straight through the rounding: what is left is the gradient at the rounded place.
    map, rois, rng = case
    rois = rois.astype(np.float64)
    rounded = np.concatenate([rois[:, :1], 2 * round_half_away(rois[:, 1:] / 2)], 1)
    grad = rng.standard_normal((len(rois), map.shape[1], 2, 2)).astype(map.dtype)
    options = {"convention": convention}
    here = backend("roi_warp_backward", grad, map, rois, 0.5, 2, **options)
    there = backend("roi_warp_backward", grad, map, rounded, 0.5, 2, **options)
    for a, b in zip(here, there, strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_ties_are_rounded_away_from_zero(backend: Backend, convention) -> None:
    # 0.5 → 1, 2.5 → 3, -0.5 → -1: half to even would give 0, 2, -0.
    ramp = np.arange(8.0).reshape(1, 1, 1, 8)
    rois = np.array([[0, 0.5, 0, 2.5, 1], [0, 1, 0, 3, 1], [0, -0.5, 0, 2.5, 1], [0, -1, 0, 3, 1]])
    got = backend("roi_warp", ramp, rois, (1, 2), 1.0, 1, convention=convention)
    assert_equal(got[0], got[1])
    assert_equal(got[2], got[3])
    assert not np.array_equal(got[0], got[2])


def test_errors_name_the_function() -> None:
    import roiops

    map, rois = np.zeros((1, 1, 4, 4), np.float32), np.zeros((1, 5), np.float32)
    with pytest.raises(ValueError, match=r"roi_warp: convention must be 'paper' or 'mnc'; got 'x'"):
        roiops.roi_warp(map, rois, 2, convention="x")
    with pytest.raises(IndexError, match=r"roi_warp: boxes\[0, 0\]"):
        roiops.roi_warp(map, rois + 7, 2)
    with pytest.raises(ValueError, match=r"roi_warp_backward: grad_output must have shape \(1, 1"):
        roiops.roi_warp_backward(np.zeros((2, 1, 2, 2), np.float32), map, rois)
