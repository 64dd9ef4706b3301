"""What torch.library promises of every operator: schemas, fake kernels, compilation."""

import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")

import roiops.nn  # noqa: E402  registers the operators, whatever was imported first
from roiops._operators import OPERATORS  # noqa: E402


def registered() -> list[str]:
    """Every operator of the namespace, found where torch keeps them."""
    names = torch._C._dispatch_get_all_op_names()
    return sorted(
        {name.split("::")[1].split(".")[0] for name in names if name.startswith("roiops::")}
    )


def features(*shape: int, grad: bool = False):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float32, generator=generator).requires_grad_(grad)


def rois(count: int = 3, grad: bool = False):
    generator = torch.Generator().manual_seed(count)
    low = torch.rand((count, 2), generator=generator) * 4
    image = torch.arange(count)[:, None] % 2
    return torch.cat([image, low, low + 2.3], dim=1).requires_grad_(grad)


def boxes(count: int = 6):
    return rois(count)[:, 1:].contiguous()


# Arguments for each operator, as its schema wants them: a new operator without a line here makes
# test_every_operator_has_samples fail.
LEVELS = torch.tensor([0, 1, 1])
WEIGHTS = [10.0, 10.0, 5.0, 5.0]
SAMPLES = {
    "roi_align": lambda: [
        (
            [features(2, 3, 8, 8, grad=True)],
            rois(grad=True),
            None,
            2,
            3,
            [1.0],
            -1,
            "align",
            "mean",
        ),
        (
            [features(2, 3, 8, 8, grad=True), features(2, 3, 4, 4, grad=True)],
            rois(),
            LEVELS,
            2,
            2,
            [1.0, 0.5],
            2,
            "aligned",
            "max",
        ),
        *(
            ([features(2, 12, 8, 8, grad=True)], rois(grad=True), None, 2, 3, [1.0], 2, ps, "mean")
            for ps in ("ps_align", "ps_pool")
        ),
    ],
    "roi_align_grad_input": lambda: [
        *(
            (
                features(3, 3, 2, 2, grad=True),
                [features(2, 3, 8, 8)],
                rois(),
                None,
                [1.0],
                2,
                "warp",
                r,
            )
            for r in ("mean", "max")
        ),
        *(
            (
                features(3, 2, 2, 3, grad=True),
                [features(2, 12, 8, 8)],
                rois(),
                None,
                [1.0],
                2,
                ps,
                "mean",
            )
            for ps in ("ps_align", "ps_pool")
        ),
    ],
    "roi_align_grad_rois": lambda: [
        *(
            (features(3, 3, 2, 2), [features(2, 3, 8, 8)], rois(), None, [1.0], 2, "warp", r)
            for r in ("mean", "max")
        ),
        (features(3, 2, 2, 3), [features(2, 12, 8, 8)], rois(), None, [1.0], 2, "ps_align", "mean"),
    ],
    "roi_align_directional": lambda: [
        (
            [features(2, 3, 8, 8, grad=True)],
            [features(2, 3, 8, 8)],
            rois(),
            None,
            2,
            2,
            [1.0],
            2,
            "aligned",
        )
    ],
    "roi_pool": lambda: [(features(2, 3, 8, 8, grad=True), rois(), 2, 3, 0.5)],
    "roi_pool_grad_input": lambda: [
        (features(3, 3, 2, 2, grad=True), features(2, 3, 8, 8), rois(), 0.5)
    ],
    "roi_pool_directional": lambda: [
        (features(2, 3, 8, 8, grad=True), features(2, 3, 8, 8), rois(), 2, 3, 0.5)
    ],
    "box_iou": lambda: [
        (boxes().requires_grad_(), boxes(4).requires_grad_(), kind, 1e-7, False)
        for kind in ("iou", "complete")
    ],
    "box_iou_backward": lambda: [(features(6, 4), boxes(), boxes(4), "generalized", 0.0, False)],
    "box_area": lambda: [(boxes().requires_grad_(), False), (boxes().long(), True)],
    "box_area_backward": lambda: [(features(6), boxes(), True)],
    "box_convert": lambda: [
        (boxes().requires_grad_(), "xyxy", "cxcywh"),
        (boxes().long(), "cxcywh", "xywh"),
        (features(6, 5, grad=True), "cxcywhr", "xyxyxyxy"),
    ],
    "box_convert_backward": lambda: [(features(6, 8), features(6, 5), "xywhr", "xyxyxyxy")],
    "remove_small_boxes": lambda: [(boxes(), 1.0)],
    "masks_to_boxes": lambda: [(features(3, 5, 6) > 1,), (features(3, 5, 6),)],
    "clip_boxes_to_image": lambda: [(boxes().requires_grad_(), 5, 6)],
    "clip_boxes_to_image_backward": lambda: [(features(6, 4, grad=True), boxes(), 5, 6)],
    "encode_boxes": lambda: [(boxes().requires_grad_(), boxes() + 1, WEIGHTS, False)],
    "encode_boxes_backward": lambda: [(features(6, 4), boxes(), boxes() + 1, WEIGHTS, True)],
    "decode_boxes": lambda: [
        (features(6, 8, grad=True), boxes().requires_grad_(), WEIGHTS, 4.0, None, False),
        (features(2, 6, 8, grad=True), boxes(), WEIGHTS, 4.0, [9, 9], True),
    ],
    "decode_boxes_backward": lambda: [
        (features(6, 8, grad=False), features(6, 8), boxes(), WEIGHTS, 4.0, [9, 9], False)
    ],
    "fpn_levels": lambda: [(boxes(), 2, 5, 224.0, 4)],
    "grid_anchors": lambda: [
        (boxes(), 3, 2, 8.0, 16.0, [32.0, 64.0], [0.5, 1.0], convention)
        for convention in ("torchvision", "detectron2")
    ],
    "keypoints_to_heatmap": lambda: [(4 * features(6, 5, 3, grad=True), boxes(), 7)],
    "heatmaps_to_keypoints": lambda: [(features(6, 3, 5, 5, grad=True), boxes())],
    "match_boxes": lambda: [
        ([boxes(2)], [boxes()], 0.5, 0.3, True),
        ([boxes(2), boxes(0)], [boxes()], 0.5, 0.3, False),
        ([boxes(2), boxes(0)], [boxes(), boxes(3)], 0.5, 0.3, False),
    ],
    "nms": lambda: [
        (boxes(), torch.rand(6), None, 0.5, False),
        (boxes(), torch.rand(6), torch.arange(6) % 2, 0.5, True),
    ],
    "padded_nms": lambda: [
        (boxes()[None], torch.rand(1, 6), None, 0.5, 4, None),
        (torch.stack([boxes(), boxes()]), torch.rand(2, 6), torch.ones(2, 6).long(), 0.5, 9, 0.2),
    ],
    "soft_nms": lambda: [
        (boxes(), torch.rand(6), None, "linear", 0.3, 0.5, 0.001),
        (boxes(), torch.rand(6), torch.arange(6) % 2, "gaussian", 0.3, 0.5, 0.1),
    ],
    "paste_masks": lambda: [
        (features(6, 5, 5), boxes(), 9, 8, 0.5, 1, "torchvision"),
        (features(6, 5, 5), boxes(), 9, 8, None, 1, "detectron2"),
    ],
    "paste_masks_rle": lambda: [
        (features(6, 5, 5), boxes(), 9, 8, 0.5, 1, "torchvision"),
        (features(0, 5, 5), boxes(0), 9, 8, 0.5, 0, "detectron2"),
    ],
    "crop_masks": lambda: [
        (features(6, 9, 8) > 0, boxes(), 4, 5, "detectron2"),
        (features(6, 9, 8).double(), boxes(), 4, 5, "torchvision"),
    ],
    "rasterize_polygons": lambda: [
        (
            features(7, 2).double(),
            torch.tensor([0, 3, 7]),
            torch.tensor([0, 1, 1, 2]),
            boxes(3),
            4,
            5,
        )
    ],
}


def test_every_operator_has_samples() -> None:
    assert registered() == sorted(SAMPLES)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_opcheck(name: str) -> None:
    operator = getattr(torch.ops.roiops, name).default
    for sample in SAMPLES[name]():
        torch.library.opcheck(operator, sample)


def with_gradients(value):
    """Every floating tensor of the arguments asks for its gradient."""
    if isinstance(value, (list, tuple)):
        return type(value)(with_gradients(item) for item in value)
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.detach().requires_grad_()
    return value


DECISIONS = sorted(name for name, op in OPERATORS.items() if op.backward is None)


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions_carry_no_gradient(name: str) -> None:
    for sample in SAMPLES[name]():
        results = getattr(torch.ops.roiops, name)(*with_gradients(sample))
        for result in results if isinstance(results, (list, tuple)) else [results]:
            assert not result.requires_grad


# --- compiled as the first use --------------------------------------------------------------------

FIRST_USE = """
{imports}

def step(features, deltas, anchors):
    boxes = roiops.decode_boxes(deltas, anchors, clip_to=(32, 32))
    boxes = boxes[:5]
    pooled = roiops.roi_align(features, [boxes], 3, 0.5, 2)
    pyramid = [features, features[:, :, ::2, ::2]]
    pooled = pooled + roiops.multiscale_roi_align(pyramid, [boxes], 3, [0.5, 0.25])
    return pooled, roiops.box_iou(boxes, boxes)

torch.manual_seed(0)
features = torch.randn(1, 4, 16, 16, requires_grad=True)
anchors = torch.rand(8, 4) * 8 + torch.tensor([0., 0, 9, 9])
arguments = features, torch.randn(8, 4) * 0.1, anchors
compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
got = compiled(*arguments)
(grad,) = torch.autograd.grad(got[0].square().sum(), features)
expected = step(*arguments)
(expected_grad,) = torch.autograd.grad(expected[0].square().sum(), features)
for one, other in zip((*got, grad), (*expected, expected_grad)):
    assert torch.equal(one, other)
"""

FIRST_NMS = """
{imports}

def step(boxes, scores):
    idxs = torch.arange(9) % 2
    return roiops.nms(boxes, scores, 0.5) + 1, roiops.batched_nms(boxes, scores, idxs, 0.5)

torch.manual_seed(0)
boxes = torch.rand(9, 4) * 8 + torch.tensor([0., 0, 5, 5])
scores = torch.rand(9)
got = torch.compile(step, fullgraph=True, backend="aot_eager")(boxes, scores)
for one, other in zip(got, step(boxes, scores)):
    assert torch.equal(one, other)
"""

FIRST_REST = """
{imports}

def step(boxes, targets, masks):
    matched, labels, ious = roiops.match_boxes(targets, boxes, 0.5, 0.3, allow_low_quality=True)
    pasted = roiops.paste_masks(masks, boxes, (20, 20))
    deltas = roiops.encode_boxes(boxes, boxes + 1)
    levels = roiops.fpn_levels(boxes, 2, 5)
    anchors = roiops.grid_anchors([(2, 3)], [8], [(32.0,)], [(1.0, 2.0)], like=boxes)
    clipped = roiops.clip_boxes_to_image(boxes, (9, 9))
    around = roiops.masks_to_boxes(pasted), roiops.box_area(boxes)
    centred = roiops.box_convert(boxes, "xyxy", "cxcywh")
    large = boxes[roiops.remove_small_boxes(boxes, 6)], roiops.complete_box_iou(boxes, centred)
    around = *around, centred, *large
    cell = roiops.cell_anchors((32.0,), (1.0, 2.0), like=boxes)
    keypoints = roiops.heatmaps_to_keypoints(masks[:, None], boxes)
    cells, valid = roiops.keypoints_to_heatmap(keypoints, boxes, 7)
    keypoints = cell, keypoints, cells, valid
    cropped = roiops.crop_masks(pasted, boxes, 5)
    matches = matched, labels, ious
    return *matches, pasted, deltas, levels, clipped, cropped, *anchors, *keypoints, *around

torch.manual_seed(0)
boxes = torch.rand(9, 4) * 8 + torch.tensor([0., 0, 5, 5])
arguments = boxes, boxes[:2] + 1, torch.rand(9, 7, 7)
got = torch.compile(step, fullgraph=True, backend="aot_eager")(*arguments)
for one, other in zip(got, step(*arguments)):
    assert torch.equal(one, other)
"""

ORDERS = {
    "torch first": "import torch\nimport roiops",
    "roiops first": "import roiops\nimport torch",
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("program", ["FIRST_USE", "FIRST_NMS", "FIRST_REST"])
def test_compiled_as_the_first_use(order: str, program: str) -> None:
    run(globals()[program].format(imports=ORDERS[order]))


def run(code: str) -> None:
    """In a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_operators_are_there_on_import() -> None:
    call = "torch.ops.roiops.nms(torch.zeros(1, 4), torch.zeros(1), None, 0.5, False)"
    run(f"import torch, roiops\n{call}")
    run(f"import roiops\nimport torch\nimport roiops.nn\n{call}")
    run(f"import roiops\nimport torch\nroiops.fpn_levels(torch.zeros(1, 4), 2, 5)\n{call}")


def test_torch_is_not_imported_by_roiops() -> None:
    run("import sys, roiops\nassert 'torch' not in sys.modules")


def test_export() -> None:
    class Pool(torch.nn.Module):
        def forward(self, features, rois):
            return roiops.roi_align(features, rois, 3)

    arguments = (features(2, 3, 8, 8), rois())
    program = torch.export.export(Pool(), arguments)
    assert torch.equal(program.module()(*arguments), Pool()(*arguments))
    assert any("roiops.roi_align" in str(node.target) for node in program.graph.nodes)


def test_dynamic_shapes_do_not_recompile() -> None:
    compilations = []

    def count(graph, _inputs):
        compilations.append(graph)
        return graph.forward

    align = torch.compile(
        lambda f, r: roiops.roi_align(f, r, 2), backend=count, dynamic=True, fullgraph=True
    )
    for number in (6, 7, 9):  # sizes that are equal by chance would be taken for the same
        align(features(2, 3, 8, 8), rois(number))
    assert len(compilations) == 1
