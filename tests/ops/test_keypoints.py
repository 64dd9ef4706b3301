"""keypoints_to_heatmap and heatmaps_to_keypoints: cells and maxima are decisions."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    EVERY_KIND,
    box_arrays,
    float_dtypes,
    generators,
    layouts,
    several_times,
)

from roiops import reference

# --- keypoints to heatmap -------------------------------------------------------------------------


@st.composite
def annotations(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND) -> tuple:
    """keypoints, boxes, size: many keypoints at ends of their boxes and of cells."""
    rng = draw(generators)
    dtype = draw(float_dtypes)
    size = draw(st.sampled_from([1, 2, 7, 56, 1000]))
    with np.errstate(over="ignore", invalid="ignore"):
        boxes = draw(box_arrays(kinds, max_boxes=6, extent=20.0)).astype(dtype)
        at = rng.choice([0, 0.25, 1 / 3, 0.5, 1, -1e-9, 1 + 1e-9, -0.5, 2], (2, len(boxes), 9))
        low, high = boxes.T[:2, :, None], boxes.T[2:, :, None]
        x, y = low + (high - low) * at
        anywhere = rng.random((len(boxes), 9)) < 0.3
        x, y = (np.where(anywhere, rng.uniform(-5, 25, x.shape), v) for v in (x, y))
        at_end = rng.random((2, len(boxes), 9)) < 0.2
        x, y = (np.where(ends, h, v) for ends, h, v in zip(at_end, high, (x, y), strict=True))
        x[rng.random(x.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
        visibility = rng.choice([0, 1, 2, -1, np.nan, 0.5], x.shape)
        keypoints = np.stack([x, y, visibility], -1).astype(dtype)
    return keypoints, boxes, size


@several_times
@given(annotation=annotations(), layout=layouts, box_layout=layouts)
def test_cells_are_the_references(compiled: Backend, annotation, layout, box_layout) -> None:
    keypoints, boxes, size = annotation
    expected = reference.keypoints_to_heatmap(*annotation)
    got = compiled("keypoints_to_heatmap", layout(keypoints), box_layout(boxes), size)
    for one, other in zip(got, expected, strict=True):
        assert_equal(one, other)


@given(annotation=annotations())
def test_cells_are_the_definition(backend: Backend, annotation) -> None:
    keypoints, boxes, size = annotation
    keypoints, boxes = keypoints.astype(np.float64), boxes.astype(np.float64)
    cells, valid = backend("keypoints_to_heatmap", keypoints, boxes, size)
    for (n, k), cell in np.ndenumerate(cells):
        if not (np.isfinite(boxes[n]).all() and np.isfinite(keypoints[n, k, :2]).all()):
            assert not valid[n, k]
            assert not cell
            continue
        exact = []
        for axis in (0, 1):
            low, high, at = (Fraction(v) for v in (boxes[n, axis], boxes[n, axis + 2],
                                                   keypoints[n, k, axis]))  # fmt: skip
            if high <= low:
                exact.append(Fraction(-1))
            elif at == high:
                exact.append(size - Fraction(1, 2))
            else:
                exact.append((at - low) * size / (high - low))
        if any(abs(e - round(e)) < Fraction(1, 10**6) for e in exact):
            continue  # where floating point may decide for the neighbour
        inside = all(0 <= e < size for e in exact)
        assert valid[n, k] == (inside and keypoints[n, k, 2] > 0)
        x, y = (math.floor(e) for e in exact)
        assert cell == (y * size + x if valid[n, k] else 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cells_by_hand(backend: Backend, dtype) -> None:
    # A box of 20 x 10 pixels in 4 x 4 cells, 5 and 2.5 pixels wide and high.
    box = np.array([[10, 10, 30, 20]], dtype)
    points = [
        ([10, 10, 1], 0, 1),
        ([14.9, 10, 1], 0, 1),
        ([15, 10, 1], 1, 1),
        ([15, 12.5, 2], 5, 1),
        ([30, 20, 1], 15, 1),  # the far corner belongs to the last cell
        ([30, 10, 1], 3, 1),
        ([10, 20, 1], 12, 1),
        ([15, 12.5, 0], 0, 0),  # not visible
        ([30.1, 12, 1], 0, 0),
        ([9.9, 12, 1], 0, 0),
        ([12, 20.1, 1], 0, 0),
        ([12, 9.9, 1], 0, 0),
    ]
    keypoints = np.array([[point for point, _, _ in points]], dtype)
    cells, valid = backend("keypoints_to_heatmap", keypoints, box, 4)
    assert_equal(cells, np.array([[cell for _, cell, _ in points]]))
    assert_equal(valid, np.array([[ok for _, _, ok in points]]))


def test_boxes_without_area_hold_no_keypoint(backend: Backend) -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array(
        [[5, 5, 5, 9], [5, 5, 9, 5], [9, 5, 5, 9], [5, 9, 9, 5], [5, 5, 5, 5], [nan, 5, 9, 9],
         [5, 5, inf, 9], [-inf, -inf, inf, inf], [-3e38, 0, 3e38, 9]], np.float32,
    )  # fmt: skip
    at = np.array([[5, 5, 1], [9, 9, 1], [7, 7, 1], [5, 9, 1], [inf, 9, 1], [nan, nan, 1]])
    keypoints = np.tile(at.astype(np.float32), (len(boxes), 1, 1))
    for result in backend("keypoints_to_heatmap", keypoints, boxes, 56):
        assert_equal(result, np.zeros((len(boxes), len(at)), np.int64))


def test_cells_of_the_largest_heatmap(backend: Backend) -> None:
    box = np.array([[0, 0, 8, 8]], np.float32)
    keypoints = np.array([[[8, 8, 1], [4, 2, 1], [0, 8, 1]]], np.float32)
    size = 2**30
    cells, valid = backend("keypoints_to_heatmap", keypoints, box, size)
    assert_equal(cells, np.array([[size**2 - 1, size // 4 * size + size // 2, (size - 1) * size]]))
    assert valid.all()


def test_cells_equal_torchvisions(backend: Backend) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.models.detection.roi_heads import keypoints_to_heatmap

    rng = np.random.default_rng(0)
    low = rng.uniform(0, 500, (300, 2))
    boxes = np.concatenate([low, low + np.exp(rng.uniform(-2, 6, (300, 2)))], 1).astype(np.float32)
    at = boxes[:, None, :2] + (boxes[:, None, 2:] - boxes[:, None, :2]) * rng.uniform(
        -0.2, 1.2, (300, 17, 2)
    )
    keypoints = np.concatenate([at, rng.integers(0, 3, (300, 17, 1))], 2).astype(np.float32)
    keypoints[:50, :, 0] = boxes[:50, None, 2]
    keypoints[30:80, :, 1] = boxes[30:80, None, 3]
    theirs = keypoints_to_heatmap(torch.from_numpy(keypoints), torch.from_numpy(boxes), 56)
    for one, other in zip(backend("keypoints_to_heatmap", keypoints, boxes, 56), theirs,
                          strict=True):  # fmt: skip
        assert_equal(one, other.numpy())


# --- heatmaps to keypoints ------------------------------------------------------------------------

# An enormous box is resized to 4096 x 4096 pixels by the reference too: those have their own tests.
MODERATE = ("inside", "overhanging", "larger", "far", "whole", "tiny", "empty", "reversed",
            "half_reversed", "not_finite")  # fmt: skip


@st.composite
def predictions(draw: st.DrawFn, kinds: tuple[str, ...] = MODERATE) -> tuple:
    rng = draw(generators)
    dtype = draw(float_dtypes)
    boxes = draw(box_arrays(kinds, max_boxes=4, extent=draw(st.sampled_from([8.0, 60.0]))))
    cells = draw(st.sampled_from([(1, 1), (2, 3), (5, 5), (14, 14), (40, 3)]))
    shape = (len(boxes), draw(st.integers(0, 3)), *cells)
    heatmaps = rng.standard_normal(shape)
    match draw(st.sampled_from(["noise", "ties", "constant", "not_finite"])):
        case "ties":
            heatmaps = np.round(heatmaps)
        case "constant":
            heatmaps[...] = rng.choice([0, -1, 0.3])
        case "not_finite":
            odd = rng.random(shape) < 0.05
            heatmaps[odd] = rng.choice([np.nan, np.inf, -np.inf], odd.sum())
    return heatmaps.astype(dtype), boxes.astype(dtype)


@several_times
@given(prediction=predictions(), layout=layouts, box_layout=layouts)
def test_keypoints_are_the_references(compiled: Backend, prediction, layout, box_layout) -> None:
    heatmaps, boxes = prediction
    expected = reference.heatmaps_to_keypoints(heatmaps, boxes)
    assert_equal(compiled("heatmaps_to_keypoints", layout(heatmaps), box_layout(boxes)), expected)


def kernel(distance: float) -> float:
    """Keys' cubic, a = -0.75."""
    a, d = -0.75, abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def resize_matrix(pixels: int, cells: int) -> np.ndarray:
    """(pixels, cells): what each pixel takes of each cell; beyond the ends, of the end."""
    matrix = np.zeros((pixels, cells))
    for pixel in range(pixels):
        source = (pixel + 0.5) * cells / pixels - 0.5
        for cell in range(math.floor(source) - 1, math.floor(source) + 3):
            matrix[pixel, min(max(cell, 0), cells - 1)] += kernel(source - cell)
    return matrix


@given(prediction=predictions(("inside", "overhanging", "whole", "tiny", "empty", "reversed")))
def test_keypoints_are_the_definition(backend: Backend, prediction) -> None:
    heatmaps, boxes = (array.astype(np.float64) for array in prediction)
    heatmaps = np.nan_to_num(heatmaps, posinf=3, neginf=-3)
    keypoints = backend("heatmaps_to_keypoints", heatmaps, boxes)
    assert keypoints.shape == (*heatmaps.shape[:2], 3)
    for (n, k), _ in np.ndenumerate(keypoints[..., 0]):
        side_x, side_y = np.maximum(boxes[n, 2:] - boxes[n, :2], 1)
        width, height = math.ceil(side_x), math.ceil(side_y)
        rows, cols = heatmaps.shape[2:]
        resized = resize_matrix(height, rows) @ heatmaps[n, k] @ resize_matrix(width, cols).T
        x, y, score = keypoints[n, k]
        at = ((x - boxes[n, 0]) / side_x, (y - boxes[n, 1]) / side_y)
        pixel = (at[0] * width - 0.5, at[1] * height - 0.5)
        column, row = (round(p) for p in pixel)
        np.testing.assert_allclose(pixel, [column, row], rtol=0, atol=1e-6)
        assert 0 <= column < width
        assert 0 <= row < height
        np.testing.assert_allclose([score, resized[row, column]], resized.max(), atol=1e-12)


def test_keypoints_equal_torchvisions(backend: Backend) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

    rng = np.random.default_rng(0)
    low = rng.uniform(0, 500, (12, 2))
    boxes = np.concatenate([low, low + np.exp(rng.uniform(-1, 6, (12, 2)))], 1).astype(np.float32)
    heatmaps = rng.standard_normal((12, 5, 56, 56)).astype(np.float32)
    places, scores = heatmaps_to_keypoints(torch.from_numpy(heatmaps), torch.from_numpy(boxes))
    ours = backend("heatmaps_to_keypoints", heatmaps, boxes)
    assert_equal(ours[..., :2], places.numpy()[..., :2])
    np.testing.assert_allclose(ours[..., 2], scores.numpy(), rtol=0, atol=3e-5)


def test_a_map_of_the_boxs_own_size_is_not_changed(backend: Backend) -> None:
    rng = np.random.default_rng(0)
    heatmaps = rng.standard_normal((1, 6, 9, 12)).astype(np.float32)
    boxes = np.array([[3, 5, 15, 14]], np.float32)
    keypoints = backend("heatmaps_to_keypoints", heatmaps, boxes)
    for k, heatmap in enumerate(heatmaps[0]):
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        assert_equal(keypoints[0, k], np.array([x + 3.5, y + 5.5, heatmap.max()], np.float32))


def test_the_first_of_equal_maxima(backend: Backend) -> None:
    heatmap = np.zeros((1, 1, 20, 20), np.float32)
    heatmap[0, 0, [4, 4, 7, 7], [17, 3, 0, 9]] = 2
    box = np.array([[0, 0, 20, 20]], np.float32)
    keypoints = backend("heatmaps_to_keypoints", heatmap, box)
    assert_equal(keypoints, np.array([[[3.5, 4.5, 2]]], np.float32))
    constant = backend("heatmaps_to_keypoints", np.full_like(heatmap, -7), box)
    assert_equal(constant, np.array([[[0.5, 0.5, -7]]], np.float32))


def test_the_first_nan_is_the_maximum(backend: Backend) -> None:
    heatmap = np.zeros((1, 2, 20, 20), np.float32)
    heatmap[0, :, 2, 2] = 5
    heatmap[0, 0, [12, 15], [9, 2]] = np.nan
    box = np.array([[0, 0, 20, 20]], np.float32)
    first, second = backend("heatmaps_to_keypoints", heatmap, box)[0]
    # At the map's own size a pixel reads its cell with weight 1 and three of weight 0, times NaN:
    # the cells from one before to two after it, on each axis.
    assert_equal(first, np.array([7.5, 10.5, np.nan], np.float32))
    assert_equal(second, np.array([2.5, 2.5, 5], np.float32))


def test_a_map_of_minus_infinities_is_answered(backend: Backend) -> None:
    heatmap = np.full((1, 1, 1, 1), -np.inf, np.float32)
    keypoints = backend("heatmaps_to_keypoints", heatmap, np.array([[0, 0, 3, 3]], np.float32))
    assert_equal(keypoints[0, 0, :2], np.array([0.5, 0.5], np.float32))
    assert not np.isfinite(keypoints[0, 0, 2])


def test_boxes_that_are_not_finite_give_zeros(backend: Backend) -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array(
        [[nan, 0, 5, 5], [0, nan, 5, 5], [0, 0, inf, 5], [0, -inf, 5, 5], [0, 0, 5, nan],
         [-3e38, 0, 3e38, 5], [1, 1, 3, 3]], np.float32,
    )  # fmt: skip
    keypoints = backend("heatmaps_to_keypoints", np.ones((7, 2, 4, 4), np.float32), boxes)
    assert not keypoints[:-1].any()
    assert_equal(keypoints[-1], np.array([[1.5, 1.5, 1]] * 2, np.float32))


@pytest.mark.parametrize("high", [(4097, 5), (1e6, 5), (5, 1e12), (1e30, 1), (0.5, 3e38)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_enormous_boxes_are_resized_to_4096(compiled: Backend, high, dtype) -> None:
    heatmap = np.random.default_rng(0).standard_normal((1, 1, 7, 7)).astype(dtype)
    boxes = np.array([[0, 0, *high]], dtype)
    expected = reference.heatmaps_to_keypoints(heatmap, boxes)
    got = compiled("heatmaps_to_keypoints", heatmap, boxes)
    assert_equal(got, expected)
    assert np.isfinite(got).all()
    # the place is the centre of one of at most 4096 pixels along each side
    for at, side in zip(got[0, 0, :2], np.maximum(boxes[0, 2:], 1), strict=True):
        pixel = float(at) / float(side) * min(math.ceil(side), 4096) - 0.5
        assert abs(pixel - round(pixel)) < 1e-2


def test_a_box_enormous_on_both_sides(compiled: Backend) -> None:
    heatmap = np.zeros((1, 1, 4, 4), np.float32)
    heatmap[0, 0, 2, 1] = 1
    extent = np.float32(1e30)
    box = np.array([[-extent, -extent, extent, extent]])
    x, y, score = compiled("heatmaps_to_keypoints", heatmap, box)[0, 0]
    assert abs(x / extent + 0.25) < 1e-3  # the centres of cells 1 and 2 of 4
    assert abs(y / extent - 0.25) < 1e-3
    assert abs(score - 1) < 1e-3  # no pixel has its centre in the cell's


@pytest.mark.parametrize("shape", [(0, 17), (3, 0), (0, 0)])
def test_nothing_in(backend: Backend, shape) -> None:
    boxes = np.ones((shape[0], 4), np.float32)
    cells, valid = backend("keypoints_to_heatmap", np.ones((*shape, 3), np.float32), boxes, 7)
    assert_equal(cells, np.zeros(shape, np.int64))
    assert_equal(valid, np.zeros(shape, np.int64))
    keypoints = backend("heatmaps_to_keypoints", np.ones((*shape, 5, 5), np.float32), boxes)
    assert_equal(keypoints, np.zeros((*shape, 3), np.float32))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_arrays_are_read_as_float32(compiled: Backend, dtype) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 40, (5, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 40, (5, 2))], 1).astype(dtype)
    heatmaps = rng.standard_normal((5, 3, 7, 7)).astype(dtype)
    keypoints = np.concatenate([rng.uniform(0, 60, (5, 3, 2)), np.ones((5, 3, 1))], 2).astype(dtype)
    wide = [array.astype(np.float32) for array in (heatmaps, keypoints, boxes)]
    got = compiled("heatmaps_to_keypoints", heatmaps, boxes)
    assert_same_bits(got, compiled("heatmaps_to_keypoints", wide[0], wide[2]))
    # half heatmaps of a model under autocast, its boxes float32
    assert_same_bits(compiled("heatmaps_to_keypoints", heatmaps, wide[2]), got)
    for one, other in zip(
        compiled("keypoints_to_heatmap", keypoints, boxes, 56),
        compiled("keypoints_to_heatmap", wide[1], wide[2], 56),
        strict=True,
    ):
        assert_equal(one, other)
        assert one.any()


@given(annotation=annotations(("inside", "whole")), size=st.sampled_from([2, 5]))
def test_a_decoded_target_is_near_its_keypoint(backend: Backend, annotation, size) -> None:
    """Encoding, a peak in that cell, decoding: back to within a cell and a pixel, where the box
    has a pixel per cell."""
    keypoints, boxes, _ = annotation
    cells, valid = backend("keypoints_to_heatmap", keypoints, boxes, size)
    heatmaps = np.zeros((*cells.shape, size * size), keypoints.dtype)
    np.put_along_axis(heatmaps, cells[..., None], 10, axis=2)
    decoded = backend("heatmaps_to_keypoints", heatmaps.reshape(*cells.shape, size, size), boxes)
    distance = np.abs(decoded[..., :2] - keypoints[..., :2])
    reach = (boxes[:, None, 2:] - boxes[:, None, :2]) / size + 1
    resolved = (boxes[:, 2:] - boxes[:, :2] >= size).all(axis=1)
    assert (distance <= reach)[(valid == 1) & resolved[:, None]].all()
