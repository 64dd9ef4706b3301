"""Reading image files with Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from detector.data.errors import DataError

WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def read_image(path: Path, *, apply_orientation: bool = False) -> np.ndarray:
    """Reads an image file as RGB.

    - Grey, palette and CMYK images are converted; an alpha channel is dropped, not blended.
    - Grey images of more than 8 bits (16-bit, 32-bit integer, float) are scaled linearly so that
      0 stays 0 and their largest value becomes 255: microscopes store 12 bits in 16.
    - `apply_orientation`: turn the picture as its EXIF tag asks. Off for annotated data: COCO
      annotations refer to the pixels as they are stored. On for pictures people predict on.

    Returns: uint8 (H, W, 3).
    Raises: DataError, with the path, when the file is missing or cannot be decoded.
    """
    with _opened(path) as image:
        image.load()
        if apply_orientation:
            image = ImageOps.exif_transpose(image)
        if image.mode in WIDE_MODES:
            return _wide_grey_to_rgb(np.asarray(image, dtype=np.float32))
        return np.array(image.convert("RGB"))


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) as the file's header states them; the pixels are not decoded.

    Raises: DataError as `read_image`, as far as the header shows it.
    """
    with _opened(path) as image:
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{path}: no such image file") from None
    except Exception as error:  # Pillow's decoders raise anything at a damaged file
        raise DataError(f"{path}: cannot read the image ({error})") from error


def _wide_grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    grey = np.nan_to_num(grey, nan=0.0, posinf=0.0, neginf=0.0)
    scaled = np.clip(grey * (255.0 / max(float(grey.max(initial=0.0)), 1e-12)), 0, 255)
    return np.repeat(np.rint(scaled).astype(np.uint8)[:, :, None], 3, axis=2)
