"""fpn_levels: a decision, so equal everywhere."""

import math

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_KIND, box_arrays, float_dtypes, layouts

from roiops import reference


@given(
    boxes=box_arrays(EVERY_KIND, max_boxes=20, extent=1000.0),
    dtype=float_dtypes,
    layout=layouts,
    lowest=st.integers(-3, 4),
    count=st.integers(0, 5),
    canonical=st.tuples(st.sampled_from([1, 7.5, 224, 4096]), st.integers(-2, 6)),
    with_batch_index=st.booleans(),
)
def test_is_the_references(
    compiled: Backend, boxes, dtype, layout, lowest, count, canonical, with_batch_index
) -> None:
    boxes = boxes.astype(dtype)
    if with_batch_index:
        boxes = np.concatenate([np.full((len(boxes), 1), 3, dtype), boxes], axis=1)
    arguments = (lowest, lowest + count)
    options = {"canonical_scale": canonical[0], "canonical_level": canonical[1]}
    expected = reference.fpn_levels(boxes, *arguments, **options)
    assert_equal(compiled("fpn_levels", layout(boxes), *arguments, **options), expected)


def test_levels_begin_where_the_formula_says(backend: Backend) -> None:
    # In exact steps around each boundary: 224 * 2 ** k, less the 1e-6 of the formula.
    for level in (3, 4, 5):
        boundary = 224 * 2.0 ** (level - 4)
        for side, expected in (
            (boundary, level),
            (boundary * 2**-0.9e-6, level),
            (boundary * 2**-1.1e-6, level - 1),
            (boundary * 0.99, level - 1),
            (boundary * 1.99, level),
        ):
            box = np.array([[0, 0, side, side], [-side, 5, 0, 5 + side]])
            levels = backend("fpn_levels", box, 2, 5)
            np.testing.assert_array_equal(levels, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_area_at_which_a_level_begins_belongs_to_it(backend: Backend, dtype) -> None:
    for level in (3, 4, 5):
        area = dtype((224 * 2.0 ** (level - 4 - 1e-6)) ** 2)
        smaller = np.nextafter(area, dtype(0))
        boxes = np.array([[0, 0, area, 1], [0, 0, 1, area], [0, 0, smaller, 1]], dtype)
        levels = backend("fpn_levels", boxes, 2, 5)
        np.testing.assert_array_equal(levels, [level, level, level - 1])


@given(
    sides=st.lists(st.tuples(st.floats(0.1, 5000), st.floats(0.1, 5000)), max_size=30),
    lowest=st.integers(0, 4),
)
def test_is_the_logarithm_of_the_paper(backend: Backend, sides, lowest) -> None:
    boxes = np.array([[10, 20, 10 + w, 20 + h] for w, h in sides]).reshape(-1, 4)
    levels = backend("fpn_levels", boxes, lowest, lowest + 3)
    for box, level in zip(boxes, levels, strict=True):
        area = (box[2] - box[0]) * (box[3] - box[1])
        exact = 4 + math.log2(math.sqrt(area) / 224) + 1e-6
        if abs(exact - round(exact)) > 1e-9:
            assert level == min(max(math.floor(exact), lowest), lowest + 3)


def test_equals_torchvision(backend: Backend) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.ops.poolers import LevelMapper

    rng = np.random.default_rng(0)
    low = rng.uniform(0, 500, (4000, 2))
    size = np.exp(rng.uniform(0, 7, (4000, 2)))
    size[:200] = 224 * 2.0 ** rng.integers(-3, 3, (200, 1))
    boxes = np.concatenate([np.round(low), np.round(low) + size], axis=1).astype(np.float32)
    expected = LevelMapper(2, 5)([torch.tensor(boxes)]).numpy() + 2
    np.testing.assert_array_equal(backend("fpn_levels", boxes, 2, 5), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_odd_areas_go_to_the_lowest_level(backend: Backend, dtype) -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array(
        [
            [0, 0, 0, 1000],
            [1000, 0, 0, 1000],
            [0, 0, nan, 1000],
            [0, 0, inf, 1000],
            [-inf, 0, inf, 1000],
            [-1e300, -1e300, 1e300, 1e300],
        ]
    )
    with np.errstate(over="ignore"):
        boxes = boxes.astype(dtype)
    np.testing.assert_array_equal(backend("fpn_levels", boxes, 2, 5), 2)


def test_no_boxes(backend: Backend) -> None:
    assert_equal(backend("fpn_levels", np.zeros((0, 4)), 2, 5), np.zeros(0, np.int64))
