"""What only a GPU can show: streams, graphs, who waits for whom, the same bits again and again."""

from collections.abc import Iterator

import numpy as np
import pytest
from backends import convert, flat, is_numpy
from gpu_device import WANTED, asarray, available, to_numpy

import roiops
from roiops.testing import CASES, SUPPRESSION, Case

pytestmark = pytest.mark.skipif(not (available() or WANTED), reason="without a GPU")
torch = pytest.importorskip("torch")

A_WHILE = 10**9  # cycles: half a second on today's GPUs

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
# The shapes of these follow from their values: the host must wait for them.
DYNAMIC = {"nms", "batched_nms", "soft_nms", "remove_small_boxes", "paste_masks_rle"}
# And these begin with lists of numbers, which are copied to the GPU.
FROM_HOST = {"rasterize_polygons"}


def call_of(case: Case, full: bool = False):
    """The work of a case on a GPU, its arguments at hand."""
    arguments = convert(case.arguments(np.random.default_rng(0), full), is_numpy, asarray)
    options = dict(case.options)
    if case.operator in ("cell_anchors", "grid_anchors"):
        options["like"] = torch.zeros(0, device="cuda")
    return lambda: getattr(roiops, case.operator)(*arguments, **options)


def arrays(result) -> list:
    return [to_numpy(x) if isinstance(x, torch.Tensor) else x for x in flat(result)]


def assert_same(got: list, expected: list) -> None:
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_array_equal(g, e)


@pytest.fixture
def busy() -> Iterator[torch.cuda.Stream]:
    """A stream that has something to do for a while, and is current."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(A_WHILE)
        yield stream
    stream.synchronize()


@every_case
def test_the_same_bits_come_out_every_time(case: Case) -> None:
    call = call_of(case)
    expected = arrays(call())
    for _ in range(20):
        assert_same(arrays(call()), expected)
    with torch.cuda.stream(torch.cuda.Stream()):
        assert_same(arrays(call()), expected)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.operator not in DYNAMIC | FROM_HOST], ids=lambda c: c.name
)
def test_the_host_does_not_wait(case: Case, busy: torch.cuda.Stream) -> None:
    call = call_of(case)
    expected = arrays(call())  # loads the kernels, and gets the stream its memory
    torch.cuda.synchronize()
    torch.cuda._sleep(A_WHILE)
    result = call()
    assert not busy.query()
    assert_same(arrays(result), expected)


def test_work_is_done_on_the_current_stream(busy: torch.cuda.Stream) -> None:
    # The boxes exist only after a while: who computed on another stream would see zeros.
    boxes = torch.zeros(3, 4, device="cuda")
    sides = torch.tensor([0.0, 0.0, 2.0, 3.0], device="cuda")
    roiops.box_area(boxes)  # loads the kernel
    busy.synchronize()
    torch.cuda._sleep(A_WHILE)
    boxes += sides
    area = roiops.box_area(boxes)
    assert not busy.query()
    busy.synchronize()
    assert area.tolist() == [6, 6, 6]


def test_two_streams_at_once() -> None:
    cases = [c for c in CASES if c.operator in ("roi_align", "nms", "roi_align_backward")]
    calls = [call_of(case) for case in cases]
    expected = [arrays(call()) for call in calls]
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    for stream in streams:
        stream.wait_stream(torch.cuda.current_stream())
    results = []
    for _ in range(5):
        for i, call in enumerate(calls):
            with torch.cuda.stream(streams[i % 2]):
                results.append((i, call()))
    torch.cuda.synchronize()
    for i, result in results:
        assert_same(arrays(result), expected[i])


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.operator not in DYNAMIC | FROM_HOST], ids=lambda c: c.name
)
def test_a_graph_replays_what_it_captured(case: Case) -> None:
    call = call_of(case)
    expected = arrays(call())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()
    for x in flat(result):
        x.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert_same(arrays(result), expected)


@pytest.mark.parametrize("case", SUPPRESSION, ids=lambda case: case.name)
def test_the_lists_are_those_of_the_cpu(case: Case) -> None:
    arguments = case.arguments(np.random.default_rng(0), True)
    expected = flat(getattr(roiops, case.operator)(*arguments, **case.options))
    for got, e in zip(arrays(call_of(case, True)()), expected, strict=True):
        if e.dtype.kind == "i":
            np.testing.assert_array_equal(got, e)
        else:
            np.testing.assert_allclose(got, e, rtol=1e-5)


@every_case
def test_cupy_gets_what_torch_gets(case: Case) -> None:
    cupy = pytest.importorskip("cupy")
    arguments = convert(case.arguments(np.random.default_rng(0), False), is_numpy, cupy.asarray)
    options = dict(case.options)
    if case.operator in ("cell_anchors", "grid_anchors"):
        options["like"] = cupy.zeros(0, "float32")
    expected = arrays(call_of(case)())
    with cupy.cuda.Stream():
        result = flat(getattr(roiops, case.operator)(*arguments, **options))
    cupy.cuda.Device().synchronize()
    assert_same([cupy.asnumpy(x) if isinstance(x, cupy.ndarray) else x for x in result], expected)


def test_the_second_gpu_is_as_good_as_the_first() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    boxes = torch.rand(100, 4, device="cuda:1")
    assert roiops.box_area(boxes).device == boxes.device
    assert torch.cuda.current_device() == 0
    with pytest.raises(TypeError, match="must be on the device of"):
        roiops.box_iou(boxes, boxes.to("cuda:0"))


def test_a_map_of_more_than_two_billion_cells() -> None:
    # One cell's value everywhere, but for the far corner, where the box lies.
    side = 2**16
    map = torch.zeros(1, 1, side, side, device="cuda", dtype=torch.float16)
    map[0, 0, -4:, -4:] = torch.arange(16).reshape(4, 4)
    rois = torch.tensor([[0, side - 4, side - 4, side, side]], device="cuda", dtype=torch.float64)
    out = roiops.roi_align(map, rois, 4, 1.0, 1, True)
    assert out.flatten().tolist() == list(range(16))


def test_gradients_of_autograd_are_those_of_the_backward_functions() -> None:
    features = torch.rand(2, 3, 9, 9, device="cuda", dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1.2, 0.7, 6.1, 7.3], [1, 2.6, 1.1, 7.9, 5.2]], device="cuda",
                        dtype=torch.float64, requires_grad=True)  # fmt: skip
    out = roiops.roi_align(features, rois, 3, sampling_ratio=2, aligned=True)
    grad = torch.rand_like(out)
    got = torch.autograd.grad(out, (features, rois), grad)
    expected = roiops.roi_align_backward(
        grad, features.detach(), rois.detach(), sampling_ratio=2, aligned=True
    )
    for g, e in zip(got, expected, strict=True):
        assert torch.equal(g, e)
    index, sides = rois[:, :1].detach(), rois[:, 1:].detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, sides: roiops.roi_align(
            x, torch.cat([index, sides], 1), 3, sampling_ratio=2, aligned=True
        ),
        (features, sides),
    )


def test_a_compiled_function_computes_the_same() -> None:
    features = torch.rand(1, 4, 16, 16, device="cuda")
    boxes = torch.tensor([[0, 1.0, 2.0, 9.0, 12.0]], device="cuda")

    def function(x):
        return roiops.roi_align(x * 2, boxes, 4).relu().sum()

    compiled = torch.compile(function, backend="aot_eager")
    assert torch.equal(compiled(features), function(features))
