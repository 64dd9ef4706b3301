"""roi_pool: against the reference, the definition and torchvision; its gradients."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_equal, assert_same_bits, assert_sums_agree
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    CHANNELS,
    EVERY_KIND,
    ORDINARY,
    box_arrays,
    channels_last,
    float_dtypes,
    generators,
    layouts,
    several_times,
    to_rois,
)

from roiops import reference


@st.composite
def maps_and_rois(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND):
    """(map (N, C, H, W) with many equal values, rois (K, 5), output size, generator)."""
    rng = draw(generators)
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from(CHANNELS)),
             draw(st.integers(1, 12)), draw(st.integers(1, 12)))  # fmt: skip
    boxes = draw(box_arrays(kinds, 1, 5, extent=2.0 * max(shape[2:])))
    rois = to_rois(boxes, shape[0], rng).astype(draw(float_dtypes))
    map = rng.standard_normal(shape)
    if draw(st.booleans()):
        map = np.round(map)
    size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return map.astype(draw(float_dtypes)), rois, size, rng


@several_times
@given(maps_and_rois(), layouts, layouts)
def test_forward_is_the_references(compiled: Backend, case, layout, box_layout) -> None:
    map, rois, size, _ = case
    expected = reference.roi_pool(map, rois, size, 0.5)
    assert_equal(compiled("roi_pool", layout(map), box_layout(rois), size, 0.5), expected)


@several_times
@given(maps_and_rois(), layouts)
def test_backward_is_the_references(compiled: Backend, case, layout) -> None:
    map, rois, size, rng = case
    grad = rng.standard_normal((len(rois), map.shape[1], *size)).astype(map.dtype)
    expected = reference.roi_pool_backward(grad, map, rois, 0.5)
    got = compiled("roi_pool_backward", grad, layout(map), rois, 0.5)
    assert_sums_agree(got, expected, np.abs(grad).sum(), 1 + grad[:, 0].size)


@given(maps_and_rois(ORDINARY))
def test_a_bin_is_the_maximum_of_the_cells_it_touches(backend: Backend, case) -> None:
    map, rois, (rows, cols), _ = case
    got = backend("roi_pool", map, rois.astype(np.float64), (rows, cols), 0.5)
    for k, roi in enumerate(rois.astype(np.float64)):
        x1, y1, x2, y2 = np.sign(roi[1:]) * np.floor(np.abs(roi[1:] / 2) + 0.5)
        high, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i in range(rows):
            for j in range(cols):
                # A cell [c, c + 1) is touched by the bin (lo, hi) if they overlap at all.
                top, bottom = y1 + i * (high / rows), y1 + (i + 1) * (high / rows)
                left, right = x1 + j * (wide / cols), x1 + (j + 1) * (wide / cols)
                ys = [c for c in range(map.shape[2]) if top < c + 1 and bottom > c]
                xs = [c for c in range(map.shape[3]) if left < c + 1 and right > c]
                cells = map[int(roi[0])][:, ys][:, :, xs].reshape(map.shape[1], -1)
                expected = cells.max(1) if ys and xs else np.zeros(map.shape[1])
                np.testing.assert_array_equal(got[k, :, i, j], expected)


def test_the_first_of_equal_cells_gets_the_gradient(backend: Backend) -> None:
    map = np.zeros((1, 2, 3, 3), np.float32)
    map[0, 1, 1:, 1:] = 5
    grad = np.ones((1, 2, 1, 1), np.float32)
    rois = np.array([[0, 0, 0, 2, 2]], np.float32)
    got = backend("roi_pool_backward", grad, map, rois, 1.0)
    assert got[0, 0, 0, 0] == 1
    assert got[0, 1, 1, 1] == 1
    assert got.sum() == 2


def test_a_nan_is_the_maximum_and_gets_the_gradient(backend: Backend) -> None:
    map = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    map[0, 0, 1, 0] = map[0, 0, 2, 1] = np.nan
    rois = np.array([[0, 0, 0, 2, 2]], np.float32)
    assert np.isnan(backend("roi_pool", map, rois, 1, 1.0)).all()
    got = backend("roi_pool_backward", np.ones((1, 1, 1, 1), np.float32), map, rois, 1.0)
    assert got[0, 0, 1, 0] == 1
    assert got.sum() == 1


def test_threads_and_layout_do_not_change_a_bit(compiled: Backend) -> None:
    rng = np.random.default_rng(0)
    map = rng.standard_normal((2, 50, 40, 60)).astype(np.float32)
    low = rng.uniform(-20, 200, (500, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 150, (500, 2))], 1)
    rois = to_rois(boxes, 2, rng).astype(np.float32)
    grad = rng.standard_normal((500, 50, 7, 7)).astype(np.float32)
    compiled.ops.set_num_threads(1)
    out = compiled("roi_pool", map, rois, 7, 0.25)
    back = compiled("roi_pool_backward", grad, map, rois, 0.25)
    for threads in (1, 2, 4):
        compiled.ops.set_num_threads(threads)
        for layout in (np.ascontiguousarray, channels_last):
            assert_same_bits(compiled("roi_pool", layout(map), rois, 7, 0.25), out)
            assert_same_bits(compiled("roi_pool_backward", grad, layout(map), rois, 0.25), back)


def test_errors_name_the_function() -> None:
    import roiops

    map, rois = np.zeros((1, 1, 4, 4), np.float32), np.zeros((1, 5), np.float32)
    with pytest.raises(ValueError, match=r"roi_pool: input must have shape \(N, C, H, W\)"):
        roiops.roi_pool(map[0], rois, 2)
    with pytest.raises(ValueError, match=r"roi_pool: boxes must have shape \(K, 5\)"):
        roiops.roi_pool(map, rois[:, 1:], 2)
    with pytest.raises(IndexError, match=r"roi_pool: boxes\[0, 0\].*\[0, 1\); got 7"):
        roiops.roi_pool(map, rois + 7, 2)
    with pytest.raises(TypeError, match=r"roi_pool: input must be float16.*got int64"):
        roiops.roi_pool(map.astype(np.int64), rois, 2)
    with pytest.raises(ValueError, match=r"roi_pool_backward: grad_output must have shape \(1, 1"):
        roiops.roi_pool_backward(np.zeros((2, 1, 2, 2), np.float32), map, rois)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    import roiops

    map = torch.randn(2, 3, 7, 8, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1, 1, 5, 6.0], [1, 2, 0, 9, 3], [0, 30, 30, 40, 40]]).double()
    got = roiops.roi_pool(map, rois, (2, 3), 0.9)
    assert_same_bits(
        got.detach().numpy(), roiops.roi_pool(map.detach().numpy(), rois.numpy(), (2, 3), 0.9)
    )
    pool = lambda m: roiops.roi_pool(m, rois, (2, 3), 0.9)  # noqa: E731
    assert torch.autograd.gradcheck(pool, map)
    assert torch.autograd.gradgradcheck(pool, map)


@given(maps_and_rois(ORDINARY))
def test_equals_torchvision(case) -> None:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    import roiops

    map, rois, size, rng = case
    rois = rois.astype(map.dtype)
    expected_map, map_ = (torch.from_numpy(map).clone().requires_grad_() for _ in range(2))
    expected = torchvision.ops.roi_pool(expected_map, torch.from_numpy(rois), size, 0.5)
    got = roiops.roi_pool(map_, torch.from_numpy(rois), size, 0.5)
    assert torch.equal(got, expected)
    grad = torch.from_numpy(rng.standard_normal(expected.shape).astype(map.dtype))
    expected.backward(grad)
    got.backward(grad)
    torch.testing.assert_close(map_.grad, expected_map.grad)


def test_no_channels_cost_nothing(compiled: Backend) -> None:
    size = (2**31 - 1, 1)
    got = compiled("roi_pool", np.zeros((1, 0, 5, 5), np.float32), np.zeros((2, 5)), size)
    assert got.shape == (2, 0, *size)


def test_no_channels(backend: Backend) -> None:
    features, rois = np.zeros((1, 0, 4, 4), np.float32), np.zeros((1, 5), np.float32)
    assert backend("roi_pool", features, rois, 2).shape == (1, 0, 2, 2)
    grad = np.zeros((1, 0, 2, 2), np.float32)
    assert backend("roi_pool_backward", grad, features, rois).shape == features.shape


def test_a_map_with_an_enormous_side_is_refused_or_right(compiled: Backend) -> None:
    # Without the memory: a stride of 0. 2^30 is the longest side whose coordinates fit an int32.
    one = np.ones(1, np.float32)
    rois = np.array([[0, 2**30 - 300, 0, 2**30, 1]], np.float32)
    longest = np.broadcast_to(one, (1, 1, 1, 2**30))
    assert compiled("roi_pool", longest, rois, 1) == 1
    with pytest.raises(ValueError, match=r"H, W from 1 to 2\^30"):
        compiled("roi_pool", np.broadcast_to(one, (1, 1, 1, 2**30 + 1)), rois, 1)
