"""ps_roi_pool: against the reference, the definition and torchvision; its gradients."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_same_bits, assert_sums_agree
from hypothesis import given
from strategies import EVERY_KIND, ORDINARY, layouts, several_times
from test_ps_roi_align import grad_for, maps_and_rois

from roiops import reference

# Whole cells, so every term is rounded a few times only; a bin has at most 11 x 11 of them.
TERMS = 130


@several_times
@given(maps_and_rois(EVERY_KIND), layouts, layouts)
def test_forward_is_the_references(compiled: Backend, case, layout, box_layout) -> None:
    map, rois, size, _ = case
    expected = reference.ps_roi_pool(map, rois, size, 0.5)
    got = compiled("ps_roi_pool", layout(map), box_layout(rois), size, 0.5)
    assert_sums_agree(got, expected, np.abs(map).max(), TERMS)


@several_times
@given(maps_and_rois(EVERY_KIND), layouts, layouts)
def test_backward_is_the_references(compiled: Backend, case, layout, grad_layout) -> None:
    map, rois, size, rng = case
    grad = grad_for(map, rois, size, rng)
    expected = reference.ps_roi_pool_backward(grad, map, rois, 0.5)
    got = compiled("ps_roi_pool_backward", grad_layout(grad), layout(map), rois, 0.5)
    assert_sums_agree(got, expected, np.abs(grad).max(), len(rois) * TERMS)


@given(maps_and_rois(ORDINARY))
def test_a_bin_is_the_mean_of_the_cells_it_touches(backend: Backend, case) -> None:
    map, rois, (rows, cols), _ = case
    got = backend("ps_roi_pool", map, rois.astype(np.float64), (rows, cols), 0.5)
    for k, roi in enumerate(rois.astype(np.float64)):
        x1, y1, x2, y2 = np.sign(roi[1:]) * np.floor(np.abs(roi[1:] / 2) + 0.5)
        high, wide = max(y2 - y1, 1), max(x2 - x1, 1)
        for i in range(rows):
            for j in range(cols):
                # A cell [c, c + 1) is touched by the bin (lo, hi) if they overlap at all. The last
                # row and column are never read.
                top, bottom = y1 + i * (high / rows), y1 + (i + 1) * (high / rows)
                left, right = x1 + j * (wide / cols), x1 + (j + 1) * (wide / cols)
                ys = [c for c in range(map.shape[2] - 1) if top < c + 1 and bottom > c]
                xs = [c for c in range(map.shape[3] - 1) if left < c + 1 and right > c]
                own = map[int(roi[0]), i * cols + j :: rows * cols].astype(np.float64)
                expected = np.zeros(len(own))
                if ys and xs:
                    expected = own[:, ys][:, :, xs].mean(axis=(1, 2))
                np.testing.assert_allclose(got[k, :, i, j], expected, atol=1e-5)


def test_the_gradient_is_shared_by_the_cells_of_the_bin(backend: Backend) -> None:
    # Output channel 1 at bin (0, 1) of 1 x 2 reads input channel (1 * 1 + 0) * 2 + 1 = 3; the box
    # from (1, 1) to (5, 4) ends before row 4 and column 5.
    map, rois = np.zeros((1, 4, 8, 8), np.float32), np.array([[0, 1, 1, 5, 4]], np.float32)
    grad = np.zeros((1, 2, 1, 2), np.float32)
    grad[0, 1, 0, 1] = 6
    expected = np.zeros_like(map)
    expected[0, 3, 1:4, 3:5] = 1
    got = backend("ps_roi_pool_backward", grad, map, rois)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_ends_are_rounded_away_from_zero(backend: Backend) -> None:
    # 0.5 → 1, 2.5 → 3, -0.5 → -1: half to even would give 0, 2, -0.
    ramp = np.arange(8.0).reshape(1, 1, 1, 8) * np.ones((1, 1, 2, 8))
    rois = np.array([[0, 0.5, 0, 2.5, 1], [0, 1, 0, 3, 1], [0, -2.5, 0, 4.5, 1], [0, 2, 0, 2, 0]])
    got = backend("ps_roi_pool", ramp, rois, 1)
    np.testing.assert_allclose(got.ravel(), [1.5, 1.5, 2, 2], rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_boxes_that_are_not_finite_give_zeros(backend: Backend, bad, side) -> None:
    map = np.ones((1, 8, 6, 6), np.float32)
    rois = np.array([[0, 1, 1, 4, 4], [0, 1, 1, 4, 4]], np.float32)
    rois[1, side] = bad
    got = backend("ps_roi_pool", map, rois, 2)
    assert (got[0] == 1).all()
    assert (got[1] == 0).all()
    by_map = backend("ps_roi_pool_backward", np.ones_like(got), map, rois)
    np.testing.assert_allclose(by_map.sum(), got[0].size, rtol=1e-5)  # the first box's alone


def test_enormous_boxes_and_maps_of_one_row(backend: Backend) -> None:
    map = np.random.default_rng(0).standard_normal((1, 9, 6, 7))
    for extent in (1e5, 1e12, 1e30, 1e300):
        got = backend("ps_roi_pool", map, np.array([[0, -extent, -extent, extent, extent]]), 3)
        expected = np.zeros((3, 3))
        expected[1, 1] = map[0, 4, :5, :6].mean()
        np.testing.assert_allclose(got[0, 0], expected, atol=1e-12)
    assert not backend("ps_roi_pool", map[:, :, :1], np.array([[0, 0, 0, 5, 5.0]]), 3).any()


@given(maps_and_rois((*ORDINARY, "far", "tiny", "empty", "reversed", "half_reversed")))
def test_equals_torchvision(case) -> None:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    import roiops

    map, rois, size, _ = case
    map, rois = torch.from_numpy(map), torch.from_numpy(rois.astype(map.dtype))
    expected = torchvision.ops.ps_roi_pool(map, rois, size, 0.5)
    got = roiops.ps_roi_pool(map, rois, size, 0.5)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_gradient_equals_torchvision_off_the_last_row_and_column() -> None:
    # There torchvision's is not the gradient of its values, which do not depend on those cells.
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    import roiops

    generator = torch.Generator().manual_seed(0)
    low = 12 * torch.rand((40, 2), generator=generator, dtype=torch.float64) - 6
    high = low + 8 * torch.rand((40, 2), generator=generator, dtype=torch.float64)
    image = (torch.arange(40) % 2)[:, None]
    rois = torch.cat([image, low, high], 1)  # up to 14, on 20 x 18 cells
    maps = [torch.zeros(2, 18, 20, 18, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    expected = torchvision.ops.ps_roi_pool(maps[0], rois, 3)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    expected.backward(grad)
    roiops.ps_roi_pool(maps[1], rois, 3).backward(grad)
    torch.testing.assert_close(maps[1].grad, maps[0].grad)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    import roiops

    map = torch.randn(2, 12, 7, 8, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1, 1, 5, 6.0], [1, 2, 0, 9, 3], [0, 30, 30, 40, 40]]).double()
    rois.requires_grad_()
    got = roiops.ps_roi_pool(map, rois, (2, 3), 0.9)
    arrays = map.detach().numpy(), rois.detach().numpy()
    assert_same_bits(got.detach().numpy(), roiops.ps_roi_pool(*arrays, (2, 3), 0.9))
    pool = lambda m: roiops.ps_roi_pool(m, rois, (2, 3), 0.9)  # noqa: E731
    assert torch.autograd.gradcheck(pool, map)
    assert torch.autograd.gradgradcheck(pool, map)
    got.sum().backward()
    assert rois.grad is None  # boxes have no gradient
