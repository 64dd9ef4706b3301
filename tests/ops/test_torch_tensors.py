"""Tensors that are more, or less, than an array in memory: empty ones, subclasses, signs kept in
flags, memory that cannot be read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends import MAKERS, convert, flat
from torch_cases import (
    assert_same,
    every_case,
    function,
    is_floating,
    made,
    tensors,
    with_fewer_boxes,
)

import roiops
from roiops.testing import Case

torch = pytest.importorskip("torch")


@every_case
def test_no_boxes_are_as_in_numpy(case: Case) -> None:
    """Of an empty tensor torch gives no address, where NumPy's arrays have one."""
    arguments = with_fewer_boxes(made(case), lambda count: 0)
    if case.operator == "rasterize_polygons":
        arguments = ([], *arguments[1:])
    held = [x for x in flat(arguments) if torch.is_tensor(x)]
    assert case.operator in MAKERS | {"masks_to_boxes"} or any(x.numel() == 0 for x in held)
    arrays = convert(arguments, torch.is_tensor, lambda x: x.numpy())
    expected = flat(getattr(roiops, case.operator)(*arrays, **case.options))
    assert_same(function(case)(*arguments), [tensors(x) for x in expected])


def test_subclasses_and_hooks_are_honoured() -> None:
    class Named(torch.Tensor):
        pass

    features = torch.randn(1, 2, 6, 6)
    rois = torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])
    assert type(roiops.roi_align(features.as_subclass(Named), rois, 2)) is Named
    assert type(roiops.box_area(rois[:, 1:].as_subclass(Named))) is Named
    packed: list[Any] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: packed.append(x) or x, lambda x: x):
        roiops.roi_align(features.requires_grad_(), rois, 2)
    assert packed
    meta = roiops.roi_align(features.to("meta"), rois.to("meta"), 2)
    assert meta.is_meta
    assert meta.shape == (1, 2, 2, 2)
    parameter = torch.nn.Parameter(rois)
    assert roiops.roi_align(features, parameter, 2).requires_grad


def negative(x: Any) -> Any:
    """``x`` as a tensor that keeps its sign in a flag, with the opposite values in memory."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


@every_case
def test_a_sign_kept_in_a_flag_is_read(case: Case) -> None:
    arguments = made(case)
    flagged = convert(arguments, is_floating, negative)
    values = [x for x in flat(flagged) if is_floating(x)]
    assert all(x.is_neg() for x in values)
    assert_same(function(case)(*flagged), function(case)(*arguments))


def test_a_gradient_with_its_sign_in_a_flag_is_read() -> None:
    features = torch.rand(1, 2, 6, 6, requires_grad=True)
    out = roiops.roi_align(features, torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]]), 2)
    (expected,) = torch.autograd.grad(out, features, torch.ones_like(out), retain_graph=True)
    (got,) = torch.autograd.grad(out, features, negative(torch.ones_like(out)))
    assert_same(got, expected)


def misaligned() -> Any:
    memory = np.zeros(65, np.uint8)[1:]
    return torch.from_numpy(memory.view(np.float32).reshape(4, 4))


@pytest.mark.parametrize(
    "unusable",
    [
        misaligned,
        lambda: torch._efficientzerotensor(5, 4),
        lambda: torch._to_functional_tensor(torch.rand(5, 4)),
    ],
    ids=["misaligned", "zeros without memory", "functional"],
)
def test_tensors_without_usable_memory_are_refused(unusable: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="memory of its own, aligned"):
        roiops.box_area(unusable())
