"""Every operator in a graph: torch.compile, torch.export, torch.fx."""

from typing import Any

import pytest
from backends import MAKERS, convert, flat
from torch_cases import OUTSIDE_GRAPHS, SINGLE, assert_same, function, made, with_fewer_boxes

import roiops
from roiops.testing import CASES, Case

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
@pytest.mark.parametrize(
    "case", [c for c in SINGLE if c.operator not in OUTSIDE_GRAPHS], ids=lambda case: case.name
)
def test_compiled_once_for_all_sizes(case: Case, compiler: str) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    operator = function(case)
    compiled = torch.compile(operator, fullgraph=True, dynamic=True, backend=compiler)
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
    with pytest.raises(
        TypeError, match="nms: boxes must be a NumPy or CuPy array or a torch tensor"
    ):
        torch.fx.symbolic_trace(lambda: roiops.nms("boxes", torch.ones(1), 0.5))
