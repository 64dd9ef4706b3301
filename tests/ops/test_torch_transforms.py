"""Every operator under what torch does with functions: compile, export, trace, transform, watch."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from backends import MAKERS, convert, flat, is_numpy

import roiops
from roiops.testing import CASES, Case

torch = pytest.importorskip("torch")

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


def assert_same(got: Any, expected: Any) -> None:
    for one, other in zip(flat(got), flat(expected), strict=True):
        if torch.is_tensor(other):
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        else:
            assert one == other


# --- graphs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize(
    "case", [c for c in SINGLE if c.operator not in OUTSIDE_GRAPHS], ids=lambda case: case.name
)
def test_compiled_once_for_all_sizes(case: Case, backend: str) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    operator = function(case)
    compiled = torch.compile(operator, fullgraph=True, dynamic=True, backend=backend)
    arguments = made(case)
    for work in (arguments, with_fewer_boxes(arguments)):
        assert_same(compiled(*work), operator(*work))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("name", sorted(OUTSIDE_GRAPHS))
def test_python_types_break_the_graph_and_nothing_else(name: str) -> None:
    case = next(case for case in CASES if case.operator == name)
    operator = function(case)
    compiled = torch.compile(lambda *args: (operator(*args), args[0]), backend="eager")
    assert_same(compiled(*made(case))[0], operator(*made(case)))


class Calls(torch.nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.operator = function(case)

    def forward(self, *args: Any) -> Any:
        return self.operator(*args)


@pytest.mark.parametrize(
    "case", [c for c in SINGLE if c.operator not in OUTSIDE_GRAPHS], ids=lambda case: case.name
)
def test_exported_for_all_sizes(case: Case) -> None:
    arguments = made(case)
    sizes = convert(arguments, torch.is_tensor, lambda x: (torch.export.Dim.AUTO,) * x.ndim)
    program = torch.export.export(
        Calls(case), arguments, dynamic_shapes={"args": replaced(sizes)}, strict=False
    )
    operators = [n for n in program.graph.nodes if str(n.target).startswith("roiops.")]
    assert operators
    for work in (arguments, with_fewer_boxes(arguments)):
        assert_same(program.module()(*work), function(case)(*work))


def replaced(sizes: Any) -> Any:
    """Numbers among the arguments have no sizes."""
    if isinstance(sizes, (list, tuple)):
        if sizes and all(x is torch.export.Dim.AUTO for x in sizes):
            return sizes
        return type(sizes)(replaced(x) for x in sizes)
    return None


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.operator not in MAKERS], ids=lambda case: case.name
)
def test_symbolic_tracing_records_one_node(case: Case) -> None:
    """torch.fx; each argument that holds arrays becomes an input of the graph."""
    arguments = made(case)
    held = [i for i, a in enumerate(arguments) if any(map(torch.is_tensor, flat(a)))]
    names = [f"a{i}" for i in held]

    def call(*inputs: Any) -> Any:
        full = list(arguments)
        for i, x in zip(held, inputs, strict=True):
            full[i] = x
        return getattr(roiops, case.operator)(*full, **case.options)

    # Symbolic tracing wants named arguments.
    module = torch.fx.symbolic_trace(
        eval(f"lambda {', '.join(names)}: call({', '.join(names)})", {"call": call})
    )
    calls = [n for n in module.graph.nodes if n.op not in ("placeholder", "output")]
    assert [n.target for n in calls] == [getattr(roiops, case.operator)]
    assert_same(module(*(arguments[i] for i in held)), call(*(arguments[i] for i in held)))


def test_symbolic_tracing_records_anchors() -> None:
    def call(like: Any) -> Any:
        grid = roiops.grid_anchors([(2, like.shape[0])], [8], [(32,)], [(1.0,)], like=like)
        return roiops.cell_anchors((32,), (1.0,), like=like), grid

    module = torch.fx.symbolic_trace(call)
    targets = [n.target for n in module.graph.nodes if n.op == "call_function"]
    assert {roiops.grid_anchors, roiops.cell_anchors} <= set(targets)
    assert_same(module(torch.empty(3)), call(torch.empty(3)))


def test_symbolic_tracing_leaves_no_traces_of_checks() -> None:
    def call(strides: Any, like: Any) -> Any:
        return roiops.grid_anchors([(2, 3)], strides, [(32,)], [(1.0,)], like=like)

    nodes = torch.fx.symbolic_trace(call).graph.nodes
    assert [n.op for n in nodes] == ["placeholder", "placeholder", "call_function", "output"]


def test_wrong_arguments_are_still_refused_while_tracing() -> None:
    with pytest.raises(TypeError, match="nms: boxes must be a NumPy array or a torch tensor"):
        torch.fx.symbolic_trace(lambda: roiops.nms("boxes", torch.ones(1), 0.5))


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


# --- function transforms --------------------------------------------------------------------------


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


# --- modes ----------------------------------------------------------------------------------------


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
    direct = {name: _torch_calls.direct(_torch.TORCH, op) for name, op in OPERATORS.items()}
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


# --- workers --------------------------------------------------------------------------------------


class Targets(torch.utils.data.Dataset):
    """Makes training targets as a loader's workers do."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        generator = torch.Generator().manual_seed(index)
        low = torch.rand(200, 2, generator=generator) * 50
        boxes = torch.cat([low, low + 20], 1)
        keep = roiops.nms(boxes, torch.rand(200, generator=generator), 0.5)[:20]
        matched, labels, _ = roiops.match_boxes(boxes[keep], boxes, 0.7, 0.3)
        features = torch.randn(1, 32, 40, 40, generator=generator)
        pooled = roiops.roi_align(features, [boxes[keep]], 5)
        return keep, matched, labels, pooled


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loader_workers(start: str) -> None:
    expected = [Targets()[i] for i in range(6)]  # the parent's threads are running when it forks
    loader = torch.utils.data.DataLoader(
        Targets(), batch_size=None, num_workers=2, multiprocessing_context=start, timeout=120
    )
    assert_same(list(loader), expected)


def test_threads_call_at_once() -> None:
    def step(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed % 4)
        features = torch.randn(1, 40, 30, 30, generator=generator).requires_grad_()
        low = torch.rand(60, 2, generator=generator) * 20
        boxes = torch.cat([low, low + 7], 1).requires_grad_()
        roiops.roi_align(features, [boxes], 7).square().sum().backward()
        return features.grad, boxes.grad, roiops.nms(boxes.detach(), boxes.detach()[:, 0], 0.3)

    expected = [step(seed) for seed in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for seed, got in enumerate(pool.map(step, range(32))):
            assert_same(got, expected[seed % 4])


def test_modules_are_copied_as_they_are() -> None:
    pool = copy.deepcopy(roiops.RoIAlign(2, 1.0, 2, aligned=True))
    features, rois = torch.randn(1, 2, 6, 6), torch.tensor([[0, 0.3, 0.4, 3.1, 4.2]])
    traced = copy.deepcopy(torch.fx.symbolic_trace(pool))
    assert_same(traced(features, rois), pool(features, rois))
