"""Predicted masks, pasted into the picture and run-length encoded."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from roiops import _check
from roiops._arrays import Array, Namespace, adopt
from roiops._fx import leaf
from roiops._operators import Operator
from roiops.ops.paste_masks import CONVENTIONS, check_masks

_MAX_PIXELS = 2**32 - 1  # COCO's run lengths are 32-bit numbers


@leaf
def paste_masks_rle(
    masks: Array,
    boxes: Array,
    image_size: tuple[int, int],
    *,
    threshold: float = 0.5,
    padding: int = 1,
    convention: str = "torchvision",
) -> list[dict[str, Any]]:
    """The masks of ``paste_masks`` in COCO's run-length encoding, without making the pictures.

    Each is, byte for byte, what pycocotools encodes the pasted mask as: for COCO's result files,
    evaluation and storage. Time and memory are those of the boxes, not of N pictures.

    Args:
        masks, boxes, padding, convention: as in ``paste_masks``.
        image_size: (height, width) of the picture, together fewer than 2^32 pixels.
        threshold: as in ``paste_masks``, but not None.

    Returns:
        N dicts {"size": [height, width], "counts": bytes}, whatever kind of arrays came in. (JSON
        wants ``counts.decode()``.)

    Raises: as ``paste_masks``.

    Source: the compressed RLE of the COCO API.

    >>> import numpy as np, roiops
    >>> masks = np.ones((1, 2, 2), np.float32)
    >>> box = np.array([[1, 1, 3, 3]], np.float32)
    >>> roiops.paste_masks_rle(masks, box, (4, 5), convention="detectron2")
    [{'size': [4, 5], 'counts': b'52207'}]
    """
    op = "paste_masks_rle"
    xp, masks, boxes = adopt(op, masks=masks, boxes=boxes)
    height, width = _check.size_pair(op, "image_size", image_size)
    if height * width > _MAX_PIXELS:
        raise ValueError(f"{op}: image_size must be fewer than 2^32 pixels; got {image_size!r}")
    threshold = _check.number(op, "threshold", threshold)
    _check.choice(op, "convention", convention, CONVENTIONS)
    padding = _check.whole(op, "padding", padding, 0, 1000)
    masks, boxes = _check.promoted(xp, masks), _check.promoted(xp, boxes)
    data, offsets = xp.call(
        _PASTE_MASKS_RLE, masks, boxes, height, width, threshold, padding, convention
    )
    text, ends = xp.to_numpy(data).tobytes(), xp.to_numpy(offsets).tolist()
    return [
        {"size": [height, width], "counts": text[begin:end]}
        for begin, end in itertools.pairwise(ends)
    ]


# fmt: off
def _allocate(xp: Namespace, masks, boxes, height, width, threshold, padding, convention):
    check_masks("paste_masks_rle", xp, masks, boxes)


def _compute(xp: Namespace, _, masks, boxes, height, width, threshold, padding, convention):
    texts = xp.core.paste_masks_rle(
        xp.describe(masks), xp.describe(boxes), height, width, threshold, padding, convention,
        xp.execution(),
    )
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    data = np.frombuffer(bytearray().join(texts), np.uint8)
    return xp.from_numpy(data, masks), xp.from_numpy(offsets, masks)


def _fake(xp, masks, boxes, height, width, threshold, padding, convention):
    """How long the texts are is known only at run time: a new symbol."""
    check_masks("paste_masks_rle", xp, masks, boxes)
    data = xp.empty((xp.unknown_size(),), "uint8", masks)
    return data, xp.empty((masks.shape[0] + 1,), "int64", masks)


# All texts together, and where each begins and ends: an operator of torch returns tensors.
_PASTE_MASKS_RLE = Operator(
    "paste_masks_rle",
    "(Tensor masks, Tensor boxes, SymInt height, SymInt width, float threshold, SymInt padding, "
    "str convention) -> (Tensor, Tensor)",
    _allocate, _compute, fake=_fake,
)
