"""cell_anchors and grid_anchors in the three conventions."""

import math

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal
from hypothesis import given
from hypothesis import strategies as st
from strategies import float_dtypes

from roiops import reference

CONVENTIONS = ("torchvision", "detectron2", "detectron")
RATIOS = (0.25, 0.5, 1.0, 2.0, 3.0)


@st.composite
def grids(draw: st.DrawFn, square: bool = False) -> dict:
    levels = draw(st.integers(1, 3))
    stride = st.integers(1, 64)
    one_stride = stride if square else st.one_of(stride, st.tuples(stride, stride))
    sizes = st.lists(st.sampled_from([1, 8, 23, 32, 45.5, 128, 512]), min_size=1, max_size=3)
    ratios = st.lists(st.sampled_from(RATIOS), min_size=1, max_size=3)
    return {
        "feature_sizes": [
            (draw(st.integers(0, 5)), draw(st.integers(0, 5))) for _ in range(levels)
        ],
        "strides": [draw(one_stride) for _ in range(levels)],
        "sizes": [tuple(draw(sizes)) for _ in range(levels)],
        "aspect_ratios": [tuple(draw(ratios)) for _ in range(levels)],
    }


def close(got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Equal but for the last bit of coordinates below a few thousand."""
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=4096 * np.finfo(one.dtype).eps)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(data=st.data(), dtype=float_dtypes)
def test_is_the_references(compiled: Backend, convention, data, dtype) -> None:
    grid = data.draw(grids(square=convention == "detectron"))
    options = {"convention": convention, "like": np.zeros(1, dtype)}
    got = compiled("grid_anchors", **grid, **options)
    expected = reference.grid_anchors(**grid, **options)
    close(got, expected)
    if convention == "torchvision":  # whole numbers: every bit
        for one, other in zip(got, expected, strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(data=st.data())
def test_order_and_places(backend: Backend, convention, data) -> None:
    # anchor (y, x, a) is anchor (0, 0, a) moved by whole strides
    grid = data.draw(grids(square=convention == "detectron"))
    levels = backend("grid_anchors", **grid, convention=convention)
    for k, anchors in enumerate(levels):
        (height, width), stride = grid["feature_sizes"][k], grid["strides"][k]
        stride_y, stride_x = stride if isinstance(stride, tuple) else (stride, stride)
        count = len(grid["sizes"][k]) * len(grid["aspect_ratios"][k])
        assert anchors.shape == (height * width * count, 4)
        assert anchors.dtype == np.float32
        if not len(anchors):
            continue
        anchors = anchors.reshape(height, width, count, 4)
        y, x = np.mgrid[:height, :width]
        shift = np.stack([x * stride_x, y * stride_y] * 2, axis=-1)[:, :, None]
        np.testing.assert_allclose(anchors, anchors[:1, :1] + shift, atol=1e-3)


def cell(backend: Backend, convention: str, stride: int, sizes: tuple, ratios: tuple) -> np.ndarray:
    options = {"convention": convention, "stride": stride, "like": np.zeros(1, np.float64)}
    return backend("cell_anchors", sizes, ratios, **options)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(data=st.data(), dtype=float_dtypes)
def test_a_grid_of_one_cell_has_the_cells_anchors(backend, convention, data, dtype) -> None:
    grid = data.draw(grids(square=convention == "detectron"))
    options = {"convention": convention, "like": np.zeros(1, dtype)}
    grid["feature_sizes"] = [(1, 1)] * len(grid["sizes"])
    for level, anchors in enumerate(backend("grid_anchors", **grid, **options)):
        shapes = grid["sizes"][level], grid["aspect_ratios"][level]
        stride = grid["strides"][level]
        if convention != "detectron":
            stride = data.draw(st.sampled_from([None, 1, 7.5]))  # it does not count
        assert_equal(backend("cell_anchors", *shapes, stride=stride, **options), anchors)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(data=st.data(), dtype=float_dtypes)
def test_the_cell_is_the_references(compiled: Backend, convention, data, dtype) -> None:
    grid = data.draw(grids(square=True))
    options = {"convention": convention, "like": np.zeros(1, dtype), "stride": grid["strides"][0]}
    shapes = grid["sizes"][0], grid["aspect_ratios"][0]
    got = compiled("cell_anchors", *shapes, **options)
    close([got], [reference.cell_anchors(*shapes, **options)])


def test_no_anchors_in_a_cell(backend: Backend) -> None:
    assert_equal(backend("cell_anchors", (), (1.0,)), np.zeros((0, 4), np.float32))


def test_torchvision_cell_by_hand(backend: Backend) -> None:
    # Ratio by ratio, all sizes of one; half widths are rounded, halves to the even number.
    anchors = cell(backend, "torchvision", 16, (25, 32), (1.0, 0.25))
    assert_equal(
        anchors,
        np.array(
            [[-12, -12, 12, 12], [-16, -16, 16, 16], [-25, -6, 25, 6], [-32, -8, 32, 8]], np.float64
        ),
    )


def test_detectron2_cell_by_hand(backend: Backend) -> None:
    # Size by size, all ratios of one, nothing rounded.
    anchors = cell(backend, "detectron2", 16, (23, 32), (1.0, 2.0))
    wide, high = 23 / math.sqrt(2) / 2, 23 * math.sqrt(2) / 2
    np.testing.assert_allclose(anchors[0], [-11.5, -11.5, 11.5, 11.5])
    np.testing.assert_allclose(anchors[1], [-wide, -high, wide, high])
    np.testing.assert_allclose(anchors[2], [-16, -16, 16, 16])


def test_detectron_cell_is_the_published_one(backend: Backend) -> None:
    # The table in the comments of Faster R-CNN's generate_anchors.py, whose rows count from 1.
    anchors = cell(backend, "detectron", 16, (128, 256, 512), (0.5, 1.0, 2.0))
    published = np.array(
        [
            [-83, -39, 100, 56],
            [-175, -87, 192, 104],
            [-359, -183, 376, 200],
            [-55, -55, 72, 72],
            [-119, -119, 136, 136],
            [-247, -247, 264, 264],
            [-35, -79, 52, 96],
            [-79, -167, 96, 184],
            [-167, -343, 184, 360],
        ],
        np.float64,
    )
    assert_equal(anchors, published - 1)


@given(grid=grids(), dtype=float_dtypes)
def test_equals_torchvision(backend: Backend, grid, dtype) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    generator = AnchorGenerator(tuple(grid["sizes"]), tuple(grid["aspect_ratios"]))
    like = torch.zeros(1, dtype=torch.float32 if dtype is np.float32 else torch.float64)
    generator.set_cell_anchors(like.dtype, like.device)
    strides = [
        [torch.tensor(s) for s in (stride if isinstance(stride, tuple) else (stride, stride))]
        for stride in grid["strides"]
    ]
    theirs = generator.grid_anchors(grid["feature_sizes"], strides)
    ours = backend("grid_anchors", **grid, like=np.zeros(1, dtype))
    for one, other in zip(ours, theirs, strict=True):
        assert_equal(one, other.numpy())
