"""Pasted masks as COCO's run-length encoding."""

import numpy as np

from roiops.reference.paste_masks import paste_masks


def paste_masks_rle(
    masks: np.ndarray,
    boxes: np.ndarray,
    image_size: tuple[int, int],
    *,
    threshold: float = 0.5,
    padding: int = 1,
    convention: str = "torchvision",
) -> list[dict]:
    """The pictures of `paste_masks`, each as {"size": [height, width], "counts": bytes}."""
    pasted = paste_masks(
        masks, boxes, image_size, threshold=threshold, padding=padding, convention=convention
    )
    return [
        {"size": list(picture.shape), "counts": counts_text(run_lengths(picture))}
        for picture in pasted
    ]


def run_lengths(picture: np.ndarray) -> list[int]:
    """Lengths of the runs of equal pixels, column after column.

    Runs of zeros and of ones alternate; the first is one of zeros, perhaps of length 0.
    """
    pixels = picture.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = [0, *([0] if pixels[0] else []), *changes.tolist()]
    return np.diff([*starts, pixels.size]).tolist()


def counts_text(counts: list[int]) -> bytes:
    """The counts as text: each from the fourth on less the one two before it, in two's complement.

    A number is cut into groups of five bits, the lowest first, as few as keep its sign: the last
    group's highest bit. A group is one character from "0" on; 32 more says that another follows.
    """
    text = bytearray()
    for i, count in enumerate(counts):
        number = count - counts[i - 2] if i > 2 else count
        while not -16 <= number < 16:
            text.append(ord("0") + 32 + (number & 31))
            number >>= 5
        text.append(ord("0") + (number & 31))
    return bytes(text)
