"""The work in roiops.testing.CASES as functions of tensors, for the tests of what torch does with
functions (test_torch_graphs, _func, _modes, _tensors, _workers)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends import MAKERS, convert, flat, is_numpy

import roiops
from roiops.testing import CASES, Case

torch = pytest.importorskip("torch")

DIFFERENTIABLE = {
    "box_area",
    "box_convert",
    "box_iou",
    "clip_boxes_to_image",
    "complete_box_iou",
    "decode_boxes",
    "distance_box_iou",
    "encode_boxes",
    "generalized_box_iou",
    "multiscale_roi_align",
    "ps_roi_align",
    "ps_roi_pool",
    "roi_align",
    "roi_pool",
    "roi_warp",
}
# Python's own types go in or come out: a graph of tensors cannot hold them.
OUTSIDE_GRAPHS = {"paste_masks_rle", "rasterize_polygons"}
# The number of results depends on the values, so vmap cannot stack them.
OF_ANY_LENGTH = {"nms", "batched_nms", "soft_nms", "remove_small_boxes"}

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# One case per operator, where the size of the work tells nothing new.
SINGLE = list({case.operator: case for case in reversed(CASES)}.values())


def function(case: Case) -> Callable[..., Any]:
    options = dict(case.options)
    if case.operator in MAKERS:
        options["like"] = torch.empty(0)
    return lambda *args: getattr(roiops, case.operator)(*args, **options)


def tensors(value: Any) -> Any:
    return convert(value, is_numpy, torch.from_numpy)


def made(case: Case, seed: int = 0) -> Any:
    return tensors(case.arguments(np.random.default_rng(seed), False))


def with_fewer_boxes(arguments: Any, left: Callable[[int], int] = lambda count: count - 3) -> Any:
    """The same work on less boxes (and targets, masks, gradients of them)."""
    counts: set[int] = set()
    convert(arguments, is_box_array, lambda x: counts.add(x.shape[-2]))

    def cut(x: Any) -> Any:
        for axis in (0, 1)[: x.ndim]:
            if x.shape[axis] in counts:
                x = x.narrow(axis, 0, left(x.shape[axis])).clone(
                    memory_format=torch.contiguous_format
                )
        return x

    return convert(arguments, torch.is_tensor, cut)


def is_box_array(value: Any) -> bool:
    return (
        torch.is_tensor(value)
        and value.ndim in (2, 3)
        and value.shape[-1] in (4, 5)
        and value.shape[-2] > 5
    )


def by_floating(arguments: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The floating tensors of the arguments, and how to put others in their places."""
    found: list[Any] = []
    convert(arguments, is_floating, found.append)

    def put(values: Any) -> Any:
        values = iter(values)
        return convert(arguments, is_floating, lambda _: next(values))

    return found, put


def is_floating(value: Any) -> bool:
    return torch.is_tensor(value) and value.is_floating_point()


def total(result: Any) -> Any:
    """A number that depends on every entry of the results differently."""
    parts = [x for x in flat(result) if is_floating(x)]
    return sum((x * torch.cos(torch.arange(x.numel()).reshape(x.shape))).sum() for x in parts)


def assert_same(got: Any, expected: Any) -> None:
    for one, other in zip(flat(got), flat(expected), strict=True):
        if torch.is_tensor(other):
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        else:
            assert one == other
