"""The torch modules: torchvision's constructors, representations and values."""

import copy
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

import roiops  # noqa: E402
import roiops.nn  # noqa: E402

SIZES = [(256, 320), (200, 310)]

# Constructor arguments, torchvision's where it has the module.
ARGUMENTS: dict[str, list[tuple]] = {
    "RoIAlign": [(7, 0.25, 2), ((3, 5), 1 / 16, -1, True), ([2, 4], 1, 0)],
    "RoIPool": [(7, 0.25), ((3, 5), 1 / 16)],
    "RoIWarp": [(3, 0.25), ((3, 5), 0.125, 2)],
    "PSRoIAlign": [(2, 0.25, 2), ((2, 3), 1 / 16, -1)],
    "PSRoIPool": [(2, 0.25), ((2, 3), 1 / 16)],
    "MultiScaleRoIAlign": [
        (["a", "b", "c"], 7, 2),
        (["b"], (3, 5), -1),
        (["a", "b"], [2, 2], 1),
        (("a",), (2, 2), 1),
    ],
}
EVERY = [(name, arguments) for name, several in ARGUMENTS.items() for arguments in several]
every_module = pytest.mark.parametrize(("name", "arguments"), EVERY)
SHARED = [pair for pair in EVERY if pair[0] != "RoIWarp"]  # torchvision has them too
shared_modules = pytest.mark.parametrize(("name", "arguments"), SHARED)


def inputs(name: str, seed: int = 0) -> tuple:
    """What ``forward`` takes: features of two images, and a list of boxes of each."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand((30, 2), generator=generator) * torch.tensor([250.0, 150.0])
    side = torch.exp(torch.rand((30, 2), generator=generator) * 3 + 2.5)
    boxes = torch.cat([low, low + side], 1)
    several = [boxes[:12], boxes[12:]]

    def map(stride: int) -> torch.Tensor:
        return torch.randn((2, 12, 256 // stride, 320 // stride), generator=generator)

    if name == "MultiScaleRoIAlign":
        maps = {"a": map(4), "b": map(8), "pool": map(2), "c": map(16)}
        return maps, several, SIZES
    return map(4), several


def test_every_module_is_listed() -> None:
    defined = {
        name
        for name, value in vars(roiops.nn).items()
        if inspect.isclass(value)
        and issubclass(value, torch.nn.Module)
        and value.__module__.startswith("roiops.")
    }
    assert defined == set(roiops._TORCH_MODULES) >= set(ARGUMENTS)


@shared_modules
def test_repr_is_torchvisions(name: str, arguments: tuple) -> None:
    theirs = getattr(pytest.importorskip("torchvision").ops, name)
    assert repr(getattr(roiops, name)(*arguments)) == repr(theirs(*arguments))


@shared_modules
def test_constructor_is_torchvisions(name: str, arguments: tuple) -> None:
    theirs = inspect.signature(getattr(pytest.importorskip("torchvision").ops, name)).parameters
    ours = inspect.signature(getattr(roiops, name)).parameters
    shape = [(p.name, p.kind, p.default) for p in ours.values()]
    assert [(p.name, p.kind, p.default) for p in theirs.values()] == shape[: len(theirs)]
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for _, kind, _ in shape[len(theirs) :])


@shared_modules
@pytest.mark.parametrize("seed", range(3))
def test_values_are_torchvisions(name: str, arguments: tuple, seed: int) -> None:
    vision = pytest.importorskip("torchvision").ops
    given = inputs(name, seed)
    expected = getattr(vision, name)(*arguments)(*given)
    got = getattr(roiops, name)(*arguments)(*given)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_options_reach_the_operator_and_are_shown() -> None:
    map, boxes = inputs("RoIAlign")
    align = roiops.RoIAlign(3, 0.25, 2, True, reduction="max")
    assert torch.equal(
        align(map, boxes), roiops.roi_align(map, boxes, 3, 0.25, 2, True, reduction="max")
    )
    assert repr(align).endswith("aligned=True, reduction='max')")
    warp = roiops.RoIWarp(3, 0.25, 2, convention="mnc", reduction="max")
    expected = roiops.roi_warp(map, boxes, 3, 0.25, 2, convention="mnc", reduction="max")
    assert torch.equal(warp(map, boxes), expected)
    assert repr(warp) == (
        "RoIWarp(output_size=3, spatial_scale=0.25, sampling_ratio=2, reduction='max', "
        "convention='mnc')"
    )
    maps, boxes, sizes = inputs("MultiScaleRoIAlign")
    pool = roiops.MultiScaleRoIAlign(["a", "b"], 3, 2, canonical_scale=64, canonical_level=3)
    expected = roiops.multiscale_roi_align(
        [maps["a"], maps["b"]], boxes, 3, [1 / 4, 1 / 8], 2, canonical_scale=64, canonical_level=3
    )
    assert torch.equal(pool(maps, boxes, sizes), expected)
    assert repr(pool).endswith("sampling_ratio=2, canonical_scale=64, canonical_level=3)")


def test_scales_are_found_in_the_first_call_and_kept() -> None:
    vision = pytest.importorskip("torchvision").ops
    maps, boxes, sizes = inputs("MultiScaleRoIAlign")
    pools = [ops.MultiScaleRoIAlign(["a", "b", "c"], 2, 2) for ops in (roiops, vision)]
    for pool in pools:
        assert pool.scales is None
        pool(maps, boxes, sizes)
    assert pools[0].scales == pools[1].scales == [1 / 4, 1 / 8, 1 / 16]
    assert pools[0].output_size == pools[1].output_size == (2, 2)
    # Two small images, padded to many times their height: the scales stay.
    got, expected = (pool(maps, boxes, [(40, 40), (30, 60)]) for pool in pools)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("height", [90, 200, 255, 256, 257, 363])
def test_scales_are_torchvisions_for_odd_sizes(height: int) -> None:
    vision = pytest.importorskip("torchvision").ops
    maps = {str(i): torch.zeros(1, 1, -(-height // s), 40 // s) for i, s in enumerate((4, 8, 16))}
    pools = [ops.MultiScaleRoIAlign(list(maps), 2, 2) for ops in (roiops, vision)]
    for pool in pools:
        pool(maps, [torch.tensor([[0.0, 0, 9, 9]])], [(height, 40)])
    assert pools[0].scales == pools[1].scales


@every_module
def test_copies_and_state(name: str, arguments: tuple) -> None:
    module, given = getattr(roiops, name)(*arguments), inputs(name)
    expected = module(*given)
    assert not module.state_dict()
    assert not list(module.parameters())
    for made in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert repr(made) == repr(module)
        assert torch.equal(made(*given), expected)


@every_module
def test_compile(name: str, arguments: tuple) -> None:
    module, (maps, *rest) = getattr(roiops, name)(*arguments), inputs(name)
    for map in maps.values() if isinstance(maps, dict) else [maps]:
        map.requires_grad_()
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend="aot_eager")
    for _ in range(2):  # the second time MultiScaleRoIAlign knows its scales
        got, expected = compiled(maps, *rest), module(maps, *rest)
        assert torch.equal(got, expected)
    source = maps["b"] if isinstance(maps, dict) else maps
    if not (isinstance(maps, dict) and "b" not in arguments[0]):
        grads = [torch.autograd.grad(out.square().sum(), source)[0] for out in (got, expected)]
        assert torch.equal(*grads)
        assert grads[0].any()


def pool(*names: str, **options: object) -> Callable[[dict, list], object]:
    module = roiops.MultiScaleRoIAlign(list(names), 2, 2, **options)
    return lambda x, sizes: module(x, [torch.tensor([[0.0, 0, 9, 9]])], sizes)


MAP = torch.zeros(1, 1, 8, 8)
ERRORS: list[tuple[type[Exception], str, Callable[[], object]]] = [
    (ValueError, "RoIAlign: output_size must .*got 0", lambda: roiops.RoIAlign(0, 1.0, 2)),
    (TypeError, "RoIAlign: output_size must .*None", lambda: roiops.RoIAlign(None, 1.0, 2)),
    (ValueError, "RoIAlign: spatial_scale must .*-1", lambda: roiops.RoIAlign(2, -1, 2)),
    (ValueError, "RoIAlign: sampling_ratio .*4097", lambda: roiops.RoIAlign(2, 1.0, 4097)),
    (TypeError, "RoIAlign: aligned must .*got 1", lambda: roiops.RoIAlign(2, 1.0, 2, 1)),
    (ValueError, "RoIAlign: reduction", lambda: roiops.RoIAlign(2, 1.0, 2, reduction="sum")),
    (ValueError, "RoIPool: output_size must .*3", lambda: roiops.RoIPool((1, 2, 3), 1.0)),
    (TypeError, "RoIPool: spatial_scale must .*'1'", lambda: roiops.RoIPool(2, "1")),
    (ValueError, "RoIWarp: convention must", lambda: roiops.RoIWarp(2, 1.0, convention="x")),
    (ValueError, "RoIWarp: reduction must", lambda: roiops.RoIWarp(2, 1.0, reduction=None)),
    (TypeError, "RoIWarp: sampling_ratio must", lambda: roiops.RoIWarp(2, 1.0, 0.5)),
    (TypeError, "PSRoIAlign: sampling_ratio must", lambda: roiops.PSRoIAlign(2, 1.0, None)),
    (ValueError, "PSRoIAlign: spatial_scale must", lambda: roiops.PSRoIAlign(2, 0.0, 1)),
    (ValueError, "PSRoIPool: output_size must .*-2", lambda: roiops.PSRoIPool((2, -2), 1.0)),
    (
        TypeError,
        "MultiScaleRoIAlign: featmap_names must be a list of names of maps; got 'p2'",
        lambda: roiops.MultiScaleRoIAlign("p2", 2, 2),
    ),
    (ValueError, "featmap_names must hold names", lambda: roiops.MultiScaleRoIAlign([], 2, 2)),
    (ValueError, "featmap_names must hold names", lambda: roiops.MultiScaleRoIAlign([0], 2, 2)),
    (ValueError, "MultiScaleRoIAlign: output_size", lambda: roiops.MultiScaleRoIAlign(["a"], 0, 2)),
    (ValueError, "MultiScaleRoIAlign: canonical_scale", lambda: pool("a", canonical_scale=0)),
    (TypeError, "MultiScaleRoIAlign: canonical_level", lambda: pool("a", canonical_level=1.5)),
    (TypeError, "x must be a dict of feature maps; got list", lambda: pool("a")([MAP], [(9, 9)])),
    (
        ValueError,
        r"x must hold the maps \['b'\]; got \['a'\]",
        lambda: pool("a", "b")({"a": MAP}, [(9, 9)]),
    ),
    (
        ValueError,
        r"x must have shape \(N, C, H, W\); got \(1, 8, 8\)",
        lambda: pool("a")({"a": MAP[0]}, [(9, 9)]),
    ),
    (
        ValueError,
        r"x must have shape \(N, C, H, W\); got \(1, 1, 0, 8\)",
        lambda: pool("a")({"a": MAP[:, :, :0]}, [(9, 9)]),
    ),
    (ValueError, "image_shapes must have one", lambda: pool("a")({"a": MAP}, [])),
    (TypeError, "image_shapes must be a list", lambda: pool("a")({"a": MAP}, None)),
    (ValueError, "image_shapes must be at least 1", lambda: pool("a")({"a": MAP}, [(0, 9)])),
    (
        ValueError,
        "multiscale_roi_align: spatial_scales must halve",
        lambda: pool("a", "b")({"a": MAP, "b": MAP}, [(9, 9)]),
    ),
]


@pytest.mark.parametrize(("kind", "message", "call"), ERRORS, ids=[e[1] for e in ERRORS])
def test_errors(kind: type[Exception], message: str, call: Callable[[], object]) -> None:
    with pytest.raises(kind, match=message):
        call()


# --- reached from roiops --------------------------------------------------------------------------


def run(code: str) -> None:
    """In a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]


def test_torch_is_imported_when_a_module_is_asked_for() -> None:
    run(
        "import sys, roiops\n"
        "from roiops import *\n"
        "assert set(roiops._TORCH_MODULES) <= set(dir(roiops))\n"
        "assert 'torch' not in sys.modules\n"
        "from roiops import PSRoIPool\n"
        "assert 'torch' in sys.modules and roiops.PSRoIPool is PSRoIPool\n"
        "assert str(PSRoIPool(2, 1.0)) == 'PSRoIPool(output_size=2, spatial_scale=1.0)'\n"
    )


def test_without_torch_the_error_says_so() -> None:
    run(
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import roiops\n"
        "try:\n"
        "    roiops.RoIAlign\n"
        "except ImportError as error:\n"
        "    assert 'roiops.RoIAlign is a torch module: it needs torch' in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
        "import inspect\n"
        "assert not set(roiops._TORCH_MODULES) & {name for name, _ in inspect.getmembers(roiops)}\n"
    )


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="'roiops' has no attribute 'RoIalign'"):
        roiops.RoIalign  # noqa: B018
