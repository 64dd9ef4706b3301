"""NaN and infinity in maps, masks and gradients: which cells are read, in the core as in the
reference.

A mean reads the cells to which one of its samples gives a weight, and no others; its gradient
reaches the same cells. The gradient of a box also reads a cell of weight 0 beside a sample that
moves with the box. A maximum reads all that lies around its samples, and the first NaN wins it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends import Backend, convert, flat, is_numpy
from comparison import assert_equal, assert_sums_agree
from hypothesis import given
from hypothesis import strategies as st
from strategies import SAMPLING_RATIOS, layouts, several_times, with_non_finite
from test_crop_masks import annotations
from test_crop_masks import conventions as crop_conventions
from test_multiscale_roi_align import cases as multiscale_cases
from test_ps_roi_align import maps_and_rois as ps_maps_and_rois
from test_roi_align import cases
from test_roi_warp import conventions, maps_and_rois, reductions

from roiops import reference

TERMS = 64  # samples and cells of one output value, generously

sampling_ratios = st.sampled_from(SAMPLING_RATIOS)
nan, inf = np.nan, np.inf


# --- every backend against the reference ----------------------------------------------------------


def assert_reads_the_references_cells(
    compiled: Backend,
    operator: str,
    maps: Any,  # one, or a list of them
    rois: np.ndarray,
    size: tuple[int, int],
    arguments: tuple,
    layout: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    **options: Any,
) -> None:
    """Forward; backward with wild maps; backward with wild gradients of the output."""
    # Beyond 1e45 samples a bin, 1/n is 0 in float32: another question.
    rois = np.where(np.isfinite(rois), np.clip(rois, -1e12, 1e12), rois)
    eps = max(np.finfo(array.dtype).eps for array in flat([maps, rois]))

    def both(name: str, *all_arguments: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        with np.errstate(invalid="ignore"):
            expected = flat(getattr(reference, name)(*all_arguments, **options))
        got = flat(compiled(name, *convert(all_arguments, is_numpy, layout), **options))
        return list(zip(got, expected, strict=True))

    def assert_agree(got: np.ndarray, expected: np.ndarray, magnitude: float) -> None:
        # The narrower of the types decides: a gradient of float64 boxes of float32 features is a
        # sum of float32 terms.
        assert_sums_agree(got, expected, magnitude, TERMS * eps / np.finfo(expected.dtype).eps)

    wild = convert(maps, is_numpy, lambda map: with_non_finite(map, rng))
    largest = max(np.abs(map).max(initial=0) for map in flat(maps))
    [(got, expected)] = both(operator, wild, rois, size, *arguments)
    assert_agree(got, expected, largest)

    backward, of_maps = f"{operator}_backward", len(flat(maps))
    grad = rng.standard_normal(expected.shape).astype(expected.dtype)
    magnitude = 4 * max(largest, 1) * np.abs(grad).sum()
    results = both(backward, grad, wild, rois, *arguments)
    for got, expected in results[:of_maps]:
        assert_agree(got, expected, magnitude)
    for got, expected in results[of_maps:]:
        # Of boxes: derivatives of both signs add up to 0 or nearly so, and as they are rounded an
        # infinity times them is NaN or infinite.
        assert_agree(finite_or_nan(got), finite_or_nan(expected), magnitude)
    results = both(backward, with_non_finite(grad, rng), maps, rois, *arguments)
    for got, expected in results[:of_maps]:
        assert_agree(got, expected, magnitude)
    for got, expected in results[of_maps:]:
        assert_agree(finite_or_nan(got), finite_or_nan(expected), magnitude)


def finite_or_nan(array: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(array), array, array.dtype.type(nan))


@several_times
@given(case=cases(), layout=layouts)
def test_roi_align(compiled: Backend, case, layout) -> None:
    map, rois, size, *arguments = case.arguments
    assert_reads_the_references_cells(
        compiled, "roi_align", map, rois, size, arguments, layout, case.rng,
        reduction=case.reduction,
    )  # fmt: skip


@several_times
@given(case=multiscale_cases(), layout=layouts)
def test_multiscale_roi_align(compiled: Backend, case, layout) -> None:
    maps, rois, size, *arguments = case.arguments
    assert_reads_the_references_cells(
        compiled, "multiscale_roi_align", maps, rois, size, arguments, layout, case.rng,
        **case.options,
    )  # fmt: skip


@several_times
@given(maps_and_rois(), layouts, sampling_ratios, reductions, conventions)
def test_roi_warp(compiled: Backend, case, layout, ratio, reduction, convention) -> None:
    map, rois, rng = case
    assert_reads_the_references_cells(
        compiled, "roi_warp", map, rois, (2, 3), (0.5, ratio), layout, rng,
        reduction=reduction, convention=convention,
    )  # fmt: skip


@several_times
@given(ps_maps_and_rois(), layouts, sampling_ratios)
def test_ps_roi_align(compiled: Backend, case, layout, ratio) -> None:
    map, rois, size, rng = case
    arguments = (0.5, ratio)
    assert_reads_the_references_cells(
        compiled, "ps_roi_align", map, rois, size, arguments, layout, rng
    )


@several_times
@given(ps_maps_and_rois(), layouts)
def test_ps_roi_pool(compiled: Backend, case, layout) -> None:
    map, rois, size, rng = case
    assert_reads_the_references_cells(compiled, "ps_roi_pool", map, rois, size, (0.5,), layout, rng)


@several_times
@given(maps_and_rois(), layouts)
def test_roi_pool(compiled: Backend, case, layout) -> None:
    map, rois, rng = case
    map = with_non_finite(map, rng)
    expected = reference.roi_pool(map, rois, (2, 3), 0.5)
    assert_equal(compiled("roi_pool", layout(map), layout(rois), (2, 3), 0.5), expected)
    grad = with_non_finite(rng.standard_normal(expected.shape).astype(map.dtype), rng)
    got = compiled("roi_pool_backward", layout(grad), layout(map), rois, 0.5)
    with np.errstate(invalid="ignore"):
        expected = reference.roi_pool_backward(grad, map, rois, 0.5)
    magnitude = np.abs(grad, where=np.isfinite(grad), out=np.zeros_like(grad)).sum()
    assert_sums_agree(got, expected, magnitude, TERMS)


@several_times
@given(annotations(dtypes=st.sampled_from([np.float32, np.float64])), crop_conventions, layouts)
def test_crop_masks(compiled: Backend, annotation, convention, layout) -> None:
    masks, boxes, size = annotation
    rng = np.random.default_rng(masks.size)
    masks = with_non_finite(masks, rng)
    with np.errstate(invalid="ignore"):
        expected = reference.crop_masks(masks, boxes, size, convention=convention)
    got = compiled("crop_masks", layout(masks), layout(boxes), size, convention=convention)
    assert_equal(got, expected)


# --- the rule itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_a_cell_between_two_samples_is_not_read(backend: Backend, bad) -> None:
    # One bin over cells 0 to 7, its two samples at 2 and 6: cells of weight 1 each.
    map = np.full((1, 1, 1, 9), bad, np.float32)
    map[..., 2], map[..., 6] = 1, 3
    rois = np.array([[0, 0, 0, 8, 0]], np.float32)
    assert backend("roi_align", map, rois, 1, 1.0, 2)[0, 0, 0, 0] == 2
    grad = np.full((1, 1, 1, 1), bad, np.float32)
    with np.errstate(invalid="ignore"):
        got, _ = backend("roi_align_backward", grad, np.zeros_like(map), rois, 1.0, 2)
    expected = np.zeros_like(map)
    expected[..., [2, 6]] = bad
    np.testing.assert_array_equal(got, expected)


def test_a_cell_of_another_bin_is_not_read(backend: Backend) -> None:
    # Bins over the cells 0 and 1, and 3 and 4, which neither share a cell with the other.
    map = np.array([1, 3, 0, nan, 1], np.float32).reshape(1, 1, 1, 5)
    rois = np.array([[0, 0, 0, 6, 1]], np.float32)
    got = backend("roi_align", map, rois, (1, 2), 1.0, 3, True)
    np.testing.assert_allclose(got[..., 0], 4 / 3, rtol=1e-6)
    assert np.isnan(got[..., 1])


def test_the_gradient_of_a_box_reads_the_cell_it_would_move_to(backend: Backend) -> None:
    # The sample is on row 1: row 2 has no weight, but is half of the slope.
    map, grad = np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 1, 1), np.float32)
    map[..., 2, :] = nan
    rois = np.array([[0, 0.25, 0.5, 2.25, 1.5]], np.float32)
    assert backend("roi_align", map, rois, 1, 1.0, 1) == 1
    by_map, by_rois = backend("roi_align_backward", grad, map, rois, 1.0, 1)
    assert by_map.sum() == 1
    np.testing.assert_array_equal(by_rois, [[0, nan, nan, nan, nan]])


@pytest.mark.parametrize("bad", [nan, inf])
@pytest.mark.parametrize(
    ("operator", "box"),
    [
        ("roi_align", [0, 0, 2, 12]),
        ("roi_align", [0, 0, 12, 2]),
        ("ps_roi_align", [0, 0, 2, 12]),
        ("ps_roi_align", [0, 0, 12, 2]),
    ],
)
def test_of_a_bin_outside_the_map_the_gradient_is_not_read(
    backend: Backend, operator, box, bad
) -> None:
    # Two bins along each axis: the second ones of the longer side are outside.
    map = np.ones((1, 4 if operator.startswith("ps_") else 1, 4, 4), np.float32)
    grad = np.ones((1, 1, 2, 2), np.float32)
    grad[..., 1, 1] = bad
    rois = np.array([[0, *box]], np.float32)
    by_map, by_rois = backend(f"{operator}_backward", grad, map, rois, 1.0, 1)
    np.testing.assert_allclose(by_map.sum(), 2, rtol=1e-6)
    assert not by_rois.any()


def test_a_maximum_reads_all_that_lies_around_a_sample(backend: Backend) -> None:
    map = np.array([5, 1, nan, 0], np.float32).reshape(1, 1, 1, 4)
    rois = np.array([[0, 0.5, 0, 1.5, 0]], np.float32)  # one sample, on cell 1
    assert np.isnan(backend("roi_align", map, rois, 1, 1.0, 1, reduction="max"))
    assert backend("roi_align", map, rois, 1, 1.0, 1, reduction="mean") == 1


def test_a_mask_cell_beside_the_samples_is_not_read(backend: Backend) -> None:
    # Samples on the cells 1 and 2 themselves: their neighbours have weight 0.
    mask = np.full((1, 1, 5), nan, np.float32)
    mask[..., 1:3] = 1, 3
    boxes = np.array([[0.5, 0, 2.5, 1]], np.float32)
    got = backend("crop_masks", mask, boxes, (1, 2), convention="torchvision")
    np.testing.assert_array_equal(got, [[[1, 3]]])


def test_a_nan_in_a_mask_is_the_mean_and_sets_nothing(backend: Backend) -> None:
    mask = np.array([[[nan, 1.0]]], np.float32)
    boxes = np.array([[0, 0, 2, 1]], np.float32)
    got = backend("crop_masks", mask, boxes, (1, 2), convention="torchvision")
    assert np.isnan(got).any()
    got = backend("crop_masks", mask, boxes, (1, 2), convention="detectron2")
    np.testing.assert_array_equal(got, [[[False, True]]])
