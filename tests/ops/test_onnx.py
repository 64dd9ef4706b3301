"""ONNX: what torch's exporter writes with our table does in onnxruntime what the operators do."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from strategies import EVERY_KIND, ODD, ORDINARY, box_of_kind

import roiops

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import roiops.onnx  # noqa: E402
from roiops._operators import OPERATORS  # noqa: E402
from roiops.ops.fpn_levels import thresholds  # noqa: E402

DYNAMIC = torch.export.Dim.DYNAMIC
ROWS, SIDES = {0: DYNAMIC}, {2: DYNAMIC, 3: DYNAMIC}
COUNTS = (5, 0, 1, 60)


class Calling(torch.nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments):
        return self.function(*arguments)


def exported(function, arguments, shapes, **options):
    module = function if isinstance(function, torch.nn.Module) else Calling(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        return torch.onnx.export(
            module.eval(),
            arguments,
            dynamo=True,
            custom_translation_table=roiops.onnx.translation_table(),
            dynamic_shapes=shapes if isinstance(function, torch.nn.Module) else (shapes,),
            verbose=False,
            **options,
        )


class Exported:
    """A function of tensors, exported with the ``shapes`` dynamic that are said to be, and run by
    onnxruntime."""

    def __init__(self, function, arguments, shapes) -> None:
        self.function = function
        self.program = exported(function, arguments, shapes)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = self.program.model_proto.SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])

    def __call__(self, *arguments) -> list[np.ndarray]:
        names = [value.name for value in self.session.get_inputs()]
        arrays = (tensor.numpy() for tensor in arguments)
        return self.session.run(None, dict(zip(names, arrays, strict=True)))

    def node_types(self) -> set[str]:
        return {node.op_type for node in self.program.model.graph}

    def assert_equal(self, *arguments) -> None:
        self.assert_agree(*arguments, tolerance=0)

    def assert_agree(self, *arguments, tolerance: float = 1e-5) -> None:
        """Same shapes, types, decisions; floating values to the tolerance."""
        with torch.no_grad():
            expected = self.function(*arguments)
        if isinstance(expected, torch.Tensor):
            expected = [expected]
        for one, other in zip(self(*arguments), expected, strict=True):
            wanted = other.numpy()
            assert one.shape == wanted.shape
            assert one.dtype == wanted.dtype
            if tolerance and wanted.dtype.kind == "f":
                np.testing.assert_allclose(one, wanted, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(one, wanted)


def some_boxes(count: int, kinds=ORDINARY, extent: float = 24.0, dtype=torch.float32):
    """Boxes of these kinds in turn."""
    rng = np.random.default_rng(count)
    rows = [box_of_kind(kinds[i % len(kinds)], rng, extent) for i in range(count)]
    return torch.from_numpy(np.array(rows).reshape(-1, 4)).to(dtype)


def some_rois(count: int, images: int, dtype=torch.float32):
    image = torch.arange(count).remainder(images).to(dtype)
    return torch.cat([image[:, None], some_boxes(count, dtype=dtype)], 1)


def some_scores(count: int):
    """With many ties."""
    generator = torch.Generator().manual_seed(count)
    return torch.randint(-2, 8, (count,), generator=generator) / 8


# --- boxes ----------------------------------------------------------------------------------------


def test_decode_boxes() -> None:
    def decode(deltas, boxes, image):
        size = tuple(image.shape[-2:])
        return roiops.decode_boxes(deltas, boxes, (10, 10, 5, 5), clip_to=size)

    def sample(count, side=20):
        torch.manual_seed(count)
        return torch.randn(count, 8), some_boxes(count), torch.zeros(1, 3, side, side + 9)

    model = Exported(decode, sample(4), (ROWS, ROWS, SIDES))
    for count in COUNTS:
        model.assert_agree(*sample(count, 11 + count))


def test_decode_boxes_of_a_batch() -> None:
    def decode(deltas, shared, boxes):
        legacy = roiops.decode_boxes(deltas, boxes, scale_clamp=0.1, plus_one=True)
        return roiops.decode_boxes(deltas, shared), legacy

    def sample(images, count):
        boxes = some_boxes(count, dtype=torch.float64)
        return torch.randn(images, count, 4).double(), boxes, boxes.repeat(images, 1, 1) + 1

    both = {0: DYNAMIC, 1: DYNAMIC}
    model = Exported(decode, sample(3, 5), (both, ROWS, both))
    for images, count in ((2, 7), (1, 0), (0, 4)):
        model.assert_agree(*sample(images, count), tolerance=1e-13)


FORMATS = ("xyxy", "xywh", "cxcywh")


def convert(boxes):
    return [roiops.box_convert(boxes, a, b) for a in FORMATS for b in FORMATS]


def test_plain_boxes() -> None:
    def function(boxes):
        return (
            roiops.clip_boxes_to_image(boxes, (9, 12)),
            roiops.remove_small_boxes(boxes, 4),
            roiops.box_area(boxes),
            roiops.box_area(boxes, "xywh"),
            roiops.box_iou(boxes, boxes[1:]),
            roiops.box_iou(boxes[None], boxes.flip(0)[None], plus_one=True),
            roiops.fpn_levels(boxes, 1, 5, canonical_scale=12),
            *convert(boxes),
        )

    model = Exported(function, (some_boxes(5),), (ROWS,))
    for count in (5, 1, 60):
        model.assert_equal(some_boxes(count, EVERY_KIND))
    area = torch.tensor(thresholds(1, 5, 12, 4))  # where a level begins, and next to it
    area = torch.cat([area, *(area.nextafter(torch.tensor(to)) for to in (0.0, 1e9))])
    model.assert_equal(torch.stack([area * 0, area * 0, area, torch.ones_like(area)], 1))


def test_no_boxes() -> None:
    def function(boxes):
        small, levels = roiops.remove_small_boxes(boxes, 4), roiops.fpn_levels(boxes, 2, 2)
        rois = torch.cat([boxes[:, :1] * 0, boxes], 1)
        return small, levels, roiops.box_iou(boxes, boxes), roiops.fpn_levels(rois, 1, 3)

    model = Exported(function, (some_boxes(5),), (ROWS,))
    for count in COUNTS:
        model.assert_equal(some_boxes(count))


def test_whole_boxes() -> None:
    def function(boxes):
        clipped = roiops.clip_boxes_to_image(boxes, (9, 12))
        areas = roiops.box_area(boxes), roiops.remove_small_boxes(boxes, 4)
        return clipped, roiops.box_iou(boxes, boxes), *areas, *convert(boxes)

    model = Exported(function, (some_boxes(5).int(),), (ROWS,))
    for count in COUNTS:
        model.assert_equal(some_boxes(count).int())


def test_anchors() -> None:
    def function(features):
        size = tuple(features.shape[-2:])
        grids = [
            roiops.grid_anchors(
                [size], [(8, 6)], [(32, 50.5)], [(0.5, 1, 0.3)], convention=c, like=features
            )[0]
            for c in ("torchvision", "detectron2", "detectron")
        ]
        return *grids, roiops.cell_anchors((32,), (0.5, 1), like=features)

    model = Exported(function, (torch.zeros(1, 3, 5, 6),), (SIDES,))
    for size in ((5, 6), (40, 2), (1, 1)):
        model.assert_equal(torch.zeros(1, 3, *size))


# --- suppression ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nms_model():
    def function(boxes, scores, idxs):
        return (
            roiops.nms(boxes, scores, 0.3),
            roiops.nms(boxes, scores.double(), 0),
            roiops.nms(boxes, scores, 1),
            roiops.batched_nms(boxes, scores, idxs, 0.3),
        )

    arguments = some_boxes(5), some_scores(5), torch.arange(5)
    return Exported(function, arguments, (ROWS, ROWS, ROWS))


@pytest.mark.parametrize("kinds", [ORDINARY, ODD])
def test_nms(nms_model, kinds) -> None:
    assert "NonMaxSuppression" in nms_model.node_types()
    for count in (*COUNTS, 300):
        idxs = torch.arange(count) * 7 % 3 - 1
        nms_model.assert_equal(some_boxes(count, kinds), some_scores(count), idxs)


def test_nms_of_odd_scores(nms_model) -> None:
    scores = some_scores(60)
    scores[[3, 30]], scores[[7, 31]] = float("inf"), -float("inf")
    nms_model.assert_equal(some_boxes(60), scores, torch.zeros(60).long())


def test_groups_never_meet(nms_model) -> None:
    """Where a shift of coordinates would let them: see batched_nms."""
    boxes = torch.tensor([[0, 0, 10, 10], [-12.0, -12, -1, -1], [0, 0, 10, 10], [0, 0, 10, 9]])
    boxes = torch.cat([boxes, boxes + 1e7])
    scores, idxs = torch.linspace(1, 0, 8), torch.tensor([0, 1, 1, 0] * 2)
    nms_model.assert_equal(boxes, scores, idxs)
    assert nms_model(boxes, scores, idxs)[3].tolist() == [0, 1, 2, 4, 5, 6]


def test_an_overlap_that_equals_the_threshold_is_kept() -> None:
    """In float32, as it is here: 2 / 10 is not the float64 0.2."""

    def function(boxes, scores):
        return [roiops.nms(boxes, scores, threshold) for threshold in (0.19, 0.2, 0.3, 0.31)]

    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 2.0], [20, 0, 30, 10], [20, 0, 30, 3]])
    model = Exported(function, (boxes, torch.ones(4)), (ROWS, ROWS))
    model.assert_equal(boxes, torch.ones(4))
    kept = [keep.tolist() for keep in model(boxes, torch.ones(4))]
    assert kept == [[0, 2], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3]]


def test_padded_nms() -> None:
    def function(boxes, scores, idxs):
        most = boxes.shape[1] // 2 + 1
        return (
            *roiops.padded_nms(boxes, scores, idxs, 0.3, max_output=7, score_threshold=0.1),
            *roiops.padded_nms(boxes, scores, None, 0.3, max_output=most),
        )

    def sample(images, count):
        total = images * count
        idxs = torch.arange(total) % 3
        return (
            some_boxes(total, ODD).reshape(images, count, 4),
            some_scores(total).reshape(images, count),
            idxs.reshape(images, count),
        )

    both = {0: DYNAMIC, 1: DYNAMIC}
    model = Exported(function, sample(3, 6), (both, both, both))
    for images, count in ((2, 6), (3, 60), (1, 1), (0, 5)):
        model.assert_equal(*sample(images, count))
    indices, counts, *_ = model(*sample(2, 0))
    assert (indices == -1).all()
    assert counts.tolist() == [0, 0]


# --- pooling --------------------------------------------------------------------------------------


def maps(images: int, height: int = 12, width: int = 14, dtype=torch.float32):
    generator = torch.Generator().manual_seed(height)
    return torch.randn(images, 3, height, width, generator=generator).to(dtype)


def test_roi_align() -> None:
    def function(features, rois):
        return (
            roiops.roi_align(features, rois, (3, 2), 0.5),
            roiops.roi_align(features, rois, (3, 2), 0.5, 2, aligned=True),
            roiops.roi_align(features, rois, 3, 0.5, aligned=True),
            roiops.roi_align(features, rois, 3, 0.5, 2, aligned=True, reduction="max"),
            roiops.roi_align(features, [rois[:, 1:], rois[:0, 1:]], 3, 0.5, 3, reduction="max"),
        )

    shapes = ({2: DYNAMIC, 3: DYNAMIC}, ROWS)
    model = Exported(function, (maps(2), some_rois(5, 2)), shapes)
    assert "RoiAlign" in model.node_types()
    for count in COUNTS:
        model.assert_agree(maps(2, 9 + count), some_rois(count, 2))


@pytest.mark.parametrize(
    ("dtype", "box_dtype", "tolerance"),
    [
        (torch.float16, torch.float32, 1e-3),
        (torch.float32, torch.float64, 1e-5),
    ],
)
def test_roi_align_of_other_types(dtype, box_dtype, tolerance) -> None:
    def function(features, rois):
        return roiops.roi_align(features, rois, 3, 0.5, 2)

    arguments = maps(2, dtype=dtype), some_rois(9, 2, box_dtype)
    model = Exported(function, arguments, ({}, ROWS))
    model.assert_agree(*arguments, tolerance=tolerance)


def test_multiscale_roi_align() -> None:
    def function(fine, middle, coarse, rois, levels):
        pyramid, scales = [fine, middle, coarse], [1 / 2, 1 / 4, 1 / 8]
        return (
            roiops.multiscale_roi_align(
                pyramid, rois, 3, scales, 2, canonical_scale=12, canonical_level=2
            ),
            roiops.multiscale_roi_align(pyramid, rois, 2, scales, -1, True, levels=levels),
        )

    def sample(count):
        pyramid = maps(2, 24, 20), maps(2, 12, 10), maps(2, 6, 5)
        return *pyramid, some_rois(count, 2), torch.arange(count) % 2 * 2  # none at level 1

    model = Exported(function, sample(5), ({}, {}, {}, ROWS, ROWS))
    for count in COUNTS:
        model.assert_agree(*sample(count))


def test_roi_pool() -> None:
    def function(features, rois):
        return roiops.roi_pool(features, rois, (3, 2), 0.5), roiops.roi_pool(features, rois, 2, 0.3)

    def rois(count):
        some = some_boxes(count, (*ORDINARY, "reversed", "far"))
        return torch.cat([torch.arange(count)[:, None] % 2, some], 1)

    model = Exported(function, (maps(2), rois(5)), (SIDES, ROWS))
    for count in (*COUNTS, 300):
        model.assert_equal(maps(2, 9 + count % 7), rois(count))


# --- masks and keypoints --------------------------------------------------------------------------


def test_paste_masks() -> None:
    def function(masks, boxes, image):
        size = tuple(image.shape[-2:])
        return (
            roiops.paste_masks(masks, boxes, size),
            roiops.paste_masks(masks, boxes, size, threshold=None, padding=2),
            roiops.paste_masks(masks, boxes, (19, 23), threshold=0, convention="detectron2"),
            roiops.paste_masks(masks, boxes, size, threshold=None, convention="detectron2"),
        )

    def sample(count, height=24, kinds=EVERY_KIND):
        torch.manual_seed(count)
        masks = torch.rand(count, 7, 7)
        return masks, some_boxes(count, kinds), torch.zeros(1, 3, height, 30)

    model = Exported(function, sample(5), (ROWS, ROWS, SIDES))
    for count in COUNTS:
        model.assert_equal(*sample(count, 20 + count))
        model.assert_equal(*sample(count, 1, ORDINARY))
    masks, boxes, image = sample(9)
    boxes[0] = torch.tensor([-3e38, -3e38, 3e38, 3e38])  # too wide for float32
    model.assert_equal(masks.round() / 2, boxes, image)
    model.assert_equal(torch.full_like(masks, 0.5), boxes, image)  # the threshold


def test_heatmaps_to_keypoints() -> None:
    def sample(count, kinds=ORDINARY):
        torch.manual_seed(count)
        return torch.randn(count, 3, 7, 6), some_boxes(count, kinds, extent=90)

    kinds = (*ORDINARY, "tiny", "empty", "reversed", "not_finite")
    model = Exported(roiops.heatmaps_to_keypoints, sample(5), (ROWS, ROWS))
    for count in COUNTS:
        model.assert_equal(*sample(count, kinds))
    heatmaps, boxes = sample(2)
    boxes[1] = torch.tensor([0, 0, 5000, 3])  # resized to 4096
    model.assert_equal(heatmaps, boxes)
    model.assert_equal(torch.zeros_like(heatmaps), boxes)  # the first of equal values


# --- a whole detector -----------------------------------------------------------------------------


class Detector(torch.nn.Module):
    """Every step of an FPN detector's inference, in small; its weights are random."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.rpn = torch.nn.Conv2d(8, 3 * 5, 1)
        self.head = torch.nn.Linear(8 * 9, classes * 5)
        self.mask_head = torch.nn.Conv2d(8, classes, 1)
        self.classes = classes

    def pyramid(self, image):
        fine = self.stem(image)
        return [fine, torch.nn.functional.avg_pool2d(fine, 2, ceil_mode=True)]

    def proposals(self, features, image_size):
        anchors = roiops.grid_anchors(
            [tuple(x.shape[-2:]) for x in features], [4, 8], [(8,), (16,)], [(0.5, 1, 2)] * 2,
            like=features[0],
        )  # fmt: skip
        outputs = [self.rpn(x)[0].permute(1, 2, 0).reshape(-1, 5) for x in features]
        level = [torch.full_like(a[:, 0], i, dtype=torch.int64) for i, a in enumerate(anchors)]
        scores, deltas = torch.cat(outputs).split([1, 4], 1)
        boxes = roiops.decode_boxes(deltas, torch.cat(anchors), clip_to=image_size)
        large = roiops.remove_small_boxes(boxes, 1.0)
        boxes, scores, level = boxes[large], scores[large, 0], torch.cat(level)[large]
        return boxes[roiops.batched_nms(boxes, scores, level, 0.5)]

    def forward(self, image, score_threshold):
        image_size = tuple(image.shape[-2:])
        features = self.pyramid(image)
        pool = {"spatial_scales": [1 / 4, 1 / 8], "sampling_ratio": 2, "aligned": True,
                "canonical_scale": 12, "canonical_level": 3}  # fmt: skip
        proposals = self.proposals(features, image_size)
        pooled = roiops.multiscale_roi_align(features, [proposals], 3, **pool)
        class_logits, deltas = self.head(pooled.flatten(1)).split(
            [self.classes, 4 * self.classes], 1
        )
        scores = class_logits.softmax(1)
        boxes = roiops.decode_boxes(deltas, proposals, (10, 10, 5, 5), clip_to=image_size)
        row, labels = (scores > score_threshold).nonzero(as_tuple=True)
        boxes, scores = boxes.reshape(-1, self.classes, 4)[row, labels], scores[row, labels]
        keep = roiops.batched_nms(boxes, scores, labels, 0.4)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        logits = self.mask_head(roiops.multiscale_roi_align(features, [boxes], 7, **pool))
        masks = logits[torch.arange(labels.shape[0]), labels].sigmoid()
        masks = roiops.paste_masks(masks, boxes, image_size, threshold=None)
        return boxes, scores, labels, masks


def test_a_whole_detector() -> None:
    """With few detections and masks as probabilities: torch's convolution and onnxruntime's are
    rounded differently, which among thousands of scores would change an order."""

    def sample(height, width, threshold):
        generator = torch.Generator().manual_seed(height)
        return torch.rand(1, 3, height, width, generator=generator), torch.tensor(threshold)

    model = Exported(Detector(), sample(24, 32, 0.35), (SIDES, {}))
    numbers = set()
    for size in ((24, 32), (36, 28)):
        for threshold in (0.35, 0.38, 1.0):
            arguments = sample(*size, threshold)
            model.assert_agree(*arguments)
            numbers.add(len(model(*arguments)[0]))
    assert 0 in numbers
    assert len(numbers) > 3


# --- what is not exported -------------------------------------------------------------------------


def features_and_rois():
    return maps(2), some_rois(5, 2)


REFUSED = {
    "soft_nms": (lambda b: roiops.soft_nms(b, b[:, 0]), [some_boxes(4)]),
    "encode_boxes": (lambda b: roiops.encode_boxes(b, b), [some_boxes(4)]),
    "generalized_box_iou": (lambda b: roiops.generalized_box_iou(b, b), [some_boxes(4)]),
    "nms: plus_one": (lambda b: roiops.nms(b, b[:, 0], 0.5, plus_one=True), [some_boxes(4)]),
    "batched_nms: boxes must be float32": (
        lambda b: roiops.batched_nms(b.double(), b[:, 0], torch.arange(4), 0.5),
        [some_boxes(4)],
    ),
    "roi_align: sampling_ratio": (
        lambda f, r: roiops.roi_align(f, r, 2, reduction="max"),
        features_and_rois(),
    ),
    "roi_warp": (lambda f, r: roiops.roi_warp(f, r, 2), features_and_rois()),
    "ps_roi_pool": (lambda f, r: roiops.ps_roi_pool(f, r, (1, 3)), features_and_rois()),
    "roi_pool: input must be float32": (
        lambda f, r: roiops.roi_pool(f.double(), r, 2),
        features_and_rois(),
    ),
    "box_convert: in_fmt": (
        lambda b: roiops.box_convert(b, "xywhr", "cxcywhr"),
        [torch.rand(4, 5)],
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_name_operator_and_argument(message: str) -> None:
    function, arguments = REFUSED[message]
    with pytest.raises(torch.onnx.OnnxExporterError, match=rf"NotImplementedError.*{message}\b"):
        exported(function, tuple(arguments), ({},) * len(arguments))


def test_every_operator_is_exported_or_said_not_to_be() -> None:
    table = roiops.onnx.translation_table()
    names = [str(overload).split(".")[1] for overload in table]
    assert sorted(names) == sorted(OPERATORS)
    assert roiops.onnx.UNSUPPORTED.keys() < OPERATORS.keys()
    for overload, function in table.items():
        name = str(overload).split(".")[1]
        assert (function.__name__ == "refuse") == (name in roiops.onnx.UNSUPPORTED), name


@pytest.mark.parametrize("missing", ["torch", "onnx", "onnxscript"])
def test_what_is_missing_is_named_and_the_extra_that_brings_it(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
import roiops
assert "torch" not in sys.modules or sys.modules["torch"] is None
try:
    roiops.onnx.translation_table()
except ImportError as error:
    assert "it needs {missing} (pip install 'roiops[onnx]')" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
