"""multiscale_roi_align: roi_align of every box on its own level, in the boxes' order."""

from dataclasses import dataclass

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
    to_rois,
)

from roiops import reference

TERMS = 64


@dataclass
class Case:
    """One call of multiscale_roi_align."""

    inputs: list[np.ndarray]
    rois: np.ndarray
    output_size: tuple[int, int]
    spatial_scales: list[float]
    sampling_ratio: int
    aligned: bool
    options: dict
    rng: np.random.Generator

    @property
    def arguments(self) -> tuple:
        return (
            self.inputs,
            self.rois,
            self.output_size,
            self.spatial_scales,
            self.sampling_ratio,
            self.aligned,
        )

    @property
    def backward_arguments(self) -> tuple:
        return (self.inputs, self.rois, self.spatial_scales, self.sampling_ratio, self.aligned)

    def grad_output(self) -> np.ndarray:
        shape = (len(self.rois), self.inputs[0].shape[1], *self.output_size)
        return self.rng.standard_normal(shape).astype(self.inputs[0].dtype)


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...] = EVERY_KIND) -> Case:
    rng = draw(generators)
    images, channels = draw(st.integers(1, 2)), draw(st.sampled_from(CHANNELS))
    levels = draw(st.integers(1, 4))
    dtype = draw(float_dtypes)
    scales = [1 / 2**k for k in range(levels)]
    inputs = [
        rng.standard_normal((images, channels, *rng.integers(1, 14, 2))).astype(dtype)
        for _ in scales
    ]
    rois = to_rois(draw(box_arrays(kinds, max_boxes=6, extent=40.0)), images, rng)
    options = {
        "reduction": draw(st.sampled_from(["mean", "max"])),
        "canonical_scale": draw(st.sampled_from([4, 8.5, 224])),
        "canonical_level": draw(st.integers(-1, levels)),
    }
    if draw(st.booleans()):
        options["levels"] = rng.integers(0, levels, len(rois))
    return Case(
        inputs,
        rois.astype(draw(float_dtypes)),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        scales,
        draw(st.sampled_from(SAMPLING_RATIOS)),
        draw(st.booleans()),
        options,
        rng,
    )


def levels_of(case: Case) -> np.ndarray:
    """Index of each box's map."""
    if "levels" in case.options:
        return case.options["levels"]
    canonical = {key: case.options[key] for key in ("canonical_scale", "canonical_level")}
    return reference.fpn_levels(case.rois, 0, len(case.inputs) - 1, **canonical)


@given(case=cases())
def test_is_roi_align_on_each_level(backend: Backend, case) -> None:
    out = backend("multiscale_roi_align", *case.arguments, **case.options)
    grad = case.grad_output()
    grad_inputs, grad_rois = backend(
        "multiscale_roi_align_backward", grad, *case.backward_arguments, **case.options
    )
    levels = levels_of(case)
    for level, (input, scale) in enumerate(zip(case.inputs, case.spatial_scales, strict=True)):
        here = levels == level
        reduction = case.options["reduction"]
        one = (scale, case.sampling_ratio, case.aligned)
        alone = backend(
            "roi_align", input, case.rois[here], case.output_size, *one, reduction=reduction
        )
        assert_same_bits(out[here], alone)
        alone, alone_rois = backend(
            "roi_align_backward", grad[here], input, case.rois[here], *one, reduction=reduction
        )
        assert_same_bits(grad_inputs[level], alone)
        assert_same_bits(grad_rois[here], alone_rois)


@given(case=cases(), layout=layouts)
def test_is_the_references(compiled: Backend, case, layout) -> None:
    expected = reference.multiscale_roi_align(*case.arguments, **case.options)
    largest = max(np.abs(input).max(initial=0) for input in case.inputs)
    case.inputs = [layout(input) for input in case.inputs]
    case.options = {
        key: layout(value) if isinstance(value, np.ndarray) else value
        for key, value in case.options.items()
    }
    got = compiled("multiscale_roi_align", *case.arguments, **case.options)
    assert_sums_agree(got, expected, largest, TERMS)


@given(case=cases(ORDINARY))
def test_a_list_of_boxes_is_the_same_as_rois(backend: Backend, case) -> None:
    case.options.pop("levels", None)
    images = case.inputs[0].shape[0]
    per_image = [case.rois[case.rois[:, 0] == i, 1:] for i in range(images)]
    case.rois = case.rois[np.argsort(case.rois[:, 0], kind="stable")]
    expected = backend("multiscale_roi_align", *case.arguments, **case.options)
    case.rois = per_image
    assert_same_bits(backend("multiscale_roi_align", *case.arguments, **case.options), expected)


def test_maps_may_lie_differently(compiled: Backend) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((2, 17, size, size)).astype(np.float32) for size in (16, 8)]
    rois = np.array([[0, 1, 1, 6, 6], [1, 0, 0, 60, 60.0]], np.float32)
    arguments = (rois, 3, [1 / 4, 1 / 8])
    options = {"levels": np.array([0, 1])}
    expected = compiled("multiscale_roi_align", inputs, *arguments, **options)
    inputs[1] = np.ascontiguousarray(inputs[1].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert_same_bits(compiled("multiscale_roi_align", inputs, *arguments, **options), expected)


def test_pools_as_torchvisions_module(backend: Backend) -> None:
    pytest.importorskip("torchvision")
    import torch
    from torchvision.ops import MultiScaleRoIAlign

    rng = np.random.default_rng(0)
    image = 512
    inputs = [
        rng.standard_normal((2, 5, image // stride, image // stride)).astype(np.float32)
        for stride in (4, 8, 16, 32)
    ]
    low = rng.uniform(-20, 400, (60, 2))
    boxes = np.concatenate([low, low + np.exp(rng.uniform(0, 6.5, (60, 2)))], 1).astype(np.float32)
    per_image = [boxes[:25], boxes[25:]]
    pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    expected = pool(
        {str(k): torch.tensor(input) for k, input in enumerate(inputs)},
        [torch.tensor(b) for b in per_image],
        [(image, image)] * 2,
    ).numpy()
    got = backend(
        "multiscale_roi_align", inputs, per_image, 7, [1 / 4, 1 / 8, 1 / 16, 1 / 32], 2, False
    )
    assert_sums_agree(got, expected, 5.0, TERMS)
