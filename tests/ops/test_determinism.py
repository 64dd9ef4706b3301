"""The same input gives the same bits: for any number of threads, and again."""

from collections.abc import Iterator

import numpy as np
import pytest
from backends import Backend
from comparison import assert_same_bits

# The results of run_all that are decided on, or used to decide: equal on every machine.
DECISIONS = {
    "nms",
    "batched nms",
    "iou",
    "match 0",
    "match 1",
    "match 2",
    "levels",
    "clipped",
    "pasted",
    "forward max",  # as the sample that wins is one
}


@pytest.fixture(autouse=True)
def _restore_threads(compiled: Backend) -> Iterator[None]:
    before = compiled.ops.get_num_threads()
    yield
    compiled.ops.set_num_threads(before)


def large_case() -> dict:
    """Enough of everything that a backend has reason to share it out."""
    rng = np.random.default_rng(0)
    low = rng.uniform(-50, 500, (700, 2))
    boxes = np.concatenate([low, low + np.exp(rng.uniform(0, 6, (700, 2)))], 1)
    return {
        "inputs": [
            rng.standard_normal((2, 50, 512 // s, 512 // s)).astype(np.float32) for s in (8, 16, 32)
        ],
        "rois": np.concatenate([rng.integers(0, 2, (700, 1)), boxes], 1).astype(np.float32),
        "boxes": boxes.astype(np.float32),
        "scores": np.round(rng.random(700), 2).astype(np.float32),
        "idxs": rng.integers(0, 7, 700),
        "grad": rng.standard_normal((700, 50, 7, 7)).astype(np.float32),
        "masks": rng.random((50, 28, 28)).astype(np.float32),
        "deltas": rng.standard_normal((700, 40)).astype(np.float32),
    }


def run_all(backend: Backend, case: dict, last: bool) -> dict[str, np.ndarray]:
    """Every operator that may be threaded, by name of its result; last: maps in channels_last."""
    inputs = case["inputs"]
    if last:
        inputs = [
            np.ascontiguousarray(map.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for map in inputs
        ]
    scales = [1 / 8, 1 / 16, 1 / 32]
    results = {}
    for reduction in ("mean", "max"):
        results[f"forward {reduction}"] = backend(
            "multiscale_roi_align", inputs, case["rois"], 7, scales, reduction=reduction
        )
        grad_inputs, grad_rois = backend(
            "multiscale_roi_align_backward",
            case["grad"],
            inputs,
            case["rois"],
            scales,
            reduction=reduction,
        )
        results |= {f"grad {k} {reduction}": grad for k, grad in enumerate(grad_inputs)}
        results[f"grad rois {reduction}"] = grad_rois
    boxes, scores = case["boxes"], case["scores"]
    results["nms"] = backend("nms", boxes, scores, 0.3)
    results["batched nms"] = backend("batched_nms", boxes, scores, case["idxs"], 0.3)
    results["iou"] = backend("box_iou", boxes, boxes[:200])
    matches = backend("match_boxes", boxes[:90], boxes, 0.5, 0.3, allow_low_quality=True)
    results |= {f"match {k}": match for k, match in enumerate(matches)}
    results["levels"] = backend("fpn_levels", boxes, 2, 5)
    results["decoded"] = backend("decode_boxes", case["deltas"], boxes)
    results["encoded"] = backend("encode_boxes", boxes, boxes[::-1])
    results["clipped"] = backend("clip_boxes_to_image", boxes, (300, 400))
    results["pasted"] = backend(
        "paste_masks", case["masks"], boxes[:50], (300, 400), threshold=None
    )
    return results


def test_threads_repetition_and_layout_do_not_change_a_bit(compiled: Backend) -> None:
    case = large_case()
    compiled.ops.set_num_threads(1)
    expected = run_all(compiled, case, last=False)
    for threads in (1, 2, 3, 4):
        compiled.ops.set_num_threads(threads)
        assert compiled.ops.get_num_threads() == threads
        for last in (False, True):
            for name, result in run_all(compiled, case, last).items():
                np.testing.assert_array_equal(
                    result, expected[name], err_msg=f"{name}, {threads} threads, last={last}"
                )
                assert_same_bits(result, expected[name])


def test_a_box_does_not_depend_on_its_company(compiled: Backend) -> None:
    # 1 box alone, among 3, among 700: other tasks, other blocks, the same bits.
    case = large_case()
    map, rois = case["inputs"][0], case["rois"]
    for reduction in ("mean", "max"):
        together = compiled("roi_align", map, rois, 7, 1 / 8, reduction=reduction)
        for rows in ([5], [0, 100, 699]):
            alone = compiled("roi_align", map, rois[rows], 7, 1 / 8, reduction=reduction)
            assert_same_bits(alone, together[rows])


def test_a_channel_does_not_depend_on_its_neighbours(compiled: Backend) -> None:
    case = large_case()
    map, rois = case["inputs"][1], case["rois"][:20]
    for reduction in ("mean", "max"):
        together = compiled("roi_align", map, rois, 7, 1 / 16, reduction=reduction)
        for channels in ([0], [3, 49], list(range(1, 34))):
            some = np.ascontiguousarray(map[:, channels])
            alone = compiled("roi_align", some, rois, 7, 1 / 16, reduction=reduction)
            assert_same_bits(alone, together[:, channels])
