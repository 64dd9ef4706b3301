"""Operators under torch's modes (deterministic, autocast, checkpoint), and what those see who watch
its dispatcher."""

from typing import Any

import pytest
from torch_cases import assert_same, by_floating, every_case, function, made, total

import roiops
from roiops.testing import Case

torch = pytest.importorskip("torch")


@every_case
def test_deterministic_algorithms_are_these(case: Case) -> None:
    values, put = by_floating(made(case))
    operator = function(case)
    expected = operator(*put(values))
    torch.use_deterministic_algorithms(True)
    try:
        results = operator(*put([x.requires_grad_() for x in values]))
        assert_same(results, expected)
        loss = total(results)
        if torch.is_tensor(loss) and loss.requires_grad and not case.operator.endswith("_backward"):
            loss.backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_autocast_keeps_the_features_type() -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
    boxes = torch.tensor([[1.0, 1.0, 9.0, 8.0]], requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        features = convolution(torch.randn(1, 3, 12, 12))
        pooled = roiops.roi_align(features, [boxes], 3, 1.0, 2, True)
        pyramid = roiops.multiscale_roi_align([features], [boxes], 3, [1.0], 2, True)
        decoded = roiops.decode_boxes(torch.zeros(1, 4), boxes.detach())
    assert features.dtype == pooled.dtype == pyramid.dtype == torch.bfloat16
    assert decoded.dtype == torch.float32
    exact = roiops.roi_align(features.float(), [boxes], 3, 1.0, 2, True)
    assert_same(pooled, exact.bfloat16())
    pooled.sum().backward()
    assert convolution.weight.grad.abs().sum() > 0
    assert boxes.grad.dtype == torch.float32


@pytest.mark.parametrize("watcher", ["dispatch mode", "function mode", "profiler", "make_fx"])
def test_who_watches_sees_the_operator(watcher: str) -> None:
    """What is called directly otherwise goes through the dispatcher for whoever listens there."""
    features, rois = torch.randn(1, 2, 6, 6), torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])
    seen: list[str] = []

    class Dispatch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    class Function(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    def call(features: Any) -> Any:
        return roiops.roi_align(features, rois, 2)

    if watcher == "profiler":
        with torch.profiler.profile() as profile:
            call(features)
        seen = [event.key for event in profile.key_averages()]
    elif watcher == "make_fx":
        from torch.fx.experimental.proxy_tensor import make_fx

        seen = [str(node.target) for node in make_fx(call)(features).graph.nodes]
    else:
        with Dispatch() if watcher == "dispatch mode" else Function():
            call(features)
    assert any("roiops" in name and "roi_align" in name for name in seen)


def test_checkpointed_gradients_are_equal() -> None:
    from torch.utils.checkpoint import checkpoint

    rois = torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])
    results = []
    for run in (lambda f, x: f(x), lambda f, x: checkpoint(f, x, use_reentrant=False)):
        features = torch.arange(72.0).reshape(1, 2, 6, 6).requires_grad_()
        run(lambda x: roiops.roi_align(x, rois, 2).square().sum(), features).backward()
        results.append(features.grad)
    assert_same(*results)


def test_nobody_asks_the_dispatcher_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roiops._torch._OVERLOADS", {})
    features, rois = torch.rand(1, 2, 6, 6), torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])

    def loss(features: Any) -> Any:
        return roiops.roi_align(features, rois, 2).square().sum()

    loss(features)
    loss(features.clone().requires_grad_()).backward()
    torch.vmap(torch.func.grad(loss))(features[None])


def test_an_unknown_torch_takes_the_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    from roiops import _torch, _torch_calls
    from roiops._operators import OPERATORS

    monkeypatch.setattr(_torch_calls, "_KNOWN", False)
    direct = {
        name: _torch_calls.direct(_torch.TORCH, op, _torch.run_on_gpu)
        for name, op in OPERATORS.items()
    }
    monkeypatch.setattr(_torch, "_DIRECT", direct)
    assert direct["nms"](()) is NotImplemented
    features = torch.rand(1, 2, 6, 6, requires_grad=True)
    roiops.roi_align(features, torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]]), 2).sum().backward()
    assert features.grad.sum() > 0


@pytest.mark.parametrize("watcher", ["default device", "profiler", "function mode", "make_fx"])
def test_func_under_who_watches(watcher: str) -> None:
    rois = torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])

    def loss(features: Any) -> Any:
        return roiops.roi_align(features, rois, 2).square().sum()

    features = torch.rand(3, 1, 2, 6, 6)
    call = torch.vmap(torch.func.grad(loss))
    expected = call(features)
    if watcher == "make_fx":
        from torch.fx.experimental.proxy_tensor import make_fx

        got = make_fx(call)(features)(features)
    else:
        mode = {
            "default device": lambda: torch.device("cpu"),
            "profiler": torch.profiler.profile,
            "function mode": torch.overrides.BaseTorchFunctionMode,
        }[watcher]
        with mode():
            got = call(features)
    assert_same(got, expected)
