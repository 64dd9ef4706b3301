"""ps_roi_align: against the reference, roi_align of each bin's channels, and torchvision."""

import numpy as np
import pytest
from backends import Backend
from comparison import assert_same_bits, assert_sums_agree
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

sampling_ratios = st.sampled_from(SAMPLING_RATIOS)


@st.composite
def maps_and_rois(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND):
    """(map (N, C PH PW, H, W), rois (K, 5), (PH, PW), generator)."""
    rng = draw(generators)
    size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    channels = draw(st.sampled_from(CHANNELS)) * size[0] * size[1]
    shape = draw(st.integers(1, 2)), channels, draw(st.integers(1, 11)), draw(st.integers(1, 11))
    boxes = draw(box_arrays(kinds, 1, 5, extent=2.0 * max(shape[2:])))
    rois = to_rois(boxes, shape[0], rng).astype(draw(float_dtypes))
    return rng.standard_normal(shape).astype(draw(float_dtypes)), rois, size, rng


def grad_for(map: np.ndarray, rois: np.ndarray, size: tuple[int, int], rng) -> np.ndarray:
    channels = map.shape[1] // (size[0] * size[1])
    return rng.standard_normal((len(rois), channels, *size)).astype(map.dtype)


@several_times
@given(maps_and_rois(), layouts, layouts, sampling_ratios)
def test_forward_is_the_references(
    compiled: Backend, case, layout, box_layout, sampling_ratio
) -> None:
    map, rois, size, _ = case
    expected = reference.ps_roi_align(map, rois, size, 0.5, sampling_ratio)
    got = compiled("ps_roi_align", layout(map), box_layout(rois), size, 0.5, sampling_ratio)
    assert_sums_agree(got, expected, np.abs(map).max(), TERMS)


@several_times
@given(maps_and_rois(), layouts, layouts, sampling_ratios)
def test_backward_is_the_references(
    compiled: Backend, case, layout, grad_layout, sampling_ratio
) -> None:
    map, rois, size, rng = case
    grad = grad_for(map, rois, size, rng)
    expected = reference.ps_roi_align_backward(grad, map, rois, 0.5, sampling_ratio)
    got = compiled(
        "ps_roi_align_backward", grad_layout(grad), layout(map), rois, 0.5, sampling_ratio
    )
    for g, e in zip(got, expected, strict=True):
        # The narrower of the two types decides: a gradient of float64 boxes of float32 features
        # is a sum of float32 terms.
        eps = max(np.finfo(map.dtype).eps, np.finfo(rois.dtype).eps) / np.finfo(e.dtype).eps
        magnitude = 4 * np.abs(map).max() * np.abs(grad).sum()
        assert_sums_agree(g, e, magnitude, TERMS * eps)


@given(maps_and_rois(), sampling_ratios)
def test_a_bin_is_roi_align_of_its_channels(backend: Backend, case, sampling_ratio) -> None:
    map, rois, (rows, cols), rng = case
    grad = grad_for(map, rois, (rows, cols), rng)
    options = (0.5, sampling_ratio)
    got = backend("ps_roi_align", map, rois, (rows, cols), *options)
    got_map, got_rois = backend("ps_roi_align_backward", grad, map, rois, *options)
    expected_rois = np.zeros(rois.shape)
    magnitude = np.abs(map).max()
    for ph in range(rows):
        for pw in range(cols):
            own = np.ascontiguousarray(map[:, ph * cols + pw :: rows * cols])
            pooled = backend("roi_align", own, rois, (rows, cols), *options, True)
            assert_sums_agree(got[:, :, ph, pw], pooled[:, :, ph, pw], magnitude, TERMS)
            one = np.zeros_like(grad)
            one[:, :, ph, pw] = grad[:, :, ph, pw]
            by_map, by_rois = backend("roi_align_backward", one, own, rois, *options, True)
            assert_sums_agree(
                got_map[:, ph * cols + pw :: rows * cols], by_map, np.abs(grad).sum(), TERMS
            )
            expected_rois += by_rois
    eps = max(np.finfo(map.dtype).eps, np.finfo(rois.dtype).eps) / np.finfo(rois.dtype).eps
    bound = 4 * magnitude * np.abs(grad).sum()
    assert_sums_agree(got_rois, expected_rois.astype(rois.dtype), bound, TERMS * eps)


def test_no_other_channel_is_read(backend: Backend) -> None:
    # Output channel 4 at bin (1, 2) of 2 x 3: input channel (4 * 2 + 1) * 3 + 2 = 29.
    map = np.full((2, 30, 9, 9), np.nan, np.float32)
    map[1, 29] = 7
    rois = np.array([[1, 2, 2, 7, 7]], np.float32)
    got = backend("ps_roi_align", map, rois, (2, 3), 1.0, 2)
    np.testing.assert_allclose(got[0, 4, 1, 2], 7, rtol=1e-6)
    assert np.isnan(got).sum() == got.size - 1
    grad = np.zeros((1, 5, 2, 3), np.float32)
    grad[0, 4, 1, 2] = 1
    by_map, _ = backend("ps_roi_align_backward", grad, np.zeros_like(map), rois, 1.0, 2)
    assert {tuple(place[:2]) for place in np.argwhere(by_map)} == {(1, 29)}
    np.testing.assert_allclose(by_map.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_boxes_that_are_not_finite_give_zeros(backend: Backend, bad, side) -> None:
    map = np.ones((1, 8, 6, 6), np.float32)
    rois = np.array([[0, 1, 1, 4, 4], [0, 1, 1, 4, 4]], np.float32)
    rois[1, side] = bad
    got = backend("ps_roi_align", map, rois, 2)
    assert (got[0] == 1).all()
    assert (got[1] == 0).all()
    by_map, by_rois = backend("ps_roi_align_backward", np.ones_like(got), map, rois)
    np.testing.assert_allclose(by_map.sum(), got[0].size, rtol=1e-5)  # the first box's alone
    assert (by_rois[1] == 0).all()


def test_an_empty_box(backend: Backend) -> None:
    # torchvision divides by no samples: NaN.
    map, rois = np.ones((1, 4, 6, 6)), np.array([[0, 3, 3, 3, 3], [0, 3, 1, 3, 4.0]])
    assert (backend("ps_roi_align", map, rois, 2) == 0).all()
    assert (backend("ps_roi_align", map, rois, 2, 1.0, 2) == 1).all()


def test_enormous_boxes_cost_no_more_than_the_map(backend: Backend) -> None:
    # With every sample visited this would take years: 2^20 cells around 8 x 8 ones, each bin of
    # 2^19 samples a side, of which those at -0.5, 0.5 ... 3.5 and at 4.5 ... 7.5 are worth 1.
    ones = np.ones((1, 4, 8, 8))
    half = 2.0**19
    rois = np.array([[0, 4.5 - half, 4.5 - half, 4.5 + half, 4.5 + half]])
    got = backend("ps_roi_align", ones, rois, 2)
    expected = np.outer([5, 4], [5, 4]) / 2.0**38
    np.testing.assert_allclose(got[0, 0], expected, rtol=1e-12)
    for extent in (1e9, 1e30, 1e150):
        got = backend("ps_roi_align", ones, np.array([[0, -extent, -extent, extent, extent]]), 2)
        assert np.isfinite(got).all()
        assert np.abs(got).max() <= 1


def test_lists_and_empty_lists(backend: Backend) -> None:
    map = np.random.default_rng(0).standard_normal((2, 12, 8, 8)).astype(np.float32)
    boxes = np.array([[1, 1, 5, 6], [0, 2, 7, 7]], np.float32)
    rois = np.array([[1, 1, 1, 5, 6], [1, 0, 2, 7, 7]], np.float32)
    expected = backend("ps_roi_align", map, rois, 2)
    assert_same_bits(backend("ps_roi_align", map, [boxes[:0], boxes], 2), expected)
    assert backend("ps_roi_align", map, rois[:0], 2).shape == (0, 3, 2, 2)
    assert backend("ps_roi_align", map[:0], rois[:0], 2).shape == (0, 3, 2, 2)
    assert backend("ps_roi_align", map[:, :0], rois, 2).shape == (2, 0, 2, 2)
    by_map, by_rois = backend("ps_roi_align_backward", expected[:0], map, rois[:0])
    assert by_map.shape == map.shape
    assert not by_map.any()
    assert by_rois.shape == (0, 5)


@given(maps_and_rois(ORDINARY), sampling_ratios)
def test_equals_torchvision(case, sampling_ratio) -> None:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    import roiops

    map, rois, size, rng = case
    rois = torch.from_numpy(rois.astype(map.dtype))
    their_map, our_map = (torch.from_numpy(map).clone().requires_grad_() for _ in range(2))
    expected = torchvision.ops.ps_roi_align(their_map, rois, size, 0.5, sampling_ratio)
    got = roiops.ps_roi_align(our_map, rois, size, 0.5, sampling_ratio)
    # Empty boxes are NaN there.
    torch.testing.assert_close(got, expected.nan_to_num(0.0), rtol=1e-5, atol=2e-5)
    grad = torch.from_numpy(grad_for(map, rois, size, rng))
    expected.backward(grad)
    got.backward(grad)
    torch.testing.assert_close(our_map.grad, their_map.grad, rtol=1e-5, atol=2e-5)


# --- torch ----------------------------------------------------------------------------------------


def smooth_inputs():
    """A map, boxes and their images without a sample near a kink."""
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    map = torch.randn((2, 12, 7, 8), dtype=torch.float64, generator=generator)
    boxes = torch.tensor(
        [[1.13, 0.82, 5.41, 4.67], [-1.29, 2.21, 6.53, 9.37], [3.17, 1.71, 9.87, 3.33]],
        dtype=torch.float64,
    )
    images = torch.tensor([[0.0], [1], [1]], dtype=torch.float64)
    return map.requires_grad_(), boxes.requires_grad_(), images


@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_gradcheck(sampling_ratio) -> None:
    map, boxes, images = smooth_inputs()
    import torch

    import roiops

    def align(map, boxes):
        rois = torch.cat([images, boxes], 1)
        return roiops.ps_roi_align(map, rois, (2, 3), 0.9, sampling_ratio)

    assert torch.autograd.gradcheck(align, (map, boxes))
    rois = boxes.detach()
    by_map = lambda map: align(map, rois)  # noqa: E731
    grad = torch.randn_like(by_map(map)).requires_grad_()
    assert torch.autograd.gradgradcheck(by_map, (map,), (grad,))


def test_the_mixed_derivative_is_refused() -> None:
    map, boxes, images = smooth_inputs()
    import torch

    import roiops

    pooled = roiops.ps_roi_align(map, torch.cat([images, boxes], 1), 2)
    for first in (map, boxes):
        (grad,) = torch.autograd.grad(pooled.sum(), first, create_graph=True)
        with pytest.raises(RuntimeError, match="ps_roi_align: the second derivative through boxes"):
            grad.sum().backward()


def test_memory_format_and_types_are_the_maps() -> None:
    torch = pytest.importorskip("torch")
    import roiops

    map = torch.randn(2, 36, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
    rois = torch.tensor([[0, 1, 1, 5, 6], [1, 2, 0, 8, 8]], dtype=torch.float64)
    got = roiops.ps_roi_align(map, rois.requires_grad_(), 3)
    got.sum().backward()
    assert got.dtype == map.grad.dtype == torch.float32
    assert rois.grad.dtype == torch.float64
    for x in (got, map.grad):
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_the_core_refuses_what_has_no_meaning() -> None:
    torch = pytest.importorskip("torch")
    import roiops.nn  # noqa: F401  registers the operators

    map, rois = torch.zeros(1, 4, 5, 5), torch.zeros(1, 5)
    with pytest.raises(ValueError, match="ps_roi_align: reduction must be the mean"):
        torch.ops.roiops.roi_align([map], rois, None, 2, 2, [1.0], 1, "ps_align", "max")
    grad = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="ps_roi_pool_backward: whole cells give the boxes no"):
        torch.ops.roiops.roi_align_grad_rois(grad, [map], rois, None, [1.0], -1, "ps_pool", "mean")
