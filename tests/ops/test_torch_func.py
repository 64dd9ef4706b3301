"""Every operator under torch.func: gradients, vmap, what forward mode refuses."""

from typing import Any

import pytest
from backends import MAKERS, convert, flat
from torch_cases import (
    DIFFERENTIABLE,
    OF_ANY_LENGTH,
    OUTSIDE_GRAPHS,
    SINGLE,
    assert_same,
    by_floating,
    function,
    made,
    total,
)

import roiops
from roiops.testing import CASES, Case

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.operator in DIFFERENTIABLE], ids=lambda case: case.name
)
def test_func_grad_is_autograds(case: Case) -> None:
    values, put = by_floating(made(case))
    operator = function(case)
    asked = [x.requires_grad_() for x in values]
    expected = torch.autograd.grad(
        total(operator(*put(asked))), asked, allow_unused=True, materialize_grads=True
    )
    got = torch.func.grad(lambda values: total(operator(*put(values))))(
        [x.detach() for x in values]
    )
    assert any(g.abs().sum() > 0 for g in expected)
    assert_same(got, expected)


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
def test_what_is_differentiable_is_listed(case: Case) -> None:
    values, put = by_floating(made(case))
    results = flat(function(case)(*put([x.requires_grad_() for x in values])))
    asks = any(torch.is_tensor(x) and x.requires_grad for x in results)
    # The gradients' own functions are differentiable in part.
    assert asks == (case.operator in DIFFERENTIABLE) or case.operator.endswith("_backward")


@pytest.mark.parametrize(
    "case", [c for c in SINGLE if c.operator not in MAKERS | OUTSIDE_GRAPHS],
    ids=lambda case: case.name,
)  # fmt: skip
def test_vmap_is_a_loop(case: Case) -> None:
    operator = function(case)
    several = [made(case, seed) for seed in (0, 1)]
    flats = [[x for x in flat(a) if torch.is_tensor(x)] for a in several]
    stacked = [torch.stack(pair) for pair in zip(*flats, strict=True)]

    def call(*values: Any) -> Any:
        values = iter(values)
        return operator(*convert(several[0], torch.is_tensor, lambda _: next(values)))

    expected = [call(*values) for values in flats]
    if case.operator in OF_ANY_LENGTH:
        with pytest.raises(RuntimeError, match="vmap"):
            torch.vmap(call)(*stacked)
        return
    got = torch.vmap(call)(*stacked)
    for i in range(2):
        assert_same([x[i] for x in flat(got)], expected[i])


def test_gradients_of_single_samples() -> None:
    """vmap of grad: what per-sample gradients are made of."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 1, 4, 8, 8, generator=generator)
    rois = torch.tensor([[0, 0.3, 0.4, 5.1, 6.2], [0, 2.3, 1.4, 7.1, 6.2]])

    def loss(features: Any, rois: Any) -> Any:
        return roiops.roi_align(features, rois, 2, 1.0, 2, True).square().sum()

    got = torch.vmap(torch.func.grad(loss, (0, 1)), in_dims=(0, None))(features, rois)
    for i in range(3):
        one = torch.func.grad(loss, (0, 1))(features[i], rois)
        assert_same([x[i] for x in got], one)


def test_second_derivative_by_func() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=generator)
    rois = torch.tensor([[0, 0.3, 0.4, 3.1, 3.2]], dtype=torch.float64)

    def loss(features: Any) -> Any:
        return roiops.roi_align(features, rois, 2, 1.0, 2, True).pow(3).sum()

    got = torch.func.jacrev(torch.func.grad(loss))(features)
    expected = torch.autograd.functional.hessian(loss, features)
    torch.testing.assert_close(got, expected)
    assert expected.abs().sum() > 0


@pytest.mark.parametrize(
    "case", [c for c in SINGLE if c.operator in DIFFERENTIABLE], ids=lambda case: case.name
)
def test_forward_mode_is_refused(case: Case) -> None:
    """It would give tangents of zero."""
    values, put = by_floating(made(case))

    def call(*values: Any) -> Any:
        return function(case)(*put(values))

    tangents = tuple(torch.ones_like(x) for x in values)
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.jvp(call, tuple(values), tangents)
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError):
        call(*map(torch.autograd.forward_ad.make_dual, values, tangents))


def test_linearize_is_refused_too() -> None:
    """It differentiates forward while it traces, under a mode."""
    rois = torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.linearize(lambda x: roiops.roi_align(x, rois, 2), torch.rand(1, 2, 6, 6))


def test_vmap_over_nothing() -> None:
    with pytest.raises(RuntimeError, match="vmap needs a sample"):
        torch.vmap(roiops.box_area)(torch.rand(0, 3, 4))


def test_decisions_are_taken_in_forward_mode() -> None:
    boxes, scores = torch.rand(9, 4) + torch.tensor([0.0, 0, 1, 1]), torch.rand(9)

    def kept(boxes: Any) -> Any:
        _, labels, _ = roiops.match_boxes(boxes, boxes, 0.5, 0.3)
        return boxes[roiops.nms(boxes, scores, 0.5)] * labels[0]

    got, tangent = torch.func.jvp(kept, (boxes,), (torch.ones_like(boxes),))
    assert_same(got, kept(boxes))
    assert_same(tangent, torch.ones_like(got))
